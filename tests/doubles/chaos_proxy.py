"""A TCP proxy that does to connections what networks do: it cuts, stalls, slows, delays, swallows and refuses.

What passes is never altered: TCP does not do that either. Whatever is lost is lost with all that would have followed on
its connection.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import math
import random
import re
from collections.abc import Sequence

import trio

from tests.doubles.faults import pieces, reset

_READ = 16_384
_SLOW_BYTES = 512
_FORGOTTEN = 10.0
"""Seconds after which whoever has swallowed a connection's bytes resets it, as soon as it sees more of them."""

_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*websocket", re.IGNORECASE)
_EVENTS = b"text/event-stream"
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\nForbidden"


class Fault(enum.Enum):
    """What goes wrong."""

    CUT = "both ends see a reset"
    HALF_CLOSE = "the client sees a proper end; the gateway sees nothing yet"
    BLACK_HOLE = "nothing comes through any more, and nobody is told"
    STALL = "nothing comes through for a while, and then all of it"
    SLOW = "it trickles for a while"
    DELAY = "everything takes longer from now on"
    REFUSE = "new connections are reset for a while"
    NO_UPGRADE = "WebSocket handshakes are answered with 403 for a while"


FATAL = (Fault.CUT, Fault.HALF_CLOSE, Fault.BLACK_HOLE)
"""After these a connection is of no use."""


class _Passage:
    """One connection through the proxy."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self.client = client
        self.server = server
        self.fault: Fault | None = None
        self.until = 0.0
        self.delay = 0.0
        self.swallowed = False  # once something is lost, so is all that follows

    async def hindrance(self, size: int) -> None:
        """Wait for as long as what goes wrong right now holds up so many bytes."""
        if self.fault is Fault.BLACK_HOLE:
            await trio.sleep(_FORGOTTEN)
            raise trio.BrokenResourceError
        if self.delay:
            await trio.sleep(self.delay)
        if self.fault is Fault.STALL:
            await trio.sleep_until(self.until)
        elif self.fault is Fault.SLOW and trio.current_time() < self.until:
            await trio.sleep(0.02 * size / _SLOW_BYTES)


class ChaosProxy:
    """Listens on a free loopback port, and passes on to the gateway's.

    Args:
        seed: makes the same faults come in the same order.

    Attributes:
        refusing, no_upgrades: whether new connections, or WebSocket handshakes, are refused: set by tests, too.
        deaf: whether what the gateway says is swallowed, on each connection for good.
        collects: whether event streams are kept back until they are whole, as proxies do that know no streaming.
        faults: how many connections met which fault.
        accepted: connections so far.
    """

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self.target = (host, port)
        self.port = 0
        self.refusing = False
        self.no_upgrades = False
        self.deaf = False
        self.collects = False
        self.accepted = 0
        self.faults: collections.Counter[Fault] = collections.Counter()
        self._chance = random.Random(seed)
        self._nursery: trio.Nursery | None = None
        self._passages: dict[_Passage, None] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections right now."""
        return len(self._passages)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.serve_listeners(self._serve, [listener])

    async def rage(
        self, faults: Sequence[Fault] = tuple(Fault), *, every: tuple[float, float] = (0.05, 0.5), share: float = 0.2
    ) -> None:
        """Until cancelled: a fault every so many seconds, to a share of the connections, or to the newcomers."""
        while True:
            await trio.sleep(self._chance.uniform(*every))
            self.strike(self._chance.choice(faults), share=share)

    def strike(self, fault: Fault, *, share: float = 1.0) -> None:
        """Do this to a share of the connections, at least to one, or to those that come now."""
        assert self._nursery is not None
        seconds = self._chance.uniform(0.1, 0.8)
        if fault in (Fault.REFUSE, Fault.NO_UPGRADE):
            self.faults[fault] += 1
            self._nursery.start_soon(self._for_a_while, fault, seconds)
            return
        victims = self._chance.sample(list(self._passages), math.ceil(share * len(self._passages)))
        for passage in victims:
            self.faults[fault] += 1
            self._hit(self._nursery, passage, fault, seconds)

    def _hit(self, nursery: trio.Nursery, passage: _Passage, fault: Fault, seconds: float) -> None:
        if passage.fault in FATAL:
            return
        if fault is Fault.DELAY:
            passage.delay = self._chance.uniform(0.005, 0.05)
            return
        passage.fault, passage.until = fault, trio.current_time() + seconds
        if fault is Fault.CUT:
            nursery.start_soon(_reset_both, passage)
        elif fault is Fault.HALF_CLOSE:
            nursery.start_soon(_end, passage.client)

    async def _for_a_while(self, fault: Fault, seconds: float) -> None:
        name = "refusing" if fault is Fault.REFUSE else "no_upgrades"
        setattr(self, name, True)
        await trio.sleep(seconds)
        setattr(self, name, False)

    async def _serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        try:
            if self.refusing:
                await reset(client)
                return
            with trio.fail_after(10):
                server = await trio.open_tcp_stream(*self.target)
        except (OSError, trio.TooSlowError):
            await reset(client)
            return
        passage = _Passage(client, server)
        self._passages[passage] = None
        try:
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, passage, client, server, nursery.cancel_scope)
                nursery.start_soon(self._pass, passage, server, client, nursery.cancel_scope)
        finally:
            del self._passages[passage]

    async def _pass(
        self, passage: _Passage, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            first = source is passage.client
            while data := await source.receive_some(_READ):
                if first and self.no_upgrades and _UPGRADE.search(data):
                    await source.send_all(_REFUSAL)
                    break
                first = False
                if source is passage.server:
                    passage.swallowed = passage.swallowed or self.deaf or (self.collects and _EVENTS in data)
                    if passage.swallowed:
                        continue
                size = _SLOW_BYTES if passage.fault is Fault.SLOW else _READ
                for piece in pieces(data, size):
                    await passage.hindrance(len(piece))
                    if passage.fault is Fault.HALF_CLOSE and sink is passage.client:
                        await trio.sleep_forever()
                    await sink.send_all(piece)
            await passage.hindrance(0)  # the end, too, is only seen when it gets through
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


async def _reset_both(passage: _Passage) -> None:
    for stream in (passage.client, passage.server):
        with contextlib.suppress(OSError):  # it has been closed meanwhile
            await reset(stream)


async def _end(stream: trio.SocketStream) -> None:
    try:
        await stream.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
        return
