"""A WebSocket client down to the frames: sends anything, answers only what a test wants answered."""

from __future__ import annotations

import base64
import contextlib
import os
import zlib
from typing import Protocol

import trio

from tests.doubles.gateway_client import GatewayClient
from tests.doubles.raw_client import Response
from tests.doubles.secrets import watch
from tests.doubles.sockets import frames
from tests.doubles.sockets.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame, take_frame

CONNECT = "/v1/connect"
JSON = "stream-gateway.v1+json"
MSGPACK = "stream-gateway.v1+msgpack"


class Line(Protocol):
    """What carries the bytes: a `Connection` to a server, or memory."""

    unread: bytearray

    async def send(self, data: bytes) -> None:
        """Send all of it."""

    async def receive(self) -> bool:
        """Read what is there into `unread`; false at the end of the connection, proper or not."""

    async def aclose(self) -> None:
        """Close."""


class Closed(Exception):
    """The server closed: `code` is None when the connection ended without a close frame, or it had no code."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class RawSocket:
    """A socket after the opening handshake.

    Args:
        context: whether what the server compresses builds on what it sent before.

    Attributes:
        answers_pings: whether reading messages answers pings on the way.
        compressed: how many messages came compressed.
        pongs: payloads of the pongs that came while messages were read.
    """

    def __init__(self, line: Line, *, context: bool = True) -> None:
        self.line = line
        self.answers_pings = True
        self.compressed = 0
        self.pongs: list[bytes] = []
        self._context = context
        self._inflate = zlib.decompressobj(-15)

    async def send(self, opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0) -> None:
        """Send a frame."""
        data = payload.encode() if isinstance(payload, str) else payload
        await self.line.send(frames.frame(opcode, data, fin=fin, rsv=rsv))

    async def offer(self, data: bytes) -> None:
        """Send bytes to a server that may have closed meanwhile."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self.line.send(data)

    async def next_frame(self) -> Frame | None:
        """The next frame, whatever it is; None at the end of the connection."""
        while (found := take_frame(self.line.unread)) is None:
            if not await self.line.receive():
                assert not self.line.unread, f"the connection ended inside a frame: {bytes(self.line.unread[:20])!r}"
                return None
        return found

    async def message(self) -> str | bytes:
        """The next message, each in one frame, as the gateway sends them. Raises `Closed`."""
        while True:
            found = await self.next_frame()
            if found is None:
                raise Closed(None)
            if found.opcode in (TEXT, BINARY):
                return self._read(found)
            await self._control(found)

    async def _control(self, found: Frame) -> None:
        if found.opcode == CLOSE:
            watch(found.reason, "the reason of a close")
            raise Closed(found.code, found.reason)
        if found.opcode == PONG:
            self.pongs.append(found.payload)
        elif self.answers_pings:
            assert found.opcode == PING, found
            await self.send(PONG, found.payload)

    def _read(self, found: Frame) -> str | bytes:
        assert found.fin, found
        assert found.rsv in (0, frames.RSV1), found
        payload = found.payload
        if found.rsv:
            self.compressed += 1
            if not self._context:
                self._inflate = zlib.decompressobj(-15)
            payload = self._inflate.decompress(payload + b"\x00\x00\xff\xff")
        watch(payload, "a message on a socket")
        return payload.decode() if found.opcode == TEXT else payload

    async def closing(self) -> Closed:
        """Read up to the server's close frame, or to the end without one; messages on the way are dropped."""
        try:
            while True:
                await self.message()
        except Closed as closed:
            return closed

    async def closed(self) -> Closed:
        """The same, then answer it as a client does; the server has to end the connection."""
        closed = await self.closing()
        if closed.code is not None:
            await self.offer(frames.close(closed.code))
        while await self.line.receive():
            pass
        assert not self.line.unread, f"something came after the close frame: {bytes(self.line.unread[:40])!r}"
        await self.line.aclose()
        return closed

    async def close(self, code: int = 1000, reason: str = "") -> Closed:
        """Close as a client does, and wait for the answer and for the end of the connection."""
        await self.line.send(frames.close(code, reason))
        closed = await self.closing()
        while await self.line.receive():
            pass
        await self.line.aclose()
        return closed


def handshake(**headers: str | None) -> dict[str, str]:
    """The headers of an opening handshake; `Sec_WebSocket_Version="12"` replaces one, None leaves it out."""
    fields: dict[str, str | None] = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return {name: value for name, value in fields.items() if value is not None}


async def shake(
    gateway: GatewayClient,
    *,
    protocol: str | None = JSON,
    extensions: str | None = None,
    receive_buffer: int | None = None,
    **headers: str | None,
) -> Response:
    """Send an opening handshake; the response's head is here, whatever it says."""
    fields = handshake(Sec_WebSocket_Protocol=protocol, Sec_WebSocket_Extensions=extensions, **headers)
    return await gateway.request("GET", CONNECT, headers=fields, receive_buffer=receive_buffer)


async def raw_socket(gateway: GatewayClient, **options: str | int | None) -> RawSocket:
    """Open a socket; options as in `shake`."""
    response = await shake(gateway, **options)  # type: ignore[arg-type]
    assert response.status == 101, response.head
    extension = response.head.get("sec-websocket-extensions") or ""
    return RawSocket(response.connection, context="server_no_context_takeover" not in extension)
