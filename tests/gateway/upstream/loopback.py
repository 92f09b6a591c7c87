"""Providers written by hand: a loopback server of which every byte and every close is the test's."""

import contextlib
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx
import trio
from h2.settings import SettingCodes
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.dialing import Dialer
from stream_gateway.upstream.pump import Pump
from stream_gateway.upstream.repeating import REPEATABLE
from stream_gateway.upstream.sink import EXTENSION, SILENCE, Headers, Silence, Valve
from stream_gateway.upstream.transport import PooledTransport, PoolStatistics
from tests.doubles.h2_peer import H2Peer, h2_peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def request(self) -> bytes:
        """The next request, head and body; empty when the client closed instead."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self._more():
                return b""
        head, _, _ = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        size = len(head) + 4 + (int(length[1]) if length else 0)
        while len(self._buffer) < size:
            if not await self._more():
                return b""
        request, self._buffer = self._buffer[:size], self._buffer[size:]
        return bytes(request)

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            return False
        self._buffer += data
        return bool(data)

    async def send(self, *pieces: bytes) -> None:
        """Send each piece when the client has read the one before it."""
        for number, piece in enumerate(pieces):
            if number:
                await wait_all_tasks_blocked()
            await self.stream.send_all(piece)

    async def rest_of_body(self, size: int) -> None:
        """Read on until so many bytes of a request's body must have come."""
        while len(self._buffer) < size - 1000 and await self._more():
            pass

    async def left(self) -> None:
        """Wait until the client has closed the connection."""
        while await self._more():
            pass

    def reset(self) -> None:
        """Break the connection off."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.stream.socket.close()


Handler = Callable[[Peer], Awaitable[Any]]


class Loopback:
    """Serves each connection with `handler`, and closes it when that returns."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.context = context
        self.accepted = 0
        self.open = 0
        self.port = 0
        self._changed = trio.Event()

    async def has_open(self, count: int) -> None:
        """Wait until it has exactly so many connections; a test that waits in vain has failed."""
        while self.open != count:
            await self._changed.wait()

    def _count(self, change: int) -> None:
        self.open += change
        self._changed.set()
        self._changed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.accepted += 1
        self._count(1)
        try:
            if self.context is None:
                peer = Peer(stream)
            else:
                peer = Peer(trio.SSLStream(stream, self.context, server_side=True, https_compatible=True))
            await self.handler(peer)
            await trio.aclose_forcefully(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            stream.socket.close()
            self._count(-1)


def answer(*replies: bytes) -> Handler:
    """A handler that gives each request its reply, in this order, and then closes."""

    async def handle(peer: Peer) -> None:
        for reply in replies:
            if not await peer.request():
                return
            await peer.send(reply)

    return handle


async def always_ok(peer: Peer) -> None:
    """A handler that says ok to every request."""
    while await peer.request():
        await peer.stream.send_all(OK)


def http2(
    handler: Callable[[H2Peer], Awaitable[Any]], settings: Mapping[SettingCodes, int] | None = {}, **options: bool
) -> Handler:
    """A handler that speaks HTTP/2, and closes the connection when the inner one returns."""

    async def handle(peer: Peer) -> None:
        async with h2_peer(peer.stream, settings=settings, **options) as inner:
            await handler(inner)

    return handle


async def answer_all(peer: H2Peer) -> None:
    """Says ok to every request, over HTTP/2."""
    with contextlib.suppress(trio.EndOfChannel):
        while request := await peer.request():
            await peer.respond(request)
            await peer.send(request, b"ok", end=True)


class TakingSink:
    """Takes every body, and keeps it."""

    def __init__(self, *, take: bool = True) -> None:
        self.take = take
        self.status = 0
        self.body = b""
        self.flushes = 0
        self.ended = 0
        self.fail_in: str | None = None
        self.valve: Valve
        self.fed = trio.Event()

    def _fail(self, where: str) -> None:
        if self.fail_in == where:
            raise ZeroDivisionError(where)

    def begin(self, status: int, headers: Headers, valve: Valve) -> bool:
        self._fail("begin")
        self.status = status
        self.valve = valve
        return self.take

    def feed(self, data: bytes) -> None:
        self._fail("feed")
        self.body += data

    def flush(self) -> None:
        self._fail("flush")
        self.flushes += 1
        if self.body:
            self.fed.set()

    def end(self) -> None:
        self._fail("end")
        self.ended += 1


class Pool:
    """Short ways to use a `PooledTransport`, which is made for the first server that is asked."""

    def __init__(self, pump: Pump, **options: Any) -> None:
        self._pump = pump
        of_both = {"write_timeout": 5.0}
        self._dialing: dict[str, Any] = {"connect_timeout": 5.0, **of_both}
        self._options: dict[str, Any] = {
            **{"max_connections": 10, "silence_timeout": 5.0, "max_reply_bytes": 100_000, **of_both},
            **{"idle_timeout": 60.0, "max_lifetime": 3600.0},
        }
        for name, value in options.items():
            if name in ("connect_timeout", "write_timeout", "http2", "proxy", "ssl_context"):
                self._dialing[name] = value
            if name not in ("connect_timeout", "http2", "proxy", "ssl_context"):
                self._options[name] = value
        self._transports: dict[str, PooledTransport] = {}

    def transport_to(self, port: int, scheme: str = "http", host: str = "127.0.0.1") -> PooledTransport:
        """The transport that leads there."""
        origin = f"{scheme}://{host}:{port}"
        if origin not in self._transports:
            dialer = Dialer(httpx.URL(origin), **self._dialing)
            self._transports[origin] = PooledTransport(self._pump, dialer, **self._options)
        return self._transports[origin]

    @property
    def transport(self) -> PooledTransport:
        """The only one."""
        (transport,) = self._transports.values()
        return transport

    async def ask(
        self,
        server: Loopback,
        *,
        sink: TakingSink | None = None,
        silence: Silence | None = None,
        body: bytes = b"{}",
        scheme: str = "http",
        host: str = "127.0.0.1",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        repeatable: bool = False,
    ) -> httpx.Response:
        """Send one request, and read its response."""
        extensions: dict[str, Any] = {SILENCE: silence, REPEATABLE: repeatable}
        if sink is not None:
            extensions[EXTENSION] = sink
        request = httpx.Request(
            method,
            f"{scheme}://{host}:{server.port}/v1",
            headers=headers,
            content=body,
            extensions=extensions,
        )
        response = await self.transport_to(server.port, scheme, host).handle_async_request(request)
        response.read()
        return response

    def close(self) -> None:
        """Close what is idle."""
        for transport in self._transports.values():
            transport.close()

    @property
    def statistics(self) -> PoolStatistics:
        """What all transports hold."""
        return sum((transport.statistics() for transport in self._transports.values()), PoolStatistics())

    @property
    def counts(self) -> tuple[int, int]:
        """Busy and idle connections."""
        return self.statistics.busy, self.statistics.idle


def chunks(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> Sequence[bytes]:
    """A chunked response in pieces: the head, each chunk, the end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), last]
