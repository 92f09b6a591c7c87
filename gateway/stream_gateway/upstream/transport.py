"""The pooled transport behind httpx's interface.

Every change of the pool is a plain function call inside one task, and every `await` has its `finally`: a
request may be cancelled at any moment without leaving a connection that nobody owns.
"""

import collections
import socket
import ssl
from collections.abc import Coroutine
from typing import Any, Final

import httpx
import trio

from stream_gateway.tls import TlsFilter, client_end
from stream_gateway.upstream.connection import Http1Connection
from stream_gateway.upstream.pump import READ_SIZE, Pump

Exchange = Coroutine[Any, Any, httpx.Response]
"""A request under way; awaited, its response."""

KEEP_IDLE: Final = 64
"""Idle connections kept for an origin: enough for a burst, without holding a provider's sockets for ever."""


class PooledTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 connections to one origin, reused last-in first-out so that few stay warm.

    Args:
        pump: reads the sockets.
        max_connections: further requests wait for a free one.
        connect_timeout: seconds for name look-up, TCP and TLS, and for a place in the pool.
        silence_timeout: seconds without a byte after which a request fails.
        max_reply_bytes: bounds replies that no sink takes.
    """

    def __init__(
        self,
        pump: Pump,
        *,
        max_connections: int,
        connect_timeout: float,
        silence_timeout: float,
        max_reply_bytes: int,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._pump = pump
        self._connect_timeout = connect_timeout
        self._silence_timeout = silence_timeout
        self._max_reply_bytes = max_reply_bytes
        self._ssl_context = ssl_context
        self._places = trio.CapacityLimiter(max_connections)
        self._idle: collections.deque[Http1Connection] = collections.deque()
        self._busy = 0
        self._keep_idle = KEEP_IDLE

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """Connections that serve a request or are being made."""
        return self._busy

    def handle_async_request(self, request: httpx.Request) -> Exchange:
        """Send a request; return its response, complete (see `Http1Connection.handle`).

        When this is called and there is an idle connection, the request leaves before anybody else has a turn. The
        result must be awaited, for the rest and to give the connection back.

        Raises:
            httpx.TransportError: no place in the pool, no connection, or it broke.
        """
        token = object()
        try:
            self._places.acquire_on_behalf_of_nowait(token)
        except trio.WouldBlock:
            return self._queue(token, request)
        self._busy += 1
        return self._serve(token, request, self._send_on_idle(request))

    async def _queue(self, token: object, request: httpx.Request) -> httpx.Response:
        await self._wait_for_place(token, request)
        self._busy += 1
        return await self._serve(token, request, self._send_on_idle(request))

    def _send_on_idle(self, request: httpx.Request) -> tuple[Http1Connection, Exchange] | None:
        connection = self._take_idle()
        return None if connection is None else (connection, connection.handle(request, self._silence_timeout))

    async def _serve(
        self, token: object, request: httpx.Request, begun: tuple[Http1Connection, Exchange] | None
    ) -> httpx.Response:
        try:
            if begun is not None:
                connection, answer = begun
            else:
                connection = await self._connect(request)
                answer = connection.handle(request, self._silence_timeout)
            response = await answer
            if not connection.closed:
                self._keep(connection)
            return response
        finally:
            self._busy -= 1
            self._places.release_on_behalf_of(token)

    async def _wait_for_place(self, token: object, request: httpx.Request) -> None:
        try:
            with trio.fail_after(self._connect_timeout):
                await self._places.acquire_on_behalf_of(token)
        except trio.TooSlowError:
            message = f"All {self._places.total_tokens} connections to {request.url.host} are busy."
            raise httpx.PoolTimeout(message, request=request) from None

    def _take_idle(self) -> Http1Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_at_rest():
                return connection
            connection.close()
        return None

    def _keep(self, connection: Http1Connection) -> None:
        self._idle.append(connection)
        if len(self._idle) > self._keep_idle:
            self._idle.popleft().close()

    def _forget(self, connection: Http1Connection) -> None:
        """A connection closed; the pump sees that also while it is idle."""
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self, request: httpx.Request) -> Http1Connection:
        url = request.url
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        try:
            with trio.fail_after(self._connect_timeout):
                stream = await trio.open_tcp_stream(url.host, port)
                # From here on the socket is ours, without a Trio object around it: the pump reads it.
                sock = socket.socket(fileno=stream.socket.detach())
                try:
                    sock.setblocking(False)
                    tls = await self._handshake(sock, url.host) if secure else None
                    return Http1Connection(sock, self._pump, tls, self._max_reply_bytes, self._forget)
                except BaseException:
                    sock.close()
                    raise
        except trio.TooSlowError:
            message = f"No connection to {url.host}:{port} within {self._connect_timeout:g} seconds."
            raise httpx.ConnectTimeout(message, request=request) from None
        except ssl.SSLError as error:
            message = f"TLS with {url.host}:{port} failed: {error.reason or error}."
            raise httpx.ConnectError(message, request=request) from None
        except OSError as error:
            message = f"Cannot connect to {url.host}:{port}: {error.strerror or error}."
            raise httpx.ConnectError(message, request=request) from None

    async def _handshake(self, sock: socket.socket, host: str) -> TlsFilter:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        tls = client_end(self._ssl_context, host)
        while True:
            complete = tls.handshake()
            pending = memoryview(tls.outgoing())
            while pending:
                try:
                    pending = pending[sock.send(pending) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(sock)
            if complete:
                return tls
            await trio.lowlevel.wait_readable(sock)
            tls.feed(sock.recv(READ_SIZE))

    def close(self) -> None:
        """Close the idle connections, and those in use as soon as their requests have ended."""
        self._keep_idle = 0
        while self._idle:
            self._idle.pop().close()

    async def aclose(self) -> None:
        """`close`, by the name that httpx knows."""
        self.close()
