"""The door: what an accepted connection goes through before somebody speaks HTTP on it.

PROXY protocol, then TLS, each if configured; then ALPN or the first bytes choose between HTTP/2 and HTTP/1.1.
"""

from typing import Final

import structlog
import trio

from stream_gateway.config import LimitSettings, ServerSettings
from stream_gateway.guard.addresses import Connections
from stream_gateway.guard.proxies import TrustedProxies
from stream_gateway.observe.statistics import ConnectionStatistics
from stream_gateway.server import proxy
from stream_gateway.server.certificates import Certificates
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.hangups import Hangups
from stream_gateway.server.http1 import Handler, Http1Connection
from stream_gateway.server.http2.connection import Http2Connection
from stream_gateway.server.http2.guard import PREFACE
from stream_gateway.server.tls import TlsTransport, is_tls
from stream_gateway.server.transport import Transport
from stream_gateway.streams.turn import Turn
from stream_protocols.errors import BadRequest, Overloaded, StreamProtocolError, TooManyRequests

_log = structlog.get_logger()

LINGER: Final = 1.0
"""Seconds in which a connection that is turned away is still read, so that it gets to read why."""

_CROWDED: Final = "There are as many connections from your address as there may be (limits.connections_per_address)."

_PHRASES: Final = {400: "Bad Request", 429: "Too Many Requests", 503: "Service Unavailable"}


class Door:
    """Opens connections, and serves them.

    Args:
        certificates: for TLS; None: plaintext.
        hangups: tells HTTP/1.1 connections who has left.
        turn: see `Http2Connection`.
        proxies: connect for many clients, as many times as they like.
    """

    def __init__(
        self,
        handler: Handler,
        server: ServerSettings,
        limits: LimitSettings,
        *,
        certificates: Certificates | None,
        hangups: Hangups,
        turn: Turn,
        proxies: TrustedProxies,
    ) -> None:
        self._handler = handler
        self._server = server
        self._limits = limits
        self._certificates = certificates
        self._hangups = hangups
        self._turn = turn
        self._proxies = proxies
        self._addresses = Connections(limits.connections_per_address)
        self._http2: set[Http2Connection] = set()
        self._draining = False
        self._exchanges = 0
        self._left = trio.Event()  # some exchange or connection has ended

    async def serve(self, transport: Transport, seen: ConnectionStatistics) -> None:
        """Serve a connection until it ends, and close it.

        Args:
            seen: is told what it speaks, and whose it is.

        Raises:
            OSError: it broke, or was never opened; proxy.BadProxyHeader, trio.TooSlowError: the latter.
        """
        try:
            initial = b""
            if self._server.proxy_protocol:
                with trio.fail_after(self._limits.header_timeout):
                    initial = await self._read_proxy_header(transport)
            peer = transport.peer
            if self._addresses.full(peer) and not self._proxies.trusts(peer):
                await self.refuse(transport, TooManyRequests(_CROWDED))
                return
            self._addresses.enter(peer)
            try:
                await self._serve(transport, initial, seen)
            finally:
                self._addresses.leave(peer)
        finally:
            transport.close()

    async def _serve(self, transport: Transport, initial: bytes, seen: ConnectionStatistics) -> None:
        try:
            # Whoever connects has something to say: the patience for idle connections is for those that were used.
            with trio.fail_after(self._limits.header_timeout):
                if self._certificates is not None:
                    first = initial or await transport.receive_some()
                    if not is_tls(first):
                        await self._refuse_plaintext(transport, first)
                        return
                    secure = TlsTransport(transport, self._certificates.context, first)
                    transport = secure
                    http2 = await secure.handshake() == "h2"
                    initial = b"" if http2 else await secure.receive_some()
            if self._certificates is None:
                initial = await self._sniff(transport, initial)
                http2 = initial.startswith(PREFACE)
            seen.peer, seen.protocol = transport.peer, "h2" if http2 else "http/1.1"
            if http2:
                await self._serve_http2(transport, initial)
            elif initial:
                await Http1Connection(transport, self._handle, self._limits, self._hangups).serve(initial)
        finally:
            transport.close()

    async def _serve_http2(self, transport: Transport, initial: bytes) -> None:
        connection = Http2Connection(transport, self._handle, self._limits, self._turn)
        self._http2.add(connection)
        if self._draining:
            connection.drain()
        try:
            await connection.serve(initial)
        finally:
            self._http2.discard(connection)
            self._left.set()

    async def _handle(self, exchange: Exchange) -> None:
        self._exchanges += 1
        if self._draining:
            exchange.be_last()
        try:
            await self._handler(exchange)
        finally:
            self._exchanges -= 1
            self._left.set()

    async def refuse(self, transport: Transport, error: StreamProtocolError) -> None:
        """Close a connection that is not served, and say why where that costs no handshake.

        Raises:
            OSError: it broke.
        """
        if self._certificates is None:
            await turn_away(transport, error)
        transport.close()

    def drain(self) -> None:
        """Ask clients with HTTP/2 to open no more streams; those that run may end."""
        self._draining = True
        for connection in self._http2:
            connection.drain()

    def limit(self, limits: LimitSettings) -> None:
        """Hold connections from now on to these limits."""
        self._limits = limits
        self._addresses.limit = limits.connections_per_address

    async def idle(self) -> None:
        """Wait until nobody waits for an answer, and nobody is connected with HTTP/2."""
        while self._exchanges or self._http2:
            self._left = trio.Event()
            await self._left.wait()

    async def _read_proxy_header(self, transport: Transport) -> bytes:
        """Take the header off; what has come behind it."""
        data = b""
        while (parsed := proxy.parse(data)) is None:
            if not (more := await transport.receive_some()):
                raise proxy.BadProxyHeader("the connection ended before a PROXY header")
            data += more
        address, size = parsed
        transport.peer = address or transport.peer
        return data[size:]

    async def _sniff(self, transport: Transport, data: bytes) -> bytes:
        """Read until it is clear whether this is HTTP/2; nothing from a client that says nothing."""
        with trio.move_on_after(self._limits.header_timeout):  # who falls silent after a "P" is HTTP/1.1's to refuse
            while len(data) < len(PREFACE) and PREFACE.startswith(data):
                more = await transport.receive_some()
                if not more:
                    break
                data += more
        return data

    async def _refuse_plaintext(self, transport: Transport, first: bytes) -> None:
        if first:
            error = BadRequest("This port speaks TLS, and you sent plain HTTP; use https:// (or wss://).")
            await turn_away(transport, error)


async def turn_away(transport: Transport, error: StreamProtocolError) -> None:
    """Answer a connection that is not served, in HTTP/1.1, and let it read that."""
    body = error.to_json()
    wait = f"Retry-After: {error.retry_after or 1}\r\n" if isinstance(error, Overloaded | TooManyRequests) else ""
    head = (
        f"HTTP/1.1 {error.status} {_PHRASES.get(error.status, '')}\r\nContent-Type: application/json\r\n{wait}"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await transport.send_all(head.encode() + body)
    with trio.move_on_after(LINGER):
        await transport.close_gracefully()
    transport.close()
