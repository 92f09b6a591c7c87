"""The connections of one client: which there are, how they fare, and what that means for the next one."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Literal

import anyio
import anyio.abc
import httpx
import msgspec
import trio

from stream_gateway.client.address import socket_address
from stream_gateway.client.carrier import Carrier, Lost
from stream_gateway.client.errors import NotAGateway, Unreachable
from stream_gateway.client.http import Http, refuse
from stream_gateway.client.poll import PollCarrier
from stream_gateway.client.settings import POLL, TRANSPORTS, WEBSOCKET, Settings
from stream_gateway.client.sockets import Sockets
from stream_gateway.client.sse import open_events
from stream_protocols.reconnect import Backoff, Ladder, Patience, Rhythm

Kind = Literal["connected", "lost"]


class Status(msgspec.Struct, frozen=True):
    """What has become of a stream's connection, for whoever wants to show it.

    Attributes:
        stream: the stream's id, None while it has none.
        transport: which one.
        reason, wait: of a loss: why, and the seconds until the next try.
    """

    kind: Kind
    stream: str | None
    transport: str
    reason: str = ""
    wait: float = 0.0


class Statistics(msgspec.Struct, frozen=True):
    """What a client has been through.

    Attributes:
        connects: connections that brought a stream, by transport.
        losses: how often one was lost, or did not come about.
        repeated: events that came twice, and were given once.
    """

    connects: Mapping[str, int]
    losses: int
    repeated: int


class Connections:
    """Makes carriers for streams, and keeps what they learn: which transport works, and how silent a living link is.

    Use it as an async context manager; see `Client` for the arguments.

    Attributes:
        reached: whether the gateway ever was.
        repeated: events that came twice.
    """

    def __init__(
        self,
        url: httpx.URL,
        headers: dict[str, str],
        transports: Sequence[str],
        settings: Settings,
        context: ssl.SSLContext,
        *,
        http2: bool,
        on_status: Callable[[Status], None] | None,
    ) -> None:
        self.settings = settings
        self.reached = False
        self.repeated = 0
        self._url = url
        self._http = Http(url, headers, settings, context, http2=http2)
        # WebSocket is trio-websocket's, which is Trio's.
        on_trio = anyio.get_cancelled_exc_class() is trio.Cancelled
        self._ladder = Ladder(
            [name for name in transports if on_trio or name != WEBSOCKET] or [POLL],
            retry_better=settings.retry_better,
        )
        self._sockets = Sockets(socket_address(url, headers, context), settings, self._ladder, self.spawn)
        self._rhythm = Rhythm(settings.silence)
        self._on_status = on_status
        self._connects = dict.fromkeys(TRANSPORTS, 0)
        self._losses = 0
        self._tasks = anyio.create_task_group()
        self._open = False

    async def start(self) -> None:
        """Begin; `stop` has to follow."""
        await self._tasks.__aenter__()
        self._open = True

    async def stop(self) -> None:
        """End all that is under way."""
        self._open = False
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something that outlives who asked for it. When everything has ended nothing needs it any more."""
        if self._open:
            self._tasks.start_soon(function)

    def statistics(self) -> Statistics:
        """What has happened so far."""
        return Statistics(dict(self._connects), self._losses, self.repeated)

    # ---- making connections

    def choose(self) -> str:
        """The transport to take now."""
        if not self._open:
            raise RuntimeError("the client is not open; read its streams inside `async with Client(…) as client`")
        return self._ladder.choose(anyio.current_time())

    async def create(self, request: dict[str, Any], key: str, transport: str) -> tuple[str, Carrier | None]:
        """Start a generation, or find the one that the key has started; its id, and what brings it if that comes along.

        Raises:
            Lost, ClientError: see `Carrier`.
        """
        if transport == WEBSOCKET:
            inbox = await self._sockets.create(request, key)
            assert inbox.stream is not None
            return inbox.stream, inbox
        return _created(await self._ask("POST", "v1/streams", **_creation(request, key))), None

    async def resume(self, stream: str, after: str | None, chunking: str | None, transport: str) -> Carrier | None:
        """Go on with a stream; None when it has ended, and nothing is left.

        Raises:
            Lost, ClientError: see `Carrier`.
        """
        if transport == WEBSOCKET:
            return await self._sockets.resume(stream, after, chunking)
        link = self._http.link()
        if transport == POLL:
            return PollCarrier(link, stream, after, self.settings.poll_wait, self.spawn)
        carrier = None
        try:
            carrier = await open_events(link, stream, after, chunking, self._rhythm, self.spawn)
        finally:
            if carrier is None:
                self.spawn(link.aclose)
        return carrier

    async def cancel(self, stream: str) -> None:
        """End a generation, however many tries that takes (see `Client.cancel`)."""
        await self._insist("DELETE", f"v1/streams/{stream}")

    async def cancel_created(self, request: dict[str, Any], key: str) -> None:
        """End a generation that was asked for, but whose id has not come: asking again with its key tells it."""
        await self.cancel(_created(await self._insist("POST", "v1/streams", **_creation(request, key))))

    async def _insist(self, method: str, path: str, **options: Any) -> httpx.Response:
        """`_ask`, until there is an answer."""
        backoff, patience = self.backoff(), self.patience()
        while True:
            try:
                return await self._ask(method, path, **options)
            except Lost as lost:
                await anyio.sleep(self.wait(lost, backoff, patience))

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One exchange on a connection of its own; Lost or ClientError unless it succeeds."""
        link = self._http.link()
        try:
            response = await link.ask(method, path, **options)
            if not response.is_success:
                raise await refuse(response)
        finally:
            self.spawn(link.aclose)
        return response

    # ---- how they fare

    def backoff(self) -> Backoff:
        """For one stream."""
        return Backoff(random.random, base=self.settings.backoff_base, cap=self.settings.backoff_cap)

    def patience(self) -> Patience:
        """For one stream. A gateway that was never reached is most often a wrong address."""
        limit = self.settings.patience if self.reached else self.settings.first_patience
        return Patience(limit, anyio.current_time())

    def wait(self, lost: Lost, backoff: Backoff, patience: Patience) -> float:
        """Seconds to wait after a loss.

        Raises:
            Unreachable: it has gone on for too long.
        """
        self._losses += 1
        if self.reached:
            patience.limit = self.settings.patience
        wait = backoff.next(lost.after)
        if not patience.failed(anyio.current_time()):
            asked = lost.after is not None or backoff.floor
            return wait if asked else min(wait, patience.left)  # the last try is when patience ends, and not later
        tries = f"{backoff.attempts} {'try' if backoff.attempts == 1 else 'tries'}"
        if self.reached:
            raise Unreachable(f"{self._url} has been out of reach for too long ({tries}); last: {lost.reason}.")
        raise Unreachable(
            f"Nobody to talk to at {self._url} ({tries}): {lost.reason}. Is the address right, and the gateway running?"
        )

    def worked(self, transport: str) -> None:
        """An event has come over a transport."""
        self.reached = True
        self._ladder.worked(transport)

    def failed(self, transport: str, lost: Lost) -> None:
        """A connection was lost, or did not come about."""
        if lost.blame is not None:
            self._ladder.failed(transport, lost.blame, anyio.current_time())

    def tell(self, status: Status) -> None:
        """Count, and let whoever wants to know hear of it."""
        if status.kind == "connected":
            self._connects[status.transport] += 1
        if self._on_status is not None:
            self._on_status(status)


def _creation(request: dict[str, Any], key: str) -> dict[str, Any]:
    """What creates a stream by HTTP, once for each key."""
    return {"json": request, "headers": {"Idempotency-Key": key}}


def _created(response: httpx.Response) -> str:
    """The id of the stream that a response tells of."""
    name: str | None = response.headers.get("stream-id")
    if response.status_code not in (200, 201) or name is None:
        raise NotAGateway(f"{response.url} answered, but not as a Stream Gateway does; check the address.")
    return name
