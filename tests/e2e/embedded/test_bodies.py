"""A stream as the body of an HTTP response."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

from stream_gateway import StreamingGateway
from stream_protocols.sse import SseDecoder
from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.openai_script import Script
from tests.doubles.openai_server import OpenAIServer
from tests.e2e.embedded.conftest import World

Decode = Callable[[bytes], bytes]


def decoder(coding: str | None) -> Decode:
    """Of somebody else's: decodes pieces as they come."""
    if coding is None:
        return lambda data: data
    if coding == "brotli":
        decode: Decode = brotli.Decompressor().process
    elif coding == "zstd":
        decode = zstandard.ZstdDecompressor().decompressobj().decompress
    else:
        decode = zlib.decompressobj(wbits=47).decompress
    return decode


@pytest.mark.parametrize("coding", [None, "gzip", "brotli", "zstd", "deflate"])
async def test_each_piece_can_be_read_when_it_comes(world: World, upstream: OpenAIServer, coding: str | None) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate()))

    async def application() -> None:
        stream = StreamingGateway("openai", compression=coding).stream(model="m", messages=MESSAGES)
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers.get("Content-Encoding") == ("br" if coding == "brotli" else coding)
        decode, events, body = decoder(coding), SseDecoder(), stream.bytes()
        said: list[str] = []
        for number in range(5):
            world.do(gate.release)
            while not said or f"w{number} " not in said[-1]:
                said += [event.data.decode() for event in events.feed(decode(await anext(body)))]
        world.do(gate.open)
        async for piece in body:
            said += [event.data.decode() for event in events.feed(decode(piece))]
        assert said[-1] == "[DONE]"

    await world.run(application)


async def test_who_cannot_read_it_gets_it_plain(world: World, upstream: OpenAIServer) -> None:
    async def application() -> None:
        gateway = StreamingGateway("openai", compression="gzip")
        plain = gateway.stream(model="mock", messages=MESSAGES).accepting("br, gzip;q=0")
        assert "Content-Encoding" not in plain.headers
        assert b"".join([piece async for piece in plain.bytes()]).endswith(b"data: [DONE]\n\n")
        assert gateway.stream(model="mock", messages=MESSAGES).accepting(None).headers.get("Content-Encoding") is None
        coded = gateway.stream(model="mock", messages=MESSAGES).accepting("br, gzip")
        assert coded.headers["Content-Encoding"] == "gzip"

    await world.run(application)


async def test_a_failure_is_told_in_band(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script(ending=Ending.RESET)

    async def application() -> None:
        body = StreamingGateway("openai").stream(model="m", messages=MESSAGES).bytes()
        text = b"".join([piece async for piece in body]).decode()
        assert '{"error":{' in text.splitlines()[-2]
        assert "[DONE]" not in text

    await world.run(application)
