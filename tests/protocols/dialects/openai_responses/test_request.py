"""Requests for a response: what is checked, and what goes to a provider of the same dialect."""

import json
from typing import Any

import pytest

from stream_protocols.dialects.openai_responses import NAME, OpenAIResponses, parse_request
from stream_protocols.dialects.openai_responses.request import MAX_ECHO
from stream_protocols.dialects.registry import upstream_body
from stream_protocols.errors import InvalidField, InvalidJson

RESPONSES = OpenAIResponses()


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "input": "Hi", **fields}).encode()


def test_what_the_gateway_acts_on() -> None:
    request = parse_request(body(stream=True, lease=5))
    assert (request.dialect, request.model, request.stream, request.lease) == (NAME, "m", True, 5)
    assert (request.choices, request.background) == (1, False)


def test_background_is_a_lease() -> None:
    assert parse_request(body(background=True)).lease == "finish"
    assert parse_request(body(background=True)).background
    assert parse_request(body(background=True, lease=9)).lease == 9
    assert parse_request(body(background=False)).lease is None


@pytest.mark.parametrize("elsewhere", ["previous_response_id", "conversation"])
def test_the_input_may_be_elsewhere(elsewhere: str) -> None:
    assert parse_request(json.dumps({"model": "m", elsewhere: "x"}).encode()).model == "m"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"stream": "yes"}, "stream"),
        ({"instructions": 5}, "instructions"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": {}}, "tools"),
        ({"background": 1}, "background"),
        ({"lease": -1}, "lease"),
        ({"previous_response_id": 5}, "previous_response_id"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_request(body(**fields))
    assert caught.value.param == param
    assert param in caught.value.message


def test_no_model() -> None:
    with pytest.raises(InvalidField) as caught:
        parse_request(b'{"input":"Hi"}')
    assert caught.value.param == "model"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"model":"m","input":"Hi"'])
def test_no_json(data: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_request(data)


def test_between_equals_the_bytes_go_through() -> None:
    given = b'{"x":1e3,"model":"m","tools":[{"type":"web_search"}],"input":"Hi","previous_response_id":"resp_1"}'
    sent = upstream_body(parse_request(given), RESPONSES, model="up", stream=False)
    assert sent == given.replace(b'"m"', b'"up"')


def test_what_is_the_gateways_own_stays_here() -> None:
    request = parse_request(body(lease=5, background=True, store=True))
    assert json.loads(RESPONSES.patch(request, model="up", stream=True)) == {
        "model": "up", "input": "Hi", "store": True, "stream": True
    }  # fmt: skip


def test_a_whole_answer_is_asked_for_as_one() -> None:
    request = parse_request(body(stream=True, stream_options={"include_obfuscation": False}))
    assert json.loads(RESPONSES.patch(request, model="up", stream=False)) == {"model": "up", "input": "Hi"}


def test_settings_that_a_response_repeats() -> None:
    request = parse_request(body(metadata={"a": "b"}, temperature=0.5, top_p=None, tools=[], x=1))
    assert json.loads(RESPONSES.echo(request)) == {"metadata": {"a": "b"}, "temperature": 0.5, "tools": []}


def test_what_is_repeated_is_bounded() -> None:
    tools = [{"type": "function", "name": "f", "description": "x" * MAX_ECHO}]
    echoed = RESPONSES.echo(parse_request(body(metadata={"a": "b"}, tools=tools)))
    assert json.loads(echoed) == {"metadata": {"a": "b"}}
    full = RESPONSES.echo(parse_request(body(instructions="x" * (MAX_ECHO - 21))))
    assert MAX_ECHO - 10 < len(full) <= MAX_ECHO


def test_where_a_provider_takes_it() -> None:
    assert RESPONSES.path("m", stream=True) == "/responses"
    assert RESPONSES.credentials("k") == {"Authorization": "Bearer k"}
