"""Chat requests: what the gateway acts on is checked and named, and everything else goes through as it came."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import registry
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.dialects.openai_chat.request import MAX_CHOICES, patch
from stream_protocols.errors import InvalidField, InvalidJson
from stream_protocols.request import MAX_LEASE, Request, check_lease

MESSAGES = [{"role": "user", "content": "Hi"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "demo", "messages": MESSAGES, **fields}).encode()


def without(name: str) -> bytes:
    fields = {"model": "demo", "messages": MESSAGES}
    del fields[name]
    return json.dumps(fields).encode()


def test_the_least_that_a_request_must_say() -> None:
    request = parse_request(body())
    assert request == Request("openai_chat", "demo", False, body())


def test_all_that_the_gateway_acts_on() -> None:
    text = body(stream=True, n=3, stream_options={"include_usage": True, "other": 1}, lease=2.5)
    assert parse_request(text) == Request("openai_chat", "demo", True, text, 3, True, 2.5)


def test_null_is_the_same_as_not_said() -> None:
    names = ("stream", "n", "temperature", "top_p", "max_tokens", "max_completion_tokens", "tools", "lease")
    request = parse_request(body(**dict.fromkeys(names), stream_options=None))
    assert (request.stream, request.choices, request.include_usage, request.lease) == (False, 1, False, None)


@pytest.mark.parametrize("lease", [0, 0.0, 1, 86_400, "finish"])
def test_leases(lease: float | str) -> None:
    assert parse_request(body(lease=lease)).lease == lease


# Bad requests: the message names the field


@pytest.mark.parametrize(
    ("text", "param"),
    [
        (without("model"), "model"),
        (without("messages"), "messages"),
        (body(model=5), "model"),
        (body(model=None), "model"),
        (body(model=""), "model"),
        (body(messages="Hi"), "messages"),
        (body(messages={}), "messages"),
        (body(messages=[]), "messages"),
        (body(messages=["Hi"]), "messages[0]"),
        (body(messages=[{"content": "Hi"}]), "messages[0].role"),
        (body(messages=[*MESSAGES, {"role": None}]), "messages[1].role"),
        (body(stream="yes"), "stream"),
        (body(stream=1), "stream"),
        (body(n=0), "n"),
        (body(n=-1), "n"),
        (body(n=MAX_CHOICES + 1), "n"),
        (body(n="2"), "n"),
        (body(n=1.5), "n"),
        (body(temperature="hot"), "temperature"),
        (body(top_p=[]), "top_p"),
        (body(max_tokens="many"), "max_tokens"),
        (body(max_completion_tokens={}), "max_completion_tokens"),
        (body(tools={}), "tools"),
        (body(tools=["f"]), "tools[0]"),
        (body(stream_options=True), "stream_options"),
        (body(stream_options={"include_usage": "yes"}), "stream_options.include_usage"),
        (body(lease="forever"), "lease"),
        (body(lease=-1), "lease"),
        (body(lease=MAX_LEASE + 1), "lease"),
        (body(lease=True), "lease"),
        (body(lease={}), "lease"),
    ],
    ids=lambda value: value.decode()[-40:] if isinstance(value, bytes) else value,
)
def test_a_bad_field_is_named(text: bytes, param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_request(text)
    assert caught.value.param == param
    assert f"`{param}`" in caught.value.message
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"demo"',
        b"model=demo",
        body() + b"x",
        body()[:-1],
        b"\xef\xbb\xbf" + body(),
        b'{"model":5,"messages":[',
        b'{"model":"demo","messages":[{"role":"\\ud800"}]}',
        b'{"model":"demo","messages":' + b"[" * 200_000,
        b'{"model":"demo","x":' + b'{"a":' * 200_000,
    ],
    ids=lambda text: text[:28],
)
def test_what_is_no_json_object(text: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_request(text)


def test_what_is_no_utf8_names_the_place() -> None:
    with pytest.raises(InvalidJson, match="byte 10"):
        parse_request(b'{"model":"\xff"}')
    with pytest.raises(InvalidJson, match="UTF-8"):
        parse_request(body(x="?").replace(b"?", b"\xed\xa0\x80"))  # a surrogate, written as if it were a character


@pytest.mark.parametrize("lease", [float("nan"), float("inf"), -0.1, MAX_LEASE + 0.1])
def test_a_lease_out_of_its_limits(lease: float) -> None:
    with pytest.raises(InvalidField, match="lease"):
        check_lease(lease)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_a_request_or_a_clear_error(text: bytes) -> None:
    with pytest.raises((InvalidField, InvalidJson)):
        parse_request(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
known = st.sampled_from(["model", "messages", "stream", "n", "tools", "stream_options", "lease", "temperature"])


@given(st.dictionaries(known, values))
def test_any_values_are_a_request_or_a_clear_error(fields: dict[str, Any]) -> None:
    text = body(**fields)
    try:
        blamed = parse_request(text).model
    except InvalidField as error:
        blamed = re.split(r"[.\[]", error.param or "")[0]
    assert blamed in [fields.get("model", "demo"), *fields]


# What a provider gets


def sent(text: bytes, **options: Any) -> list[tuple[str, Any]]:
    options = {"model": "up", "stream": True, **options}
    return list(json.loads(patch(parse_request(text), **options)).items())


def test_order_and_unknown_fields_stay_and_the_lease_goes() -> None:
    text = (
        b'{"zeta":{"b":1,"a":[ ]},"messages":[{"role":"user"}],"lease":5,"alpha":null,'
        b'"model":"demo","n":2,"stream":true}'
    )
    assert sent(text) == [
        ("zeta", {"b": 1, "a": []}),
        ("messages", [{"role": "user"}]),
        ("alpha", None),
        ("model", "up"),
        ("n", 2),
        ("stream", True),
    ]


def test_values_go_as_they_were_written() -> None:
    value = b'{"pi":3.14000,"big":123456789012345678901234567890,"text":"\\u00e9\\/"}'
    text = b'{"model":"demo","messages":[{"role":"user"}],"x":%b}' % value
    assert value in patch(parse_request(text), model="up", stream=False)


def test_streaming_is_what_the_gateway_asks_for_not_what_the_client_did() -> None:
    assert ("stream", True) in sent(body())
    fields = dict(sent(body(stream=True, stream_options={"include_usage": True}), stream=False))
    assert "stream" not in fields
    assert "stream_options" not in fields


def test_the_clients_own_stream_options_stay() -> None:
    options = {"include_usage": False, "other": 1}
    assert ("stream_options", options) in sent(body(stream_options=options))
    assert "stream_options" not in dict(sent(body()))


def test_a_native_client_gets_usage_without_asking() -> None:
    def options(text: bytes, *, stream: bool = True) -> Any:
        sent = patch(parse_request(text, native=True), model="up", stream=stream)
        return json.loads(sent).get("stream_options")

    assert options(body()) == {"include_usage": True}
    assert options(body(stream_options=None)) == {"include_usage": True}
    assert options(body(stream_options={"include_usage": False, "other": 1})) == {"include_usage": True, "other": 1}
    assert options(body(stream_options={"include_usage": True, "other": 1})) == {"include_usage": True, "other": 1}
    assert options(body(), stream=False) is None


# What routing asks of a request


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, set()),
        ({"tools": [], "reasoning_effort": None, "reasoning": {}}, set()),
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"reasoning_effort": "high"}, {"reasoning"}),
        ({"reasoning": {"effort": "low"}}, {"reasoning"}),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE, 5]}]}, {"images"}),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "image_url"}]}]}, set()),
        ({"messages": [{"role": "assistant"}], "tools": [{}], "reasoning_effort": "low"}, {"tools", "reasoning"}),
    ],
)
def test_what_a_model_must_be_able_to_do(fields: dict[str, Any], needs: set[str]) -> None:
    assert registry.needs(parse_request(body(**fields))) == needs


def continued(text: str, **fields: Any) -> dict[str, Any]:
    """The JSON of a request for the rest of an answer."""
    request = registry.continued(parse_request(body(**fields)), text)
    asked: dict[str, Any] = json.loads(request.body)
    return asked


def test_an_answer_is_given_back_as_the_assistants_words() -> None:
    assert continued("Once ", stream=True, x=[1]) == {
        "model": "demo",
        "messages": [*MESSAGES, {"role": "assistant", "content": "Once "}],
        "stream": True,
        "x": [1],
    }


def test_words_that_the_client_began_and_the_answer_are_one_message() -> None:
    begun = [*MESSAGES, {"role": "assistant", "content": "Once ", "name": "n"}]
    assert continued("upon", messages=begun)["messages"] == [
        *MESSAGES,
        {"role": "assistant", "content": "Once upon", "name": "n"},
    ]


@pytest.mark.parametrize("last", [{"role": "assistant", "content": None}, {"role": "assistant", "content": []}])
def test_a_last_message_without_words_stays_as_it_is(last: dict[str, Any]) -> None:
    messages = continued("a", messages=[*MESSAGES, last])["messages"]
    assert messages == [*MESSAGES, last, {"role": "assistant", "content": "a"}]


def test_nothing_said_is_nothing_to_give_back() -> None:
    request = parse_request(body(stream=True))
    assert registry.continued(request, "") is request


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_can_be_given_back(text: str) -> None:
    request = parse_request(body(stream=True, n=1, lease=3))
    again = registry.continued(request, text)
    assert (again.model, again.stream, again.choices, again.lease) == ("demo", True, 1, 3)
    assert "".join(message["content"] for message in json.loads(again.body)["messages"][1:]) == text


@pytest.mark.parametrize(("value", "name"), [("c1", "c1"), (None, None), ({"id": "c"}, None), (5, None)])
def test_a_conversation_has_a_name_that_providers_do_not_see(value: object, name: str | None) -> None:
    request = parse_request(body(conversation=value))
    assert request.conversation_id == name
    assert "conversation" not in json.loads(patch(request, model="m", stream=True))
