"""An exchange on one stream of an HTTP/2 connection, and the WebSocket that it may become (RFC 8441)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from h2.errors import ErrorCodes
from hpack import NeverIndexedHeaderTuple

from stream_gateway.server.exchange import Exchange, HeaderList, date, never
from stream_gateway.server.http2.inlet import Http2Inlet
from stream_gateway.server.http2.limits import FIELD_OVERHEAD
from stream_gateway.server.http2.outlet import DEFAULT_URGENCY, Http2Outlet
from stream_gateway.server.sockets.wire import Serve
from stream_protocols.errors import (
    BadRequest,
    BodyTooLarge,
    HeadersTooLarge,
    RequestTimeout,
    UpgradeRequired,
)

if TYPE_CHECKING:
    from stream_gateway.server.http2.connection import Http2Connection

Headers = Sequence[tuple[bytes, bytes]]
Field = tuple[str, str] | NeverIndexedHeaderTuple

_URGENCY: Final = re.compile(rb"(?:^|[,\s])u=([0-7])(?:$|[,;\s])")
_UNIQUE: Final = frozenset({"stream-id", "location", "content-length"})
"""Values that do not come again: in the HPACK table they would only push out those that do."""


class Http2Exchange(Exchange):
    """One request on an HTTP/2 connection.

    Attributes:
        scope: the handler's; cancelled when the client resets the stream.
        inlet, outlet: the two halves of the stream.
        gone: the client has reset the stream.
        oversized: its head is larger than the limit.
        upgraded: serves the stream as a WebSocket once the handler has returned.
    """

    def __init__(self, connection: Http2Connection, stream_id: int, headers: Headers) -> None:
        pseudo = {name: value for name, value in headers if name.startswith(b":")}
        fields = [(name, value) for name, value in headers if not name.startswith(b":")]
        self.protocol = pseudo.get(b":protocol")  # of an extended CONNECT (RFC 8441 §4)
        method = b"GET" if self.protocol is not None else pseudo[b":method"]
        target = pseudo.get(b":path", b"").decode("latin-1")
        super().__init__(method.decode("ascii"), target, fields, connection.transport.peer)
        if b":authority" in pseudo:
            self.headers["host"] = pseudo[b":authority"].decode("latin-1")
        self.scope = trio.CancelScope()
        self.inlet = Http2Inlet(connection, stream_id)
        self.outlet = Http2Outlet(connection, stream_id, _urgency(headers))
        self.gone = False
        self.upgraded: Serve | None = None
        self._connection = connection
        self._answered = False
        size = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in headers)
        self.oversized = size > connection.limits.header_bytes

    @property
    def answered(self) -> bool:
        """Whether a response has begun."""
        return self._answered

    def check(self) -> None:
        """What h2 lets pass, and HTTP/1.1 would not have.

        Raises:
            HeadersTooLarge, BadRequest: the request cannot be served.
        """
        if self.oversized:
            limit = self._connection.limits.header_bytes
            raise HeadersTooLarge(f"The request's head is larger than {limit} bytes.")
        if self.method == "CONNECT":
            raise BadRequest("This is no proxy; CONNECT opens a WebSocket here, with `:protocol` (RFC 8441).")
        if self.protocol not in (None, b"websocket"):
            raise BadRequest("CONNECT opens nothing but a WebSocket here: send `:protocol: websocket`.")

    async def read_body(self) -> bytes:
        """The whole request body (see `Exchange`)."""
        limits = self._connection.limits
        if _length(self.headers) > limits.body_bytes:
            raise BodyTooLarge(_too_large(limits.body_bytes))
        if "100-continue" in self.headers.get("expect", "") and not self.inlet.ended:
            self._connection.send_headers(self.outlet.id, [(":status", "100")])
        parts: list[bytes] = []
        size = 0
        with trio.move_on_after(limits.body_timeout) as scope:
            while part := await self.inlet.take():
                parts.append(part)
                size += len(part)
                if size > limits.body_bytes:
                    raise BodyTooLarge(_too_large(limits.body_bytes))
        if scope.cancelled_caught:
            raise RequestTimeout(f"The request's body was not complete within {limits.body_timeout:g} seconds.")
        return b"".join(parts)

    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """Send a whole response (see `Exchange`)."""
        if status != 204:
            headers = [*headers, ("Content-Length", str(len(body)))]
        await self.outlet.flush()
        if self.method == "HEAD" or not body:
            self._send_head(status, headers, end=True)
            return
        with self._connection.turn:  # head and body leave together
            self._send_head(status, headers)
            if not self.outlet.finish_now(body):
                self.outlet.write_now(body)
        if not self.outlet.finished:
            await self.outlet.finish()

    def open(self, status: int, headers: HeaderList, *, unless: Callable[[], bool] = never) -> Http2Body:
        """Prepare a streamed response (see `Exchange`)."""
        return Http2Body(self.outlet, partial(self._send_head, status, headers), unless)

    async def upgrade(self, headers: HeaderList, serve: Serve) -> None:
        """Accept a WebSocket (see `Exchange`; RFC 8441 §5)."""
        if self.protocol is None:
            raise UpgradeRequired("This path speaks WebSocket; over HTTP/2, send an extended CONNECT (RFC 8441).")
        if self.headers.get("sec-websocket-version") != "13":
            raise UpgradeRequired("Only version 13 of WebSocket is spoken here; send Sec-WebSocket-Version: 13.")
        self.protocol = None  # from here on, 200 is the right answer
        self._send_head(200, headers)
        self.upgraded = serve

    def _send_head(self, status: int, headers: HeaderList, *, end: bool = False) -> None:
        if self.protocol is not None and 200 <= status < 300:
            # To a client that asks for a WebSocket, 2xx means that it has one (RFC 8441 §5).
            raise BadRequest("This path does not speak WebSocket.")
        fields: list[Field] = [(":status", str(status))]
        for name, value in (*headers, *self.common, ("date", date())):
            name = name.lower()
            fields.append(NeverIndexedHeaderTuple(name, value) if name in _UNIQUE else (name, value))
        self._answered = True
        self._connection.send_headers(self.outlet.id, fields, end=end)
        if end:
            self.outlet.finished = True


class Http2Body:
    """A streamed body (see `BodyOutlet`): the outlet, behind a head that leaves with the first piece."""

    def __init__(self, outlet: Http2Outlet, head: Callable[[], None], unless: Callable[[], bool]) -> None:
        self.framing = outlet.framing
        self.clear = outlet.clear
        self.flush = outlet.flush
        self.conditions = outlet.conditions
        self.welcome = outlet.welcome
        self.write_now: Callable[[bytes], bool] = self._write_first
        self._outlet = outlet
        self._head: Callable[[], None] | None = head
        self._unless = unless

    def _write_first(self, data: bytes) -> bool:
        if self._head is None or self._unless():
            return False
        self.begin()
        return self.write_now(data)

    def begin(self) -> None:
        """Send the head now, if it has not left."""
        if self._head is not None:
            head, self._head = self._head, None
            self.write_now = self._outlet.write_now
            head()

    async def finish(self) -> None:
        """End the body properly."""
        self.begin()
        await self._outlet.finish()


class Http2Wire:
    """A stream after an extended CONNECT (see `Wire`)."""

    def __init__(self, exchange: Http2Exchange) -> None:
        self.clear = exchange.outlet.clear
        self.write_now = exchange.outlet.write_now
        self.flush = exchange.outlet.flush
        self.conditions = exchange.outlet.conditions
        self._inlet = exchange.inlet
        self._outlet = exchange.outlet

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes, or none at the end."""
        return await self._inlet.take()

    async def close_gracefully(self) -> None:
        """End our half, and read on until the client has ended its own."""
        if not self._outlet.finished:
            await self._outlet.finish()
        while await self._inlet.take():
            pass

    def close(self) -> None:
        """Close, whatever the client may still want to say."""
        if not self._outlet.finished:
            self._outlet.reset(ErrorCodes.CANCEL)

    def abort(self) -> None:
        """Close at once. A reset is what aborting TCP is elsewhere (RFC 8441 §5)."""
        self.close()


def _urgency(headers: Headers) -> int:
    """The urgency of the `priority` header (RFC 9218 §4); one that cannot be read is as good as none."""
    for name, value in headers:
        if name == b"priority" and (match := _URGENCY.search(value)):
            return int(match[1])
    return DEFAULT_URGENCY


def _length(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0  # what is no number, h2 has refused


def _too_large(limit: int) -> str:
    return f"The request's body is larger than {limit} bytes (limits.body_bytes)."
