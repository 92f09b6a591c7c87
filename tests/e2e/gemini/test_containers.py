"""Who gets which lines: Gemini's SDKs take nothing but `data:`, and without `alt=sse` the answer is an array."""

from __future__ import annotations

import json

import pytest

from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.gemini_frames import sse
from tests.doubles.gemini_sdk import MESSAGES
from tests.doubles.openai_script import Script, words
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.vendor_server import VendorServer

BODY = {"contents": MESSAGES}
STREAM = "/v1beta/models/m:streamGenerateContent"


@pytest.mark.parametrize("query", ["?alt=sse", "?key=sk-x&%24alt=sse"])
async def test_by_default_there_are_data_lines_only(upstream: VendorServer, gateway: ServedGateway, query: str) -> None:
    upstream.scripts["m"] = Script(deltas=words(5))
    response = await gateway.request("POST", STREAM + query, payload=BODY)
    assert response.head["content-type"] == "text/event-stream"
    assert response.head["stream-id"]
    lines = (await response.read()).split(b"\n")
    assert len([line for line in lines if line.startswith(b"data: ")]) == 6
    assert all(line.startswith(b"data: ") for line in lines if line)


@pytest.mark.parametrize("lease", ["header", "field"])
async def test_whoever_asks_for_a_lease_gets_ids(
    upstream: VendorServer, gateway: ServedGateway, dialect: str, lease: str
) -> None:
    upstream.scripts["m"] = Script(deltas=words(5))
    headers = {"Stream-Lease": "5"} if lease == "header" else {}
    body = BODY if lease == "header" else {**BODY, "lease": 5}
    events = await (await gateway.request("POST", STREAM + "?alt=sse", payload=body, headers=headers)).events().rest()
    assert all(event.id for event in events)
    assert "lease" not in upstream.exchanges[0].request.json


@pytest.mark.parametrize(("target", "said"), [("?alt=sse", b"\n"), ("", b"\n")], ids=["sse", "array"])
async def test_silence_is_broken_by_a_blank_line(
    upstream: VendorServer, serve: Serve, dialect: str, target: str, said: bytes
) -> None:
    gateway = await serve(provider={"dialect": dialect}, server={"keepalive": 0.05})
    upstream.scripts["m"] = Script(deltas=words(2), gate=(gate := Gate(0)))
    response = await gateway.request("POST", STREAM + target, payload=BODY)
    assert await response.read_some(100) == said
    gate.open()
    rest = await response.read()
    assert rest.count(b'"text"') >= 2


@pytest.mark.parametrize("method", ["streamGenerateContent", "streamGenerateContent?alt=json"])
async def test_without_server_sent_events_it_is_an_array(
    upstream: VendorServer, gateway: ServedGateway, method: str
) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20))
    response = await gateway.request("POST", f"/v1/models/m:{method}", payload=BODY)
    assert response.head["content-type"] == "application/json"
    chunks = json.loads(await response.read())
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    assert "".join(part["text"] for part in parts) == script.text
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_an_array_that_breaks_off_ends_with_the_error(upstream: VendorServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=words(3), ending=Ending.NO_DONE)
    response = await gateway.request("POST", STREAM, payload=BODY)
    chunks = json.loads(await response.read())
    assert chunks[-1]["error"]["status"] == "UNAVAILABLE"
    assert len(chunks) == 4


async def test_an_array_cannot_be_resumed(gateway: ServedGateway) -> None:
    response = await gateway.request("POST", STREAM, payload=BODY, headers={"Last-Event-ID": "x"})
    assert response.status == 400
    assert "alt=sse" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("dialect", ["gemini"])
async def test_the_providers_frames_come_through_to_the_byte(upstream: VendorServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=("für ", "日本 ", "🎉 "), split=3)
    response = await gateway.request("POST", STREAM + "?alt=sse", payload=BODY)
    frames = [frame for frame in (await response.read()).split(b"\n\n") if frame]
    writer = upstream.frames(script, upstream.exchanges[0].request)
    expected = [*writer.deltas(), writer.closing()]
    assert [frame + b"\n\n" for frame in frames] == [frame.replace(b"\r\n", b"\n") for frame in expected]
    assert sse({}) == b"data: {}\r\n\r\n"
