"""Requests as they come in, and as they go on to a provider of the same dialect."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects.gemini import Gemini
from stream_protocols.dialects.gemini.request import patch_count, path
from stream_protocols.errors import BadRequest, InvalidField, InvalidJson

DIALECT = Gemini()
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]


def parse(body: Any, model: str = "m", stream: bool = True) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECT.parse_request(data, model=model, stream=stream)


def test_what_the_gateway_acts_on() -> None:
    request = parse({"contents": CONTENTS, "lease": 5, "generationConfig": {"candidateCount": 3}})
    assert (request.dialect, request.model, request.stream, request.choices, request.lease) == (
        "gemini",
        "m",
        True,
        3,
        5,
    )
    assert parse({"contents": CONTENTS, "generation_config": {"candidate_count": 2}}, stream=False).choices == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": "x"}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": [5]}, "contents[0]"),
        ({"contents": CONTENTS, "generationConfig": 5}, "generationConfig"),
        ({"contents": CONTENTS, "generationConfig": {"candidateCount": 0.5}}, "generationConfig.candidateCount"),
        ({"contents": CONTENTS, "generationConfig": {"candidateCount": 129}}, "generationConfig.candidateCount"),
        ({"contents": CONTENTS, "generationConfig": {"candidateCount": True}}, "generationConfig.candidateCount"),
        ({"contents": CONTENTS, "lease": -1}, "lease"),
    ],
)
def test_bad_fields_are_named(body: Any, param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse(body)
    assert caught.value.param == param
    assert param.partition("[")[0] in caught.value.message


def test_bad_bodies() -> None:
    for body in (b"", b"[", b"[]", b"\xff"):
        with pytest.raises(InvalidJson):
            parse(body)
    with pytest.raises(InvalidField):
        parse({"contents": CONTENTS}, model="")


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert parse(body).body == body


def test_what_goes_on_is_what_came() -> None:
    body = b'{ "contents":[{"parts":[{"text":"\\u00fc"}]}], "x": 1.50 }'
    assert DIALECT.patch(parse(body), model="other", stream=True) == body
    leased = b'{"x": 1.50,"lease":"finish","contents":[{"parts":[]}],"model":"models/m"}'
    assert DIALECT.patch(parse(leased), model="other", stream=True) == (
        b'{"x":1.50,"contents":[{"parts":[]}],"model":"models/other"}'
    )


def test_the_rest_of_an_answer_is_asked_for() -> None:
    """What was said becomes the model's turn, or the end of the one that the client has begun for it."""
    request = parse(b'{"contents":[{"parts":[{"text":"\\u00fc"}]}],"x": 1.50}')
    assert DIALECT.continued(request, "") is request
    assert DIALECT.continued(request, "So far").body == (
        b'{"contents":[{"parts":[{"text":"\\u00fc"}]},{"role":"model","parts":[{"text":"So far"}]}],"x":1.50}'
    )
    begun = parse({"contents": [*CONTENTS, {"role": "model", "parts": [{"text": "So"}]}]})
    *_, last = json.loads(DIALECT.continued(begun, " far").body)["contents"]
    assert last == {"role": "model", "parts": [{"text": "So"}, {"text": " far"}]}


def test_what_a_model_must_be_able_to_do() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": ""}}
    asked = {
        "contents": [{"parts": [image]}],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 100}},
    }
    assert DIALECT.needs(parse(asked)) == {"tools", "images", "reasoning"}
    assert DIALECT.needs(parse({"contents": CONTENTS})) == frozenset()


@pytest.mark.parametrize("name", ["generateContentRequest", "generate_content_request"])
def test_a_count_is_asked_under_the_providers_name(name: str) -> None:
    body = {name: {"model": "models/m", "contents": CONTENTS, "lease": 5}}
    sent = json.loads(patch_count(json.dumps(body).encode(), model="other"))
    assert sent == {name: {"model": "models/other", "contents": CONTENTS}}
    assert patch_count(b'{"contents": []}', model="other") == b'{"contents": []}'
    for odd in (b'{"%b":5}' % name.encode(), b'{"%b":null}' % name.encode()):
        assert patch_count(odd, model="other") == odd
    with pytest.raises(InvalidJson):
        patch_count(b"[]", model="other")


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("gemini-2.5-flash", "/models/gemini-2.5-flash:m"),
        ("models/gemini-2.5-flash", "/models/gemini-2.5-flash:m"),
        ("tunedModels/mine-1", "/tunedModels/mine-1:m"),
        ("../../files", "/models/..%2F..%2Ffiles:m"),
        ("a?b#c d%", "/models/a%3Fb%23c%20d%25:m"),
        ("ü", "/models/%C3%BC:m"),
        ("models/../x", "/models/..%2Fx:m"),
    ],
)
def test_paths(model: str, target: str) -> None:
    assert path(model, "m") == target


@given(st.text(max_size=20))
def test_no_name_leads_elsewhere(model: str) -> None:
    target = path(model, "m")
    assert target.isascii()
    assert target.count("/") == 2
    assert not set(target) & set("?# \\\r\n")


def test_where_and_how_a_provider_is_asked() -> None:
    assert DIALECT.path("m", stream=True) == "/models/m:streamGenerateContent?alt=sse"
    assert DIALECT.path("m", stream=False) == "/models/m:generateContent"
    assert DIALECT.credentials("k") == {"x-goog-api-key": "k"}
