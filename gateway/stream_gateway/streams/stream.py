"""A stream: one log, its state, its subscriptions, and what they owe each other.

- The last subscription to leave starts the *lease*: when it runs out the producer is cancelled.
- When the log is full of what an attached client has not seen, the producer is paused (see `room`).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from stream_gateway.config import StreamSettings
from stream_gateway.guard.quotas import Bill
from stream_gateway.observe.pulse import Pulse
from stream_gateway.streams.follower import Follower
from stream_gateway.streams.log import Log
from stream_gateway.streams.reminders import Reminder
from stream_gateway.streams.room import Room
from stream_gateway.upstream.attempt import AttemptStatus
from stream_gateway.upstream.provider import Valve
from stream_gateway.upstream.sink import Silence
from stream_protocols.chunking.registry import MakeChunker
from stream_protocols.cursor import format_cursor
from stream_protocols.dialects import Source
from stream_protocols.events import (
    TERMINAL,
    Record,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    Terminal,
)
from stream_protocols.framing import ContextFraming, Framing, identity
from stream_protocols.lifecycle import Input, State, advance
from stream_protocols.render import Renderer
from stream_protocols.request import Lease

if TYPE_CHECKING:
    from stream_gateway.streams.journal import Journal
    from stream_gateway.streams.mirror import Mirror
    from stream_gateway.streams.registry import Registry

MOVED: Final = "moved"
"""Why subscriptions end whose stream goes on elsewhere."""

FANOUT_SLICE: Final = 64
"""Writes in one run; a longer fan-out goes on after everybody else had a turn."""


def new_id() -> str:
    """An id that no stream has: 96 bits of chance, which no command line takes for an option."""
    name = secrets.token_urlsafe(12)
    return new_id() if name.startswith("-") else name


class Stream:
    """One generation (see the module). Made by `Registry.create`, filled by its producer.

    Attributes:
        source: id, public model name and creation time, for encoders.
        owner: the id of the principal whose it is (see `Principal`).
        dialect: the dialect of the raw bytes in the log, None when no vendor speaks.
        lease: seconds that the producer goes on with nobody attached, or "finish".
        followers: who is attached, live or lagging.
        opened: set once there is a first record.
        ended: set once the log is sealed.
        chunking: makes the chunkers of clients that ask for none of their own.
        key, asked: the idempotency key it was created with, if any, and a digest of the request.
        alias: what the provider calls the answer, once it has said so.
        scope: cancels the producer; its deadline is the lease.
        bill: what it costs whoever has asked for it.
        attempts: what was tried at which target, for those who ask how the stream is.
        valve, silence: see `Answer`, which a stream is.
        pulse: when its records came, for those who ask how the stream is.
        journal: stores what is appended; None: nobody does, or another node.
        mirror: fills it with what another node produces; None: this one does that.
        abandoned: whether it was let go of without an end.
        elsewhere: other nodes on which somebody reads it, and until when that is sure.
    """

    silence: Silence | None = None

    def __init__(
        self,
        source: Source,
        log: Log,
        registry: Registry,
        settings: StreamSettings,
        *,
        owner: str,
        dialect: str | None,
        lease: Lease,
        pulse: Pulse,
    ) -> None:
        self.source = source
        self.pulse = pulse
        self.owner = owner
        self.log = log
        self.dialect = dialect
        self.lease = lease
        self.state = State.CREATED
        self.terminal: Terminal | None = None
        self.opened = trio.Event()
        self.ended = trio.Event()
        self.scope = trio.CancelScope()
        self.chunking: MakeChunker = registry.chunkers.of_route(source.model)
        self.key: str | None = None
        self.asked = b""
        self.alias: str | None = None
        self.bill: Bill | None = None
        self.attempts: Sequence[AttemptStatus] = ()
        self.valve: Valve | None = None
        self.journal: Journal | None = None
        self.mirror: Mirror | None = None
        self.abandoned = False
        self.elsewhere: dict[str, float] = {}
        self.renderers: dict[object, Renderer] = {}
        self._registry = registry
        self._cancel_reason = "lease"
        self._holds = 0
        self._over = False
        self.followers: dict[Follower, None] = {}
        self._live: dict[Follower, None] = {}
        self._rendered: dict[tuple[Renderer, Framing, int], bytes] = {}
        self._room = Room(self, registry, settings)

    @property
    def id(self) -> str:
        """The stream's id."""
        return self.source.stream

    @property
    def subscribers(self) -> int:
        """How many subscriptions are attached."""
        return len(self.followers)

    @property
    def needed(self) -> bool:
        """Whether it has to stay here though it has ended: somebody reads it, or it has yet to be stored."""
        return bool(self.followers) or (self.journal is not None and self.journal.behind)

    @property
    def over(self) -> bool:
        """Whether it takes no more records: it has its terminal one, stored or not yet, or was let go of."""
        return self._over or self.log.sealed

    def cursor(self) -> str:
        """The position after the newest record."""
        return format_cursor(self.id, self.log.epoch, self.log.head)

    # ---- the producer's side

    def extend(self, records: Sequence[Record]) -> None:
        """Append records, at once or when they are stored. Ignored after the end."""
        if self.journal is None:
            self.append(records)
        elif records and not self.over:
            self._over = isinstance(records[-1][0], TERMINAL)
            self.journal.write(records)

    def append(self, records: Sequence[Record]) -> None:
        """Put records into the log, and hand them to everyone who is live."""
        if not records or self.log.sealed:
            return
        self._follow(records[0][0])
        if len(records) > 1:
            self._follow(records[-1][0])
        self._registry.account(self.log.extend(records))
        self.pulse.beat(records, trio.current_time())
        if self.terminal is not None:
            self.log.seal()
        self._publish()
        if not self.opened.is_set():
            self.opened.set()
        if self.terminal is not None:
            if self._room.paused:
                self._room.release()  # nothing needs the room any more, so nobody is in the way
            self.ended.set()
            self._registry.ended(self)
        elif self.log.size > self._room.limit:
            self._room.look()

    def _follow(self, event: object) -> None:
        """Keep the state in step with the log: only its first and last records can change it."""
        if isinstance(event, StreamStarted):
            self.state = advance(self.state, Input.START)
        elif isinstance(event, TERMINAL):
            self.state = advance(self.state, _INPUTS[type(event)])
            self.terminal = event

    def _publish(self) -> None:
        if self._rendered:
            self._rendered.clear()
        live = list(self._live)
        if len(live) == 1:  # as most streams have; whoever feeds them has made a turn of it, if there are several
            live[0].push()
            return
        with self._registry.turn:
            for subscription in live[:FANOUT_SLICE]:
                subscription.push()
        if len(live) > FANOUT_SLICE:
            self._registry.fan_out(self)

    def behind(self) -> list[Follower]:
        """Live subscriptions that a fan-out has not reached yet."""
        return [subscription for subscription in self._live if not subscription.caught_up]

    def rendered(self, renderer: Renderer, framing: Framing, after: int) -> bytes:
        """All that follows `after`, rendered and framed: once for everyone who needs the same."""
        if len(self._live) <= 1:
            return self._render(renderer, framing, after)
        if isinstance(framing, ContextFraming):  # only what is inside of it can be shared
            body = self._once(renderer, identity, after)
            return framing(body) if body else b""
        return self._once(renderer, framing, after)

    def _once(self, renderer: Renderer, framing: Framing, after: int) -> bytes:
        key = (renderer, framing, after)
        data = self._rendered.get(key)
        if data is None:
            data = self._render(renderer, framing, after)
            if renderer.shared and not self.log.sealed:  # else nobody would ask for it, or take it away, again
                self._rendered[key] = data
        return data

    def _render(self, renderer: Renderer, framing: Framing, after: int) -> bytes:
        body = renderer.render(after + 1, self.log.after(after))
        return framing(body) if body else b""

    def cancel(self, reason: str) -> None:
        """End the stream on purpose; nothing happens when it has ended."""
        if self.over:
            return
        if self.mirror is not None:
            self.mirror.cancel(reason)
        else:
            self._cancel_reason = reason
            self.scope.cancel()

    def conclude(self, event: Terminal | None = None) -> None:
        """Make sure that there is a terminal record: `event`, or that the stream was cancelled."""
        if not self.over:
            self.extend([(event or StreamCancelled(self._cancel_reason), None)])

    def produced(self) -> None:
        """Its producer has done all that it will do."""
        self._registry.produced(self)

    def shut_down(self) -> None:
        """The gateway ends. Another one goes on with the stream, if it can; else it ends, too."""
        if self.journal is not None and self.journal.continuable:
            self.abandon()
        else:
            self.conclude(StreamCancelled("shutdown"))

    def abandon(self, reason: str = MOVED) -> None:
        """Let go of the stream without an end: its clients find it again, on this node or another."""
        if self.abandoned:
            return
        self._over = self.abandoned = True
        self._registry.abandon(self)
        self.scope.cancel()
        for follower in list(self.followers):
            follower.close(reason)
        self.opened.set()
        self.ended.set()
        if self._room.paused:
            self._room.release()

    def known_as(self, alias: str) -> None:
        """The provider calls this answer so: the stream can be found by that name, too. Only the first name counts."""
        if self.alias is None and not self.over:
            self.alias = alias
            self._registry.named(self, alias)
            if self.journal is not None:
                self.journal.change(msgspec.structs.replace(self.journal.entry, alias=alias))

    def fail(self, code: str, message: str, status: int = 500) -> None:
        """End the stream with a failure of our own, unless it has ended."""
        self.conclude(StreamFailed(code, message, status))

    # ---- the subscribers' side

    def attach(self, subscription: Follower) -> None:
        """Count a subscription in; while there is one the lease does not run."""
        self.followers[subscription] = None
        self._registry.subscriptions += 1
        self._stop_lease()
        self.moved()

    def detach(self, subscription: Follower) -> None:
        """Count a subscription out; what only it held back may go on."""
        self.lags(subscription)
        self.pulse.meter.left += not (self.log.sealed and subscription.caught_up)
        subscription.forget_chunks()
        del self.followers[subscription]
        self._registry.subscriptions -= 1
        self.moved()
        self.start_lease()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Somebody waits for the stream without a cursor on it yet: the lease does not run."""
        self._holds += 1
        self._stop_lease()
        try:
            yield
        finally:
            self._holds -= 1
            self.start_lease()

    def start_lease(self) -> None:
        """Let the lease run if nobody is attached."""
        if self.followers or self._holds or self.elsewhere or self.over or self.lease == "finish":
            return
        if self.lease == 0:
            self.scope.cancel()
        else:
            self.scope.deadline = trio.current_time() + self.lease

    def watched_by(self, node: str, until: float) -> None:
        """Somebody reads it on another node: until then, as Trio counts time, the lease does not run."""
        self.elsewhere[node] = until
        self._stop_lease()

    def left_by(self, node: str) -> None:
        """Nobody does any more."""
        if self.elsewhere.pop(node, None) is not None:
            self.start_lease()

    def remind(self, due: float, callback: Callable[[], float]) -> Reminder:
        """Call back at `due` (see `Reminders`)."""
        return self._registry.reminders.remind(due, callback)

    def _stop_lease(self) -> None:
        if self.scope.deadline != inf:  # to set it costs more than to look
            self.scope.deadline = inf

    def follows(self, subscription: Follower) -> None:
        """The subscription has caught up: write new records through to it."""
        self._live[subscription] = None

    def lags(self, subscription: Follower) -> None:
        """The subscription drains the log by itself from now on."""
        self._live.pop(subscription, None)

    def moved(self) -> None:
        """Some cursor came, moved or left: if the producer waits for room, see whether there is some."""
        if self._room.paused:
            self._room.look()

    def check_room(self) -> None:
        """Pause the producer if there is no room for what waits to be stored."""
        if self.log.size + self.waiting > self._room.limit:
            self._room.look()

    @property
    def floor(self) -> int:
        """Number of the last record that nobody needs any more: all have seen it, and it is stored."""
        floor = min((follower.position for follower in self.followers), default=self.log.head)
        return floor if self.journal is None else min(floor, self.journal.floor)

    @property
    def waiting(self) -> int:
        """Bytes of records that come into the log when they are stored."""
        return 0 if self.journal is None else self.journal.waiting

    @property
    def paused(self) -> bool:
        """Whether the producer waits for room in the log."""
        return self._room.paused

    @property
    def paused_since(self) -> float | None:
        """Since when the producer waits for room, in Trio's time; None when it does not."""
        return self._room.since if self._room.paused else None

    async def flowing(self) -> None:
        """Wait until the log has room."""
        await self._room.wait()


_INPUTS: Final = {StreamFinished: Input.FINISH, StreamFailed: Input.FAIL, StreamCancelled: Input.CANCEL}
