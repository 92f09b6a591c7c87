"""The pooled transport behind httpx's interface.

Every change of the pool is a plain function call inside one task, and every `await` has its `finally`: a
request may be cancelled at any moment without leaving a connection that nobody owns.
"""

import math
import ssl
from collections.abc import Coroutine
from typing import Any, Final

import httpx
import structlog
import trio

from stream_gateway.config import ConfigError, ProviderSettings
from stream_gateway.observe.statistics import PoolStatistics as PoolStatistics
from stream_gateway.upstream.dialing import Dialer, Wire
from stream_gateway.upstream.http1.connection import Http1Connection
from stream_gateway.upstream.http2.connection import Http2Connection
from stream_gateway.upstream.pool import Connection, Member, Pool, Ticket
from stream_gateway.upstream.proxies import BadProxy, proxy_for
from stream_gateway.upstream.pump import Pump
from stream_gateway.upstream.repeating import SendAgain, is_repeatable

_log = structlog.get_logger()

PATIENCE: Final = (1.0, 60.0)
"""Shortest and longest pause in seconds between two attempts to have `prewarm` connections: a provider that closes
them at once, or is not there, is not to be stormed."""


Exchange = Coroutine[Any, Any, httpx.Response]
"""A request under way; awaited, its response."""


class _Sending:
    """A request that has been given to a connection."""

    def __init__(self, member: Member, request: httpx.Request, silence_timeout: float) -> None:
        self.member = member
        repeatable = member.rested and is_repeatable(request)
        self.exchange = member.connection.handle(request, silence_timeout, repeatable=repeatable)


class PooledTransport(httpx.AsyncBaseTransport):
    """Connections to one origin, over HTTP/1.1 or HTTP/2 as the dialer agrees with it.

    Args:
        pump: reads the sockets.
        dialer: makes the connections; its connect timeout is also the longest wait for a place.
        max_connections: further requests wait for a free one.
        silence_timeout: seconds without a byte after which a request fails.
        write_timeout: seconds without progress after which sending a request's body fails.
        max_reply_bytes: bounds replies that no sink takes.
        idle_timeout: seconds after which an idle connection is closed.
        max_lifetime: seconds after which a connection takes no new requests, so that a provider's move is noticed.
        prewarm: connections to have open at any time. Eviction and prewarming are done while `run` runs.
    """

    def __init__(
        self,
        pump: Pump,
        dialer: Dialer,
        *,
        max_connections: int,
        silence_timeout: float,
        write_timeout: float,
        max_reply_bytes: int,
        idle_timeout: float,
        max_lifetime: float,
        prewarm: int = 0,
    ) -> None:
        self._pump = pump
        self._dialer = dialer
        self._silence_timeout = silence_timeout
        self._write_timeout = write_timeout
        self._max_reply_bytes = max_reply_bytes
        self._prewarm = min(prewarm, max_connections)
        self._pool = Pool(
            max_connections=max_connections,
            maybe_http2=dialer.maybe_http2,
            idle_timeout=idle_timeout,
            max_lifetime=max_lifetime,
            keep=self._prewarm,
        )

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return self._pool.idle

    @property
    def busy(self) -> int:
        """Connections that serve a request or are being made."""
        return self._pool.size - self._pool.idle

    def statistics(self) -> PoolStatistics:
        """What it holds right now."""
        pool = self._pool
        return PoolStatistics(pool.size, pool.idle, pool.size - pool.idle, pool.requests, pool.waiting)

    # ---- requests

    def handle_async_request(self, request: httpx.Request) -> Exchange:
        """Send a request; return its response, complete (see `Http1Connection.handle`).

        When this is called and there is a connection for it, the request leaves before anybody else has a turn. The
        result must be awaited, for the rest and to give the connection back. A request that came to nothing is sent
        once more where HTTP allows it (see `repeating`).

        Raises:
            httpx.TransportError: no place in the pool, no connection, or it broke.
        """
        if not self._dialer.leads_to(request.url):
            raise httpx.UnsupportedProtocol(f"This transport leads to {self._dialer.name} only.", request=request)
        ticket = self._pool.ask()
        begun = self._start(ticket.granted, request) if isinstance(ticket.granted, Member) else None
        return self._serve(request, ticket, begun)

    def _start(self, member: Member, request: httpx.Request) -> "_Sending":
        try:
            return _Sending(member, request, self._silence_timeout)
        except BaseException:  # the request is none
            self._pool.released(member)
            raise

    async def _serve(self, request: httpx.Request, ticket: Ticket, begun: "_Sending | None") -> httpx.Response:
        try:
            return await self._finish(request, ticket, begun)
        except SendAgain:
            self._pool.forget_idle()
            return await self._finish(request, self._pool.ask(), None)

    async def _finish(self, request: httpx.Request, ticket: Ticket, begun: "_Sending | None") -> httpx.Response:
        if begun is None:
            begun = self._start(await self._granted(ticket, request), request)
        try:
            return await begun.exchange
        finally:
            self._pool.released(begun.member)

    async def _granted(self, ticket: Ticket, request: httpx.Request) -> Member:
        if ticket.granted is None:
            await self._wait(ticket, request)
        granted = ticket.granted
        if isinstance(granted, Member):
            return granted
        if isinstance(granted, httpx.TransportError):
            raise type(granted)(str(granted), request=request)
        try:
            return await self._connect(requests=1)
        except httpx.TransportError as error:
            error.request = request
            raise

    async def _wait(self, ticket: Ticket, request: httpx.Request) -> None:
        ticket.event = trio.Event()
        try:
            with trio.fail_after(self._dialer.connect_timeout):
                await ticket.event.wait()
        except BaseException as error:
            self._pool.withdraw(ticket)
            if isinstance(error, trio.TooSlowError):
                raise httpx.PoolTimeout(self._why_no_place(), request=request) from None
            raise

    def _why_no_place(self) -> str:
        pool = self._pool
        if pool.open == pool.max_connections:
            return f"All {pool.open} connections to {self._dialer.name} are busy."
        if pool.open:
            return f"{self._dialer.name} takes no more requests on its {pool.open} connections."
        return f"No connection to {self._dialer.name} within {self._dialer.connect_timeout:g} seconds."

    # ---- connections

    async def _connect(self, *, requests: int) -> Member:
        """Turn a place of the pool into a connection."""
        try:
            wire = await self._dialer.dial()
        except BaseException as error:
            self._pool.failed(error if isinstance(error, httpx.TransportError) else None)
            raise
        try:
            connection = self._open(wire)
        except BaseException:
            wire.sock.close()
            self._pool.failed(None)
            raise
        return self._pool.opened(connection, requests=requests)

    def _open(self, wire: Wire) -> Connection:
        if not wire.http2:
            return Http1Connection(
                wire.sock,
                self._pump,
                wire.tls,
                max_reply_bytes=self._max_reply_bytes,
                write_timeout=self._write_timeout,
                on_closed=self._pool.gone,
            )
        return Http2Connection(
            wire.sock,
            self._pump,
            wire.tls,
            max_reply_bytes=self._max_reply_bytes,
            write_timeout=self._write_timeout,
            streams=self._pool.expected,
            on_closed=self._pool.gone,
            on_changed=self._pool.changed,
        )

    async def run(self) -> None:
        """Keep `prewarm` connections open and close those that are idle for too long, until cancelled."""
        shortest, longest = PATIENCE
        pause, last = shortest, -math.inf
        while True:
            self._pool.attention = trio.Event()
            look_again = self._pool.evict(trio.current_time())
            if self._pool.size >= self._prewarm:
                with trio.CancelScope(deadline=look_again):
                    await self._pool.attention.wait()
                continue
            if trio.current_time() - last > longest:
                pause = shortest
            else:
                await trio.sleep(pause)
                pause = min(2 * pause, longest)
            await self._warm_up()
            last = trio.current_time()

    async def _warm_up(self) -> None:
        async with trio.open_nursery() as nursery:
            while self._pool.size < self._prewarm and self._pool.reserve():
                nursery.start_soon(self._warm_one)

    async def _warm_one(self) -> None:
        try:
            await self._connect(requests=0)
        except httpx.TransportError as error:
            _log.warning("prewarm_failed", origin=self._dialer.name, error=str(error))

    def close(self) -> None:
        """Close the idle connections, and those in use as soon as their requests have ended."""
        self._pool.close()

    async def aclose(self) -> None:
        """`close`, by the name that httpx knows."""
        self.close()


def open_transport(name: str, settings: ProviderSettings, pump: Pump) -> PooledTransport:
    """The transport of the provider `name`, as its settings say.

    Raises:
        ConfigError: as `dialer_for`.
    """
    return PooledTransport(
        pump,
        dialer_for(name, settings),
        max_connections=settings.max_connections,
        silence_timeout=settings.silence_timeout,
        write_timeout=settings.write_timeout,
        max_reply_bytes=settings.max_reply_bytes,
        idle_timeout=settings.idle_timeout,
        max_lifetime=settings.max_lifetime,
        prewarm=settings.prewarm,
    )


def dialer_for(name: str, settings: ProviderSettings) -> Dialer:
    """How connections to the provider `name` are made.

    Raises:
        ConfigError: its authorities cannot be read, or its proxy cannot be used.
    """
    origin = httpx.URL(settings.base_url)
    try:
        proxy = proxy_for(origin, settings.proxy)
    except BadProxy as error:
        where = f'key `providers."{name}".proxy`: ' if settings.proxy is not None else ""
        raise ConfigError(f"{where}{error}") from None
    return Dialer(
        origin,
        connect_timeout=settings.connect_timeout,
        write_timeout=settings.write_timeout,
        http2=settings.http2,
        proxy=proxy,
        ssl_context=None if settings.ca_file is None else _trusting(name, settings.ca_file),
    )


def _trusting(name: str, ca_file: str) -> ssl.SSLContext:
    """What the system trusts, and the authorities in a file."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f'key `providers."{name}".ca_file`: {ca_file} cannot be used: {reason}.') from None
    return context
