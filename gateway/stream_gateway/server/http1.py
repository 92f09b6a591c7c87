"""HTTP/1.1 with clients, on a transport.

One connection has one task, which takes requests in order and runs their handlers. When the client leaves, the
handler is cancelled at once (see `hangups`). What comes of streamed bodies is written to the transport by the
subscription itself, in the framing that its outlet names.
"""

import http
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from stream_gateway.config import LimitSettings
from stream_gateway.server.exchange import Exchange, HeaderList, date, never
from stream_gateway.server.hangups import Hangups
from stream_gateway.server.sockets.wire import Serve
from stream_gateway.server.transport import Transport
from stream_protocols.errors import (
    BadRequest,
    BodyTooLarge,
    MalformedHttp,
    RequestTimeout,
    StreamProtocolError,
    UpgradeRequired,
)
from stream_protocols.framing import LAST_CHUNK, Framing, chunked, identity
from stream_protocols.http1 import CONTINUE, RequestHead, RequestReader, encode_reply
from stream_protocols.websocket import accept_key

LINGER: Final = 1.0
"""Seconds in which a refused request is still read, so that closing does not destroy the refusal (RFC 9112 §9.6)."""

_REASONS: Final = {status.value: status.phrase for status in http.HTTPStatus}

Handler = Callable[[Exchange], Awaitable[None]]


class Http1Connection:
    """Serves one connection until either side ends it."""

    def __init__(self, transport: Transport, handler: Handler, limits: LimitSettings, hangups: Hangups) -> None:
        self.transport = transport
        self.limits = limits
        self.reader = RequestReader(limits.header_bytes)
        self.upgraded: Serve | None = None
        self._handler = handler
        self._hangups = hangups
        self._gone = False
        self._handling = False
        self._scope = trio.CancelScope()

    async def serve(self, initial: bytes = b"") -> None:
        """Serve requests in order, `initial` being their first bytes. Returns when the connection is to be closed."""
        if initial:
            self.reader.feed(initial)
        self._hangups.add(self.transport.sock, self._on_hangup)
        try:
            with self._scope:
                while await self._serve_one():
                    pass
        finally:
            self._hangups.remove(self.transport.sock)
        if self._handling:
            self.transport.abort()  # what the client has not taken must not wait in the kernel for it
            return
        if self.upgraded is not None and not self._gone:
            leftover, serve = self.reader.waiting, self.upgraded
            del self.reader, self._handler  # a socket lives long, and needs nothing of this
            await serve(self.transport, leftover)

    def _on_hangup(self) -> None:
        """The client has left: nobody would read the answer."""
        self._gone = True
        if self._handling:
            self._scope.cancel()

    async def more(self) -> None:
        """Wait for bytes and give them to the reader."""
        try:
            data = await self.transport.receive_some()
        except OSError:
            data = b""
        self.reader.feed(data)

    def skip_body(self) -> bool:
        """Drop what has arrived of a body that nobody wants; True when that was all of it."""
        try:
            self.reader.body()
        except MalformedHttp:
            return False
        return self.reader.complete

    async def _serve_one(self) -> bool:
        """One request. False when there will be no other."""
        try:
            head = await self._next_head()
        except StreamProtocolError as error:
            await self._refuse(error)
            return False
        if head is None:
            return False
        exchange = Http1Exchange(self, head)
        self._handling = True
        if self._gone:
            self._scope.cancel()
        await self._handler(exchange)
        self._handling = False
        if self.upgraded is not None:
            return False
        if not exchange.finished:
            self.transport.abort()  # an answer that breaks off must not look like its end
            return False
        if exchange.keep_alive:
            return True
        await self._linger()
        return False

    async def _next_head(self) -> RequestHead | None:
        """The next request's head; None when the client leaves or says nothing for `idle_timeout`."""
        reader, limits = self.reader, self.limits
        if reader.waiting:  # sent ahead: whoever sends much of that must not have all turns
            await trio.lowlevel.checkpoint()
        deadline = trio.current_time() + limits.idle_timeout
        begun = False
        while True:
            head = reader.head()
            if head is not None or reader.ended:
                return head
            if not begun and reader.waiting:
                begun = True
                deadline = trio.current_time() + limits.header_timeout
            with trio.move_on_at(deadline) as scope:
                await self.more()
            if scope.cancelled_caught:
                if begun:
                    raise RequestTimeout(
                        f"The request's head was not complete within {limits.header_timeout:g} seconds."
                    )
                return None

    async def _refuse(self, error: StreamProtocolError) -> None:
        """Answer what cannot be taken as a request; the connection ends after it."""
        body = error.to_json()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Date", date()),
            ("Connection", "close"),
        ]
        try:
            await self.transport.send_all(_head(error.status, headers) + body)
        except OSError:
            return
        await self._linger()

    async def _linger(self) -> None:
        """Read and drop what the client still sends, for a moment."""
        with trio.move_on_after(LINGER):
            await self.transport.close_gracefully()


class Http1Exchange(Exchange):
    """One request on an HTTP/1.1 connection.

    Attributes:
        finished: whether it was answered, and properly.
        keep_alive: whether another request can follow; certain once a response has begun.
    """

    def __init__(self, connection: Http1Connection, head: RequestHead) -> None:
        super().__init__(head.method, head.target, head.headers, connection.transport.peer)
        self.finished = False
        self.keep_alive = head.keep_alive
        self._answered = False
        self._connection = connection
        self._head = head

    def be_last(self) -> None:
        """Answer with `Connection: close`."""
        self.keep_alive = False

    @property
    def answered(self) -> bool:
        """Whether a response has begun."""
        return self._answered

    async def read_body(self) -> bytes:
        """The whole request body (see `Exchange`)."""
        connection, limits = self._connection, self._connection.limits
        reader, head = connection.reader, self._head
        if head.length is not None and head.length > limits.body_bytes:
            raise BodyTooLarge(_too_large(limits))
        if head.invited and not reader.complete and not reader.waiting:
            await connection.transport.send_all(CONTINUE)
        parts = [reader.body()]
        size = len(parts[0])
        deadline = trio.current_time() + limits.body_timeout
        try:
            # Nearly every body is here with its head: no timer for those.
            while not reader.complete and size <= limits.body_bytes:
                with trio.fail_at(deadline):
                    await connection.more()
                parts.append(reader.body())
                size += len(parts[-1])
        except trio.TooSlowError:
            message = f"The request's body was not complete within {limits.body_timeout:g} seconds."
            raise RequestTimeout(message) from None
        if size > limits.body_bytes:
            raise BodyTooLarge(_too_large(limits))
        return b"".join(parts)

    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """Send a whole response (see `Exchange`)."""
        if status != 204:
            headers = [*headers, ("Content-Length", str(len(body)))]
        data = self.render_head(status, headers)
        if self.method != "HEAD":
            data += body
        await self._connection.transport.write(data)
        self.finished = True

    def open(self, status: int, headers: HeaderList, *, unless: Callable[[], bool] = never) -> "Http1Outlet":
        """Prepare a streamed response (see `Exchange`)."""
        framing, last = (chunked, LAST_CHUNK) if self._head.chunks else (identity, b"")
        if framing is chunked:
            headers = [*headers, ("Transfer-Encoding", "chunked")]
        if self.method == "HEAD":
            last = b""
        return Http1Outlet(
            self, self._connection.transport, partial(self.render_head, status, headers), unless, framing, last
        )

    async def upgrade(self, headers: HeaderList, serve: Serve) -> None:
        """Accept a WebSocket (see `Exchange`; RFC 6455 §4.2)."""
        named = [token.strip().lower() for token in self.headers.get("connection", "").split(",")]
        asked = "upgrade" in named and self.headers.get("upgrade", "").lower() == "websocket"
        if not asked or self.method != "GET" or not self._head.chunks:  # chunks: it speaks HTTP/1.1 at least
            raise UpgradeRequired("This path speaks WebSocket; send an opening handshake (Upgrade: websocket).")
        if self.headers.get("sec-websocket-version") != "13":
            raise UpgradeRequired("Only version 13 of WebSocket is spoken here; send Sec-WebSocket-Version: 13.")
        accept = accept_key(self.headers.get("sec-websocket-key", ""))
        if accept is None:
            raise BadRequest("Sec-WebSocket-Key is missing or not 16 bytes in base64.")
        if self._head.length != 0:
            raise BadRequest("An opening handshake has no body.")
        handshake = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
        head = _head(101, [*handshake, *headers, *self.common])
        self._answered = True
        await self._connection.transport.send_all(head)
        self._connection.upgraded = serve

    def render_head(self, status: int, headers: HeaderList) -> bytes:
        """The head of the response, which begins with it."""
        headers = [*headers, *self.common, ("Date", date())]
        # What is left of the request will not be read: another one cannot follow it.
        self.keep_alive = self._connection.skip_body() and self.keep_alive
        if not self.keep_alive:
            headers.append(("Connection", "close"))
        head = _head(status, headers)
        self._answered = True
        return head


class Http1Outlet:
    """A streamed body; chunked where the client can take it, else ended by closing."""

    def __init__(
        self,
        exchange: Http1Exchange,
        transport: Transport,
        head: Callable[[], bytes],
        unless: Callable[[], bool],
        framing: Framing,
        last: bytes,
    ) -> None:
        self.framing = framing
        self.welcome = None
        self.clear = transport.clear
        self.flush = transport.flush
        self.conditions = transport.conditions
        self.write_now: Callable[[bytes], bool] = self._write_first
        self._exchange = exchange
        self._transport = transport
        self._head: Callable[[], bytes] | None = head
        self._unless = unless
        self._last = last

    def _write_first(self, data: bytes) -> bool:
        """Write the head and the first piece in one; from then on the transport is written directly."""
        head = self._head
        if head is None or self._unless():
            return False
        self._head = None
        self.write_now = self._transport.write_now
        return self.write_now(head() + data)

    def begin(self) -> None:
        """Send the head now, if it has not left."""
        if self._head is not None:
            self._unless = never
            self._write_first(b"")

    async def finish(self) -> None:
        """End the body properly."""
        self.begin()
        await self._transport.write(self._last)
        self._exchange.finished = True


def _head(status: int, headers: HeaderList) -> bytes:
    return encode_reply(status, _REASONS.get(status, ""), headers)


def _too_large(limits: LimitSettings) -> str:
    return f"The request's body is larger than {limits.body_bytes} bytes (limits.body_bytes)."
