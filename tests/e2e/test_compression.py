"""Compressed streams over real sockets: nothing waits, nothing is lost, and what was taken is given back."""

from __future__ import annotations

import base64
import gzip
import json
import random
from typing import Any

import pytest
import trio

from stream_protocols.encodings.dictionary import CONTENT, DIGEST, NAME
from tests.doubles.decoded import VERSIONS, events
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, STREAMS, chat_body, native_text, openai_text, refused
from tests.doubles.openai_script import RATE_LIMITED, Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Truncated
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until

CODINGS = ("gzip", "deflate", "br", "zstd", "dcz")
OURS = {"available-dictionary": f":{base64.b64encode(DIGEST).decode()}:"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("coding", CODINGS)
async def test_every_event_is_there_before_the_next_is_made(
    upstream: OpenAIServer, gateway: ServedGateway, version: str, coding: str
) -> None:
    gate = Gate()
    upstream.scripts["m"] = script = Script(deltas=words(12), gate=gate)
    async with events(gateway, version, coding, CHAT, payload=chat_body("m"), headers=OURS) as stream:
        assert stream.decoded.coding == coding
        seen = await stream.take(1)
        for _ in script.deltas:
            gate.release()
            seen += await stream.take(1)
        gate.open()
        seen += await stream.rest()
    assert openai_text(seen) == script.text
    await gateway.idle()
    assert gateway.now.compression_bytes == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("coding", CODINGS)
async def test_what_is_saved_of_a_thousand_words(gateway: ServedGateway, version: str, coding: str) -> None:
    """However the gateway merges what it finds waiting, nine tenths of OpenAI's envelope are not sent."""
    created = await gateway.create("demo-n1000", lease=60)
    path = f"{STREAMS}/{created['id']}/events"
    for dialect, share in (("openai_chat", 0.1), ("native", 0.3)):
        async with events(gateway, version, coding, f"{path}?dialect={dialect}", headers=OURS) as stream:
            whole = b"".join([event.raw for event in await stream.rest()])
            assert stream.decoded.wire < share * len(whole)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("coding", CODINGS)
async def test_keepalives_are_decoded_like_events(
    upstream: OpenAIServer, serve: Serve, version: str, coding: str
) -> None:
    gateway = await serve(server={"keepalive": 0.05})
    gate = Gate()
    upstream.scripts["m"] = Script(deltas=words(2), gate=gate)
    async with events(gateway, version, coding, CHAT, payload=chat_body("m"), headers=OURS) as stream:
        await stream.take(1)
        await stream.until_comments(3)
        gate.open()
        assert openai_text(await stream.rest()) == "w0 w1 "


@pytest.mark.parametrize("version", VERSIONS)
async def test_ndjson(gateway: ServedGateway, version: str) -> None:
    created = await gateway.create("demo-n20", lease=60)
    target = f"{STREAMS}/{created['id']}/events"
    headers = {"accept": "application/x-ndjson"}
    async with events(gateway, version, "gzip", target, headers=headers) as stream:
        lines = (await stream.decoded.read()).splitlines()
        assert stream.decoded.coding == "gzip"
    assert len(lines) == 20 + 4


async def test_many_watchers_in_many_codings_see_the_same(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = Gate()
    upstream.scripts["m"] = script = Script(deltas=words(50), gate=gate)
    created = await gateway.create("m", lease=60)
    target = f"{STREAMS}/{created['id']}/events"
    found: list[str] = []

    async def watch(version: str, accept: str) -> None:
        async with events(gateway, version, accept, target, headers=OURS) as stream:
            found.append(native_text(await stream.rest()))

    async with trio.open_nursery() as nursery:
        for accept in (*CODINGS, "identity") * 3:
            for version in VERSIONS:
                nursery.start_soon(watch, version, accept)
        await until(lambda: gateway.now.subscriptions == 36)
        gate.open()
    assert found == [script.text] * 36
    await until(lambda: gateway.now.compression_bytes == 0)


@pytest.mark.parametrize("coding", CODINGS)
async def test_through_small_windows(upstream: OpenAIServer, gateway: ServedGateway, coding: str) -> None:
    """Each piece is cut into many frames, and others have to wait for it: it is compressed once all the same."""
    noise = random.Random(1)
    deltas = tuple(base64.b64encode(noise.randbytes(1500)).decode() for _ in range(30))
    upstream.scripts["m"] = Script(deltas=deltas)
    async with events(gateway, "2", coding, CHAT, payload=chat_body("m"), headers=OURS, window=500) as stream:
        assert openai_text(await stream.rest()) == "".join(deltas)


async def test_a_client_of_http_1_0_reads_until_the_connection_ends(gateway: ServedGateway) -> None:
    body = json.dumps(chat_body("demo-n5")).encode()
    head = f"POST {CHAT} HTTP/1.0\r\nAccept-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    response = await gateway.raw(head + body)
    assert response.head["content-encoding"] == "gzip"
    assert gzip.decompress(await response.read()).endswith(b"data: [DONE]\n\n")


# Resuming


@pytest.mark.parametrize("cut_after", [1, 2, 7, 19])
@pytest.mark.parametrize(("before", "after"), [("gzip", "br"), ("br", "zstd"), ("zstd", "identity"), ("dcz", "gzip")])
async def test_a_stream_goes_on_in_another_coding(
    upstream: OpenAIServer, gateway: ServedGateway, cut_after: int, before: str, after: str
) -> None:
    gate = Gate(20)
    upstream.scripts["m"] = script = Script(deltas=words(30), gate=gate)
    created = await gateway.create("m", lease=60)
    target = f"{STREAMS}/{created['id']}/events"
    async with events(gateway, "1.1", before, target, headers=OURS) as stream:
        seen = (await stream.take(cut_after))[:cut_after]
    last = {"last-event-id": str(seen[-1].id)}
    await until(lambda: gateway.now.compression_bytes == 0)
    gate.open()
    async with events(gateway, "2", after, target, headers=last) as stream:
        seen += await stream.rest()
    assert native_text(seen) == script.text
    numbers = [int(str(event.id).rpartition(".")[2]) for event in seen]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("version", VERSIONS)
async def test_who_leaves_frees_the_memory(upstream: OpenAIServer, gateway: ServedGateway, version: str) -> None:
    gate = Gate(1)
    upstream.scripts["m"] = Script(gate=gate)
    for _ in range(3):
        async with events(gateway, version, "br", CHAT, payload=chat_body("m")) as stream:
            await stream.take(1)
            assert gateway.now.compression_bytes > 300_000
        await until(lambda: gateway.now.compression_bytes == 0)


async def test_without_memory_streams_are_not_compressed_and_go_on(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(compression={"budget_bytes": 30_000})
    gate = Gate(1)
    upstream.scripts["m"] = script = Script(gate=gate)
    target = f"{STREAMS}/{(await gateway.create('m', lease=60))['id']}/events"
    async with (
        events(gateway, "1.1", "gzip", target) as first,
        events(gateway, "2", "gzip", target) as second,
        events(gateway, "1.1", "gzip", target) as third,
        events(gateway, "2", "br, zstd", target) as other,
    ):
        streams = (first, second, third, other)
        assert [stream.decoded.coding for stream in streams] == ["gzip", "gzip", None, None]
        assert gateway.now.compression_bytes <= 30_000
        gate.open()
        for stream in streams:
            assert native_text(await stream.rest()) == script.text


# Answers that are not streams


async def test_a_refusal_before_the_stream_began_is_a_plain_answer(
    upstream: OpenAIServer, gateway: ServedGateway
) -> None:
    upstream.scripts["m"] = Script(refusal=RATE_LIMITED)
    response = await gateway.chat("m", headers={"Accept-Encoding": "gzip"})
    assert response.head.get("content-encoding") is None
    await refused(response, 429)
    await until(lambda: gateway.now.compression_bytes == 0)


async def test_codings_of_whole_answers(gateway: ServedGateway) -> None:
    await refused(await gateway.get("/v1/models", accept_encoding="identity;q=0"), 406)
    response = await gateway.get("/v1/models", accept_encoding="identity;q=0, gzip")
    assert response.head["content-encoding"] == "gzip"


async def test_nothing_left_has_no_coding(gateway: ServedGateway) -> None:
    created = await gateway.create("demo-n1", lease=60)
    target = f"{STREAMS}/{created['id']}/events"
    async with events(gateway, "1.1", "gzip", target) as stream:
        await stream.rest()
    response = await gateway.get(target, accept_encoding="gzip", last_event_id=str(stream.last_id))
    assert (response.status, response.head.get("content-encoding")) == (204, None)


async def test_compression_can_be_turned_off(serve: Serve) -> None:
    gateway = await serve(compression={"enabled": False, "codings": ["nowhere:X"]})
    response = await gateway.chat("demo-n3", headers={"Accept-Encoding": "gzip, br, zstd"})
    assert (response.head.get("content-encoding"), response.head.get("vary")) == (None, None)
    assert await response.events().rest()


async def test_the_dictionary_can_be_fetched_and_kept(gateway: ServedGateway) -> None:
    response = await gateway.get("/v1/dictionaries/current")
    assert (response.status, response.head["location"]) == (307, f"/v1/dictionaries/{NAME}")
    response = await gateway.get(response.head["location"], accept_encoding="gzip, br")
    assert response.status == 200
    assert response.head["use-as-dictionary"] == 'match="/v1/*"'
    assert "immutable" in response.head["cache-control"]
    assert response.head.get("content-encoding") is None
    assert await response.read() == CONTENT
    await refused(await gateway.get("/v1/dictionaries/" + "0" * 64), 404)


# Codecs of others


class Failing:
    """Patched into a codec's compressor: fails at the fourth piece."""

    def __init__(self, compressor: Any) -> None:
        self._compressor = compressor
        self._left = 3

    def feed(self, data: bytes) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("no luck")
        piece: bytes = self._compressor.feed(data)
        return piece

    def finish(self) -> bytes:
        end: bytes = self._compressor.finish()
        return end


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_codec_that_fails_cuts_the_client_off_and_it_resumes(
    upstream: OpenAIServer, gateway: ServedGateway, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    upstream.scripts["m"] = script = Script(deltas=words(10), gate=gate)
    target = f"{STREAMS}/{(await gateway.create('m', lease=60))['id']}/events"
    codec = gateway.gateway._compression._codecs["gzip"]
    make = codec.compressor
    monkeypatch.setattr(codec, "compressor", lambda grade: Failing(make(grade)))
    seen = []
    async with events(gateway, version, "gzip", target) as stream:
        with pytest.raises((Truncated, AssertionError), match=r"reset|^$"):
            while True:
                gate.release()
                seen += await stream.take(1)
    assert 0 < len(seen) < len(script.deltas)
    gate.open()
    headers = {"last-event-id": str(seen[-1].id)}
    async with events(gateway, version, "gzip", target, headers=headers) as stream:
        assert stream.decoded.coding is None
        seen += await stream.rest()
    assert native_text(seen) == script.text
