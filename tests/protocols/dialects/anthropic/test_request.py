"""Messages requests: what the gateway acts on is checked and named, and everything else goes through as it came."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects.anthropic import Anthropic
from stream_protocols.dialects.anthropic.request import parse_count, parse_request, patch
from stream_protocols.errors import InvalidField, InvalidJson
from stream_protocols.request import MAX_LEASE, Request

MESSAGES = [{"role": "user", "content": "Hi"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "demo", "max_tokens": 9, "messages": MESSAGES, **fields}).encode()


def without(name: str) -> bytes:
    fields = json.loads(body())
    del fields[name]
    return json.dumps(fields).encode()


def test_the_least_that_a_request_must_say() -> None:
    assert parse_request(body()) == Request("anthropic", "demo", False, body())


def test_all_that_the_gateway_acts_on() -> None:
    text = body(stream=True, lease=2.5)
    assert parse_request(text, native=True) == Request("anthropic", "demo", True, text, lease=2.5, native=True)


def test_null_is_the_same_as_not_said() -> None:
    request = parse_request(body(**dict.fromkeys(("stream", "temperature", "top_p", "top_k", "tools", "lease"))))
    assert (request.stream, request.lease) == (False, None)


def test_counting_needs_no_limit() -> None:
    assert parse_count(without("max_tokens")) == Request("anthropic", "demo", False, without("max_tokens"))
    with pytest.raises(InvalidField, match="messages"):
        parse_count(without("messages"))


@pytest.mark.parametrize(
    ("text", "param"),
    [
        (without("model"), "model"),
        (without("messages"), "messages"),
        (without("max_tokens"), "max_tokens"),
        (body(model=5), "model"),
        (body(model=""), "model"),
        (body(messages="Hi"), "messages"),
        (body(messages=[]), "messages"),
        (body(messages=["Hi"]), "messages[0]"),
        (body(messages=[{"content": "Hi"}]), "messages[0].role"),
        (body(messages=[*MESSAGES, {"role": None}]), "messages[1].role"),
        (body(max_tokens=None), "max_tokens"),
        (body(max_tokens="many"), "max_tokens"),
        (body(max_tokens=-1), "max_tokens"),
        (body(stream="yes"), "stream"),
        (body(temperature="hot"), "temperature"),
        (body(top_p=[]), "top_p"),
        (body(top_k=1.5), "top_k"),
        (body(tools={}), "tools"),
        (body(tools=["f"]), "tools[0]"),
        (body(lease="forever"), "lease"),
        (body(lease=-1), "lease"),
        (body(lease=MAX_LEASE + 1), "lease"),
    ],
    ids=lambda value: value.decode()[-40:] if isinstance(value, bytes) else value,
)
def test_a_bad_field_is_named(text: bytes, param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_request(text)
    assert caught.value.param == param
    assert f"`{param}`" in caught.value.message


@pytest.mark.parametrize("text", [b"", b"{", b"[]", body() + b"x", b'{"model":"\xff"}', b'{"x":' + b"[" * 200_000])
def test_what_is_no_json_object(text: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_request(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
known = st.sampled_from(["model", "messages", "stream", "max_tokens", "tools", "lease", "temperature", "top_k"])


@given(st.dictionaries(known, values))
def test_any_values_are_a_request_or_a_clear_error(fields: dict[str, Any]) -> None:
    text = body(**fields)
    try:
        blamed = parse_request(text).model
    except InvalidField as error:
        blamed = re.split(r"[.\[]", error.param or "")[0]
    assert blamed in [fields.get("model", "demo"), *fields]


# What a provider gets


def sent(text: bytes, *, stream: bool = True) -> list[tuple[str, Any]]:
    return list(json.loads(patch(parse_request(text), model="up", stream=stream)).items())


def test_order_and_unknown_fields_stay_and_the_lease_goes() -> None:
    text = (
        b'{"zeta":{"b":1,"a":[ ]},"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}],'
        b'"messages":[{"role":"user"}],"lease":5,"alpha":null,"model":"demo","max_tokens":1,"stream":true}'
    )
    assert sent(text) == [
        ("zeta", {"b": 1, "a": []}),
        ("system", [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]),
        ("messages", [{"role": "user"}]),
        ("alpha", None),
        ("model", "up"),
        ("max_tokens", 1),
        ("stream", True),
    ]


def test_values_go_as_they_were_written() -> None:
    value = b'{"pi":3.14000,"big":123456789012345678901234567890,"text":"\\u00e9\\/"}'
    text = b'{"model":"demo","max_tokens":1,"messages":[{"role":"user"}],"x":%b}' % value
    assert value in patch(parse_request(text), model="up", stream=False)


def test_streaming_is_what_the_gateway_asks_for_not_what_the_client_did() -> None:
    assert ("stream", True) in sent(body())
    assert "stream" not in dict(sent(body(stream=True), stream=False))


# The rest of an answer


@pytest.mark.parametrize(
    ("last", "whole"),
    [
        ({"role": "user", "content": "Count."}, None),
        ({"role": "assistant", "content": "1, ", "x": 1}, {"role": "assistant", "content": "1, 2,", "x": 1}),
        (
            {"role": "assistant", "content": [{"type": "thinking"}, {"type": "text", "text": "1, "}]},
            {"role": "assistant", "content": [{"type": "thinking"}, {"type": "text", "text": "1, 2,"}]},
        ),
        (
            {"role": "assistant", "content": [{"type": "thinking"}]},
            {"role": "assistant", "content": [{"type": "thinking"}, {"type": "text", "text": "2,"}]},
        ),
        (
            {"role": "assistant", "content": []},
            {"role": "assistant", "content": [{"type": "text", "text": "2,"}]},
        ),
    ],
)
def test_an_answer_is_given_back_as_the_assistants_words(last: dict[str, Any], whole: dict[str, Any] | None) -> None:
    request = parse_request(body(messages=[*MESSAGES, last], stream=True, documents=[1]))
    expected = [*MESSAGES, whole] if whole else [*MESSAGES, last, {"role": "assistant", "content": "2,"}]
    again = Anthropic().continued(request, "2, ")
    assert json.loads(again.body) == {**json.loads(request.body), "messages": expected}
    assert (again.model, again.stream) == ("demo", True)


def test_nothing_said_is_nothing_to_give_back() -> None:
    request = parse_request(body())
    assert Anthropic().continued(request, " \n") is request


# Thinking that comes back


def test_signed_thinking_goes_back_to_its_author_untouched() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "EqQ="}
    messages = [*MESSAGES, {"role": "assistant", "content": [thought, {"type": "redacted_thinking", "data": "x"}]}]
    assert dict(sent(body(messages=messages)))["messages"] == messages


def test_thinking_of_another_vendors_model_is_left_out() -> None:
    """It came from here without a signature, and Anthropic refuses what it has not signed."""
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "EqQ="}
    unsigned = {"type": "thinking", "thinking": "Hm.", "signature": ""}
    answer = {"type": "text", "text": "4"}
    messages = [
        *MESSAGES,
        {"role": "assistant", "content": [unsigned, signed, answer], "x": 1},
        {"role": "assistant", "content": [unsigned]},
        {"role": "user", "content": "thanks"},
    ]
    assert dict(sent(body(messages=messages)))["messages"] == [
        *MESSAGES,
        {"role": "assistant", "content": [signed, answer], "x": 1},
        {"role": "user", "content": "thanks"},
    ]
