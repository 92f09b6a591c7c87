"""HTTP/1.1 with clients: h11 on a transport.

One connection has one task, which takes requests in order and runs their handlers. When the client leaves, the
handler is cancelled at once (see `hangups`). Streamed bodies bypass h11: a subscription writes framed bytes to
the transport itself.
"""

import http
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import h11
import trio

from stream_gateway.config import LimitSettings
from stream_gateway.server.exchange import Exchange, HeaderList, date, never
from stream_gateway.server.hangups import Hangups
from stream_gateway.server.sockets.wire import Serve
from stream_gateway.server.transport import Transport
from stream_protocols.errors import (
    BadRequest,
    BodyTooLarge,
    HeadersTooLarge,
    RequestTimeout,
    StreamProtocolError,
    UpgradeRequired,
)
from stream_protocols.framing import Framing, chunked, identity
from stream_protocols.websocket import accept_key

LINGER: Final = 1.0
"""Seconds in which a refused request is still read, so that closing does not destroy the refusal (RFC 9112 §9.6)."""

_KNOWN: Final = frozenset(http.HTTPStatus)

Handler = Callable[[Exchange], Awaitable[None]]


class Http1Connection:
    """Serves one connection until either side ends it."""

    def __init__(self, transport: Transport, handler: Handler, limits: LimitSettings, hangups: Hangups) -> None:
        self.transport = transport
        self.limits = limits
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self.upgraded: Serve | None = None
        self._handler = handler
        self._hangups = hangups
        self._gone = False
        self._scope: trio.CancelScope | None = None

    async def serve(self, initial: bytes = b"") -> None:
        """Serve requests in order, `initial` being their first bytes. Returns when the connection is to be closed."""
        if initial:
            self.h11.receive_data(initial)
        self._hangups.add(self.transport.sock, self._on_hangup)
        try:
            while await self._serve_one():
                self.h11.start_next_cycle()
        finally:
            self._hangups.remove(self.transport.sock)
        if self.upgraded is not None and not self._gone:
            leftover, serve = self.h11.trailing_data[0], self.upgraded
            del self.h11, self._handler  # a socket lives long, and needs nothing of this
            await serve(self.transport, leftover)

    def _on_hangup(self) -> None:
        """The client has left: nobody would read the answer."""
        self._gone = True
        if self._scope is not None:
            self._scope.cancel()

    async def more(self) -> None:
        """Wait for bytes and give them to h11."""
        try:
            data = await self.transport.receive_some()
        except OSError:
            data = b""
        self.h11.receive_data(data)

    def skip_body(self) -> bool:
        """Drop what has arrived of a body that nobody wants; True when that was all of it."""
        try:
            while self.h11.their_state is h11.SEND_BODY and self.h11.next_event() is not h11.NEED_DATA:
                pass
        except h11.RemoteProtocolError:
            pass  # its state says so
        return self.h11.their_state is h11.DONE

    async def _serve_one(self) -> bool:
        """One request. False when there will be no other."""
        try:
            request = await self._next_request()
        except h11.RemoteProtocolError as error:
            await self._refuse(_bad_head(error))
            return False
        except StreamProtocolError as error:
            await self._refuse(error)
            return False
        if request is None:
            return False
        exchange = Http1Exchange(self, request)
        with trio.CancelScope() as scope:
            self._scope = scope
            if self._gone:
                scope.cancel()
            await self._handler(exchange)
        self._scope = None
        if self.upgraded is not None:
            return False
        if scope.cancelled_caught or not exchange.finished:
            # An answer that breaks off must not look like its end, and what the client has not taken must not
            # wait in the kernel for it.
            self.transport.abort()
            return False
        if self.h11.our_state is h11.DONE and self.h11.their_state is h11.DONE:
            return True
        await self._linger()
        return False

    async def _next_request(self) -> h11.Request | None:
        """The next request's head; None when the client leaves or says nothing for `idle_timeout`."""
        deadline = trio.current_time() + self.limits.idle_timeout
        begun = False
        while True:
            event = self.h11.next_event()
            if isinstance(event, h11.Request):
                _check_head(event, self.limits)
                return event
            if event is not h11.NEED_DATA:
                return None
            if not begun and self.h11.trailing_data[0]:
                begun = True
                deadline = trio.current_time() + self.limits.header_timeout
            with trio.move_on_at(deadline) as scope:
                await self.more()
            if scope.cancelled_caught:
                if begun:
                    raise RequestTimeout(
                        f"The request's head was not complete within {self.limits.header_timeout:g} seconds."
                    )
                return None

    async def _refuse(self, error: StreamProtocolError) -> None:
        """Answer what cannot be taken as a request; the connection ends after it."""
        if self.h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = error.to_json()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Date", date()),
            ("Connection", "close"),
        ]
        head = _send_head(self.h11, error.status, headers)
        try:
            await self.transport.send_all(head + body)
        except OSError:
            return
        await self._linger()

    async def _linger(self) -> None:
        """Read and drop what the client still sends, for a moment."""
        with trio.move_on_after(LINGER):
            await self.transport.close_gracefully()


class Http1Exchange(Exchange):
    """One request on an HTTP/1.1 connection."""

    def __init__(self, connection: Http1Connection, request: h11.Request) -> None:
        target = request.target.decode("latin-1")
        super().__init__(request.method.decode(), target, list(request.headers), connection.transport.peer)
        self.finished = False
        self._connection = connection
        self._chunked = request.http_version >= b"1.1"

    @property
    def answered(self) -> bool:
        """Whether a response has begun."""
        return self._connection.h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    async def read_body(self) -> bytes:
        """The whole request body (see `Exchange`)."""
        limits = self._connection.limits
        if int(self.headers.get("content-length", 0)) > limits.body_bytes:
            raise BodyTooLarge(_too_large(limits))
        if self._connection.h11.they_are_waiting_for_100_continue:
            go_on = self._connection.h11.send(h11.InformationalResponse(status_code=100, headers=[]))
            await self._connection.transport.send_all(go_on or b"")
        body = _Body(limits)
        try:
            # Nearly every body is here with its head: no timer for those.
            while not body.take(self._connection.h11):
                with trio.fail_at(body.deadline):
                    await self._connection.more()
        except trio.TooSlowError:
            message = f"The request's body was not complete within {limits.body_timeout:g} seconds."
            raise RequestTimeout(message) from None
        except h11.RemoteProtocolError as error:
            raise BadRequest(f"The request's body breaks HTTP: {error}.") from None
        return b"".join(body.parts)

    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """Send a whole response (see `Exchange`)."""
        if status != 204:
            headers = [*headers, ("Content-Length", str(len(body)))]
        data = self._head(status, headers)
        if self.method != "HEAD":
            data += self._connection.h11.send(h11.Data(data=body)) or b""
        data += self._connection.h11.send(h11.EndOfMessage()) or b""
        await self._connection.transport.send_all(data)
        self.finished = True

    def open(self, status: int, headers: HeaderList, *, unless: Callable[[], bool] = never) -> "Http1Outlet":
        """Prepare a streamed response (see `Exchange`)."""
        extra = [("Transfer-Encoding", "chunked")] if self._chunked else [("Connection", "close")]
        head = partial(self._head, status, [*headers, *extra])
        return Http1Outlet(self, self._connection, head, unless, chunked if self._chunked else identity)

    async def upgrade(self, headers: HeaderList, serve: Serve) -> None:
        """Accept a WebSocket (see `Exchange`; RFC 6455 §4.2)."""
        named = [token.strip().lower() for token in self.headers.get("connection", "").split(",")]
        asked = "upgrade" in named and self.headers.get("upgrade", "").lower() == "websocket"
        if not asked or self.method != "GET" or not self._chunked:  # chunked: it speaks HTTP/1.1 at least
            raise UpgradeRequired("This path speaks WebSocket; send an opening handshake (Upgrade: websocket).")
        if self.headers.get("sec-websocket-version") != "13":
            raise UpgradeRequired("Only version 13 of WebSocket is spoken here; send Sec-WebSocket-Version: 13.")
        accept = accept_key(self.headers.get("sec-websocket-key", ""))
        if accept is None:
            raise BadRequest("Sec-WebSocket-Key is missing or not 16 bytes in base64.")
        connection = self._connection
        connection.skip_body()
        if connection.h11.next_event() is not h11.PAUSED:
            raise BadRequest("An opening handshake has no body.")
        handshake = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
        head = h11.InformationalResponse(
            status_code=101, headers=[*handshake, *headers, *self.common], reason="Switching Protocols"
        )
        await connection.transport.send_all(connection.h11.send(head) or b"")
        connection.upgraded = serve

    def _head(self, status: int, headers: HeaderList) -> bytes:
        headers = [*headers, *self.common, ("Date", date())]
        if not self._connection.skip_body():
            # What is left of the request will not be read: another one cannot follow.
            headers.append(("Connection", "close"))
        return _send_head(self._connection.h11, status, headers)


class Http1Outlet:
    """A streamed body; chunked where the client can take it, else ended by closing."""

    def __init__(
        self,
        exchange: Http1Exchange,
        connection: Http1Connection,
        head: Callable[[], bytes],
        unless: Callable[[], bool],
        framing: Framing,
    ) -> None:
        self.framing = framing
        self.welcome = None
        self.clear = connection.transport.clear
        self.flush = connection.transport.flush
        self.conditions = connection.transport.conditions
        self.write_now: Callable[[bytes], bool] = self._write_first
        self._exchange = exchange
        self._connection = connection
        self._head: Callable[[], bytes] | None = head
        self._unless = unless

    def _write_first(self, data: bytes) -> bool:
        """Write the head and the first piece in one; from then on the transport is written directly."""
        head = self._head
        if head is None or self._unless():
            return False
        self._head = None
        self.write_now = self._connection.transport.write_now
        return self.write_now(head() + data)

    def begin(self) -> None:
        """Send the head now, if it has not left."""
        if self._head is not None:
            self._unless = never
            self._write_first(b"")

    async def finish(self) -> None:
        """End the body properly."""
        self.begin()
        await self._connection.transport.send_all(self._connection.h11.send(h11.EndOfMessage()) or b"")
        self._exchange.finished = True


class _Body:
    """A request body, as far as it has come."""

    def __init__(self, limits: LimitSettings) -> None:
        self.parts: list[bytes] = []
        self.deadline = trio.current_time() + limits.body_timeout
        self._limits = limits
        self._size = 0

    def take(self, connection: h11.Connection) -> bool:
        """Take what h11 has; True when that was all of the body. One that breaks off is an error of h11's."""
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if not isinstance(event, h11.Data):
                return True
            self._size += len(event.data)
            if self._size > self._limits.body_bytes:
                raise BodyTooLarge(_too_large(self._limits))
            self.parts.append(bytes(event.data))
        return False


def _send_head(connection: h11.Connection, status: int, headers: HeaderList) -> bytes:
    reason = http.HTTPStatus(status).phrase if status in _KNOWN else ""
    return connection.send(h11.Response(status_code=status, headers=headers, reason=reason)) or b""


def _check_head(request: h11.Request, limits: LimitSettings) -> None:
    """What h11 lets pass."""
    size = sum(len(name) + len(value) + 4 for name, value in request.headers) + len(request.target)
    if size > limits.header_bytes:
        raise HeadersTooLarge(f"The request's head is larger than {limits.header_bytes} bytes.")
    if not request.http_version.startswith(b"1."):
        raise BadRequest(f"HTTP/{request.http_version.decode()} cannot be spoken in this form; use HTTP/1.1.")
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" in names and b"content-length" in names:
        # Two lengths are how requests are smuggled past a proxy that believes the other one (RFC 9112 §6.3).
        raise BadRequest("The request has both Content-Length and Transfer-Encoding; send one of them.")


def _bad_head(error: h11.RemoteProtocolError) -> StreamProtocolError:
    if error.error_status_hint == 431:
        return HeadersTooLarge("The request's head is larger than the limit.")
    return BadRequest(f"This is not a valid HTTP request: {error}.")


def _too_large(limits: LimitSettings) -> str:
    return f"The request's body is larger than {limits.body_bytes} bytes (limits.body_bytes)."
