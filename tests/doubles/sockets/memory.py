"""Sockets without a network: a wire in memory, and a service on it, so that a test may own the clock.

What carries a socket is none of its business: anything that is a `Wire` will do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from stream_gateway.config import Config, GuardSettings, SocketSettings, StreamSettings
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.principal import ANONYMOUS
from stream_gateway.server.exchange import BodyOutlet, Exchange, HeaderList
from stream_gateway.server.sockets.service import SocketService
from stream_gateway.server.sockets.socket import WebSocket
from stream_gateway.server.sockets.wire import Serve
from stream_gateway.streams.budget import Budget
from stream_gateway.streams.chunkers import Chunkers
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream import demo
from stream_gateway.upstream.demo import DemoProvider
from stream_gateway.upstream.routing.router import Router
from stream_protocols.chunking import Conditions
from stream_protocols.events import StreamStarted
from tests.doubles.sockets.raw_socket import JSON, MSGPACK, RawSocket
from tests.doubles.sockets.session_client import SessionClient


class MemoryWire:
    """The gateway's end of a wire, and, with `Line`'s methods, the peer's.

    Attributes:
        room: bytes that the peer's side still takes; None for any number.
        aborted, closed: how the gateway ended it.
    """

    def __init__(self) -> None:
        self.unread = bytearray()
        self.room: int | None = None
        self.aborted = False
        self.closed = False
        self._to_gateway = trio.testing.MemoryReceiveStream()
        self._arrived = bytearray()
        self._news = trio.Event()
        self._eof = False
        self._rest = b""
        self._left = trio.Event()

    # ---- the gateway's end (see `Wire`)

    def conditions(self) -> Conditions:
        """See `Outlet`."""
        return Conditions()

    def clear(self) -> bool:
        return not self._rest

    def write_now(self, data: bytes) -> bool:
        assert not self._rest, "write_now while an earlier write is not flushed"
        if self.closed:
            raise BrokenPipeError("the wire is closed")
        self._rest = data
        self._move()
        return self.clear()

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._rest:
            if self.closed:
                raise BrokenPipeError("the wire is closed")
            await self._left.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._to_gateway.receive_some(max_bytes))

    async def close_gracefully(self) -> None:
        self._end()
        while await self.receive_some():
            pass
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._end()
            self._left.set()

    def abort(self) -> None:
        self.aborted = True
        self.close()

    # ---- the peer's end (see `Line`)

    async def send(self, data: bytes) -> None:
        if self.closed:
            raise trio.BrokenResourceError
        self._to_gateway.put_data(data)
        await trio.lowlevel.checkpoint()

    async def receive(self) -> bool:
        await trio.lowlevel.checkpoint()
        while not self._arrived and not self._eof:
            await self._news.wait()
        return self.pump()

    def pump(self) -> bool:
        """What `receive` does, without waiting."""
        count = len(self._arrived)
        self.unread += self._arrived
        self._arrived.clear()
        return bool(count)

    async def aclose(self) -> None:
        self._to_gateway.put_eof()
        await trio.lowlevel.checkpoint()

    def take(self, room: int | None) -> None:
        """The peer takes so many more bytes; None: from now on any number."""
        self.room = room
        self._move()

    def _move(self) -> None:
        data = self._rest if self.room is None else self._rest[: self.room]
        if data:
            self._rest = self._rest[len(data) :]
            self.room = None if self.room is None else self.room - len(data)
            self._arrived += data
            self._tell()
        if not self._rest:
            self._left.set()
            self._left = trio.Event()

    def _end(self) -> None:
        self._eof = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


class MemoryExchange(Exchange):
    """An opening handshake that is accepted whatever it says."""

    def __init__(self, headers: dict[str, str], peer: str, nursery: trio.Nursery) -> None:
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        super().__init__("GET", "/v1/connect", pairs, peer)
        self.principal = ANONYMOUS
        self.wire = MemoryWire()
        self.answer: dict[str, str] = {}
        self._nursery = nursery

    @property
    def answered(self) -> bool:
        return bool(self.answer)

    async def read_body(self) -> bytes:
        raise NotImplementedError

    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        raise NotImplementedError

    def open(self, status: int, headers: HeaderList) -> BodyOutlet:
        raise NotImplementedError

    async def upgrade(self, headers: HeaderList, serve: Serve) -> None:
        self.answer = {"status": "101", **dict(headers)}
        await trio.lowlevel.checkpoint()
        self._nursery.start_soon(serve, self.wire, b"")


def wire_of(socket: RawSocket) -> MemoryWire:
    """The wire of a socket of a rig."""
    assert isinstance(socket.line, MemoryWire)
    return socket.line


class SocketRig:
    """A service with the demo provider behind it, and sockets on memory."""

    def __init__(self, settings: SocketSettings, streams: StreamSettings, nursery: trio.Nursery) -> None:
        self.settings = settings
        self.registry = Registry(streams, Budget(100_000_000), chunkers=Chunkers({}, {}, "passthrough"))
        router = Router(Config(), {demo.NAME: DemoProvider()})
        self.service = SocketService(
            settings, self.registry, Generations(self.registry, router), Guard(GuardSettings())
        )
        self._nursery = nursery

    async def connect(self, *, binary: bool = False, extensions: str | None = None, peer: str = "p") -> SessionClient:
        """Open a socket and speak the subprotocol on it."""
        return SessionClient(await self.raw(binary=binary, extensions=extensions, peer=peer), binary=binary)

    async def raw(self, *, binary: bool = False, extensions: str | None = None, peer: str = "p") -> RawSocket:
        """Open a socket."""
        headers = {"Sec-WebSocket-Protocol": MSGPACK if binary else JSON}
        if extensions is not None:
            headers["Sec-WebSocket-Extensions"] = extensions
        exchange = MemoryExchange(headers, peer, self._nursery)
        await self.service.connect(exchange)
        return RawSocket(exchange.wire, context="server_no_context" not in str(exchange.answer))

    def stream(self) -> Stream:
        """A stream that a test fills by itself; it has begun."""
        stream = self.registry.create("m", owner=ANONYMOUS.id, dialect=None, lease="finish")
        stream.extend([(StreamStarted("m", 1), None)])
        return stream

    @property
    def sockets(self) -> list[WebSocket]:
        """The gateway's sockets, in no order."""
        return list(self.service.sockets)

    @property
    def socket(self) -> WebSocket:
        """The gateway's socket, when there is one."""
        (socket,) = self.service.sockets
        return socket


@asynccontextmanager
async def socket_rig(logs: StreamSettings | None = None, **settings: object) -> AsyncIterator[SocketRig]:
    """A running rig; `logs` are settings of streams, all others of sockets, instead of the defaults."""
    async with trio.open_nursery() as nursery:
        rig = SocketRig(SocketSettings(**settings), logs or StreamSettings(), nursery)  # type: ignore[arg-type]
        await nursery.start(rig.registry.run)
        nursery.start_soon(rig.service.run)
        yield rig
        nursery.cancel_scope.cancel()
