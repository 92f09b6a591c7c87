"""What must hold between any two dialects."""

import json
from typing import Any

import pytest

from stream_protocols.conversation import Untranslatable
from stream_protocols.dialects import Dialect, SequenceEncoder, Source
from stream_protocols.dialects.registry import DIALECTS, upstream_body
from stream_protocols.events import StreamFailed, failure

ALL = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)

ASKED: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "openai_responses": {"input": "Hi"},
    "anthropic": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
}
ERRORS = {
    "openai_chat": {"message": "m", "type": "t", "param": "p", "code": "c"},
    "openai_responses": {"message": "m", "type": "t", "param": "p", "code": "c"},
    "anthropic": {"message": "m", "type": "invalid_request_error"},
    "gemini": {
        "code": 400,
        "message": "m",
        "status": "INVALID_ARGUMENT",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": "p", "description": "m"}],
            }
        ],
    },
}
FAILED = StreamFailed("c", "m", 400, "t", param="p")


def refused(client: str, provider: str, **fields: Any) -> Untranslatable:
    """What a client hears of a request that its provider cannot be asked."""
    body = json.dumps({"model": "m", **ASKED[client], **fields}).encode()
    with pytest.raises(Untranslatable) as caught:
        upstream_body(DIALECTS[client].parse_request(body), DIALECTS[provider], model="m", stream=True)
    return caught.value


@pytest.mark.parametrize(
    ("client", "provider", "fields", "param"),
    [
        ("openai_chat", "openai_responses", {"stop": "x"}, "stop"),
        ("openai_chat", "anthropic", {"response_format": {"type": "json_object"}}, "response_format"),
        ("openai_chat", "anthropic", {"reasoning_effort": "huge"}, "reasoning_effort"),
        ("anthropic", "openai_responses", {"stop_sequences": ["x"]}, "stop_sequences"),
        ("openai_responses", "anthropic", {"text": {"format": {"type": "json_object"}}}, "text.format"),
        ("openai_responses", "anthropic", {"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ("openai_responses", "anthropic", {"input": " "}, "input"),
    ],
)
def test_a_field_is_blamed_by_the_name_that_its_client_gave_it(
    client: str, provider: str, fields: dict[str, Any], param: str
) -> None:
    error = refused(client, provider, **fields)
    assert error.param == param
    for other in DIALECTS[client].params:
        assert f"`{other}`" not in error.message


def test_a_refused_request_names_the_field_as_the_end_of_a_stream_too() -> None:
    error = refused("anthropic", "openai_responses", stop_sequences=["x"])
    assert failure(error) == StreamFailed(
        "untranslatable_field", error.message, 400, "invalid_request_error", param="stop_sequences"
    )


@ALL
def test_the_field_to_blame_stands_in_errors_where_they_have_a_place_for_it(dialect: Dialect) -> None:
    assert json.loads(dialect.encode_error(FAILED))["error"] == ERRORS[dialect.name]


@ALL
def test_and_in_mid_stream(dialect: Dialect) -> None:
    encoder = dialect.encoder(Source("S", "m", 7))
    if isinstance(encoder, SequenceEncoder):
        told = json.loads(encoder.encode(FAILED)[0].payload)
    else:
        told = json.loads(encoder.encode(FAILED) or b"null")
    assert told["error"] == ERRORS[dialect.name]


@pytest.mark.parametrize("client", ["openai_chat", "openai_responses"])
def test_an_error_of_another_vendor_has_a_code_for_openais_clients(client: str) -> None:
    body = b'{"type":"error","error":{"type":"authentication_error","message":"No."}}'
    failed = DIALECTS["anthropic"].decode_error(body, 401)
    kind = "authentication_error"
    told = json.loads(DIALECTS[client].encode_error(failed))
    assert told == {"error": {"type": kind, "message": "No.", "param": None, "code": kind}}


@ALL
def test_an_error_is_one_whatever_stands_beside_it(dialect: Dialect) -> None:
    """A frame that is not of the known shape, but reports an error, must not pass for one that says nothing."""
    odd = {"type": "error", "index": "x", "choices": 1, "output_index": "x", "error": {"message": "Gone."}}
    decoder = dialect.decoder()
    ((event, raw),) = decoder.feed(b"data: %b\n\n" % json.dumps(odd).encode())
    assert isinstance(event, StreamFailed)
    assert (event.message, json.loads(raw or b"")) == ("Gone.", odd)
    assert decoder.close() == []
