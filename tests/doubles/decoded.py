"""Streams over HTTP/1.1 or HTTP/2, decoded as their bytes arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.doubles.decoders import decoder
from tests.doubles.gateway_client import GatewayClient
from tests.doubles.h2_client import H2Stream, h2_connect
from tests.doubles.raw_client import EventStream, Response

VERSIONS = ("1.1", "2")


class Decoded:
    """A response whose body is read through the decoder that its head asks for."""

    def __init__(self, response: Response | H2Body, coding: str | None) -> None:
        self.coding = coding
        self.wire = 0
        """Bytes of the body that have arrived."""
        self._response = response
        self._decoder = decoder(coding)

    async def read_some(self, most: int = 65_536) -> bytes:
        """What can be decoded by now, once that is something; `b""` at the end, which has to be the coding's too."""
        while data := await self._response.read_some(most):
            self.wire += len(data)
            if decoded := self._decoder.feed(data):
                return decoded
        assert self._decoder.ended, "the body ended before its coding did"
        return b""

    async def read(self) -> bytes:
        """The rest of the body."""
        parts = []
        while part := await self.read_some():
            parts.append(part)
        return b"".join(parts)


class H2Body:
    """The body of an HTTP/2 stream, bit by bit."""

    def __init__(self, stream: H2Stream) -> None:
        self._stream = stream
        self._read = 0

    async def read_some(self, most: int) -> bytes:
        """The next bytes; `b""` at the proper end."""
        stream = self._stream
        await stream._client.until(lambda: len(stream.body) > self._read or stream.ended or stream.reset is not None)
        data = bytes(stream.body[self._read : self._read + most])
        self._read += len(data)
        assert data or stream.reset is None, f"reset with {stream.reset}"
        return data


class Events(EventStream):
    """The events of a decoded response."""

    def __init__(self, decoded: Decoded, headers: Mapping[str, str]) -> None:
        super().__init__(decoded)  # type: ignore[arg-type]
        self.decoded = decoded
        self.headers = headers


@asynccontextmanager
async def events(
    gateway: GatewayClient,
    version: str,
    accept: str,
    target: str,
    *,
    payload: Any = None,
    headers: Mapping[str, str] | None = None,
    window: int | None = None,
) -> AsyncIterator[Events]:
    """Ask for a stream in a coding; leaving the context is leaving the stream. `window` is for HTTP/2."""
    method = "GET" if payload is None else "POST"
    fields = {"accept-encoding": accept, **(headers or {})}
    if version == "2":
        async with h2_connect(gateway.host, gateway.port, window=window) as client:
            stream = await client.request(method, target, payload=payload, headers=fields)
            assert stream.status == 200, bytes(stream.body)
            coding = stream.headers.get("content-encoding")
            yield Events(Decoded(H2Body(stream), coding), stream.headers)
    else:
        async with await gateway.connect() as connection:
            response = await connection.request(method, target, payload=payload, headers=fields)
            assert response.status == 200, response.head
            found = {name.lower(): value for name, value in response.head.fields}
            yield Events(Decoded(response, found.get("content-encoding")), found)
