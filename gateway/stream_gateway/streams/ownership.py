"""Who owns which stream: this node's heartbeat, what nodes tell each other, and what becomes of orphans."""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
import trio

from stream_gateway.engines.engine import Engine, EngineUnavailable
from stream_gateway.streams.stream import Stream
from stream_protocols.errors import Overloaded

if TYPE_CHECKING:
    from stream_gateway.streams.storage import Storage

_log = structlog.get_logger()

BEATS: Final = 3
"""Heartbeats in a lease."""

ORPHANS: Final = 100
"""How many streams a node looks at between two heartbeats: the others want some, too."""

GONE: Final = 3 * BEATS
"""Heartbeats for which a mirrored stream may be unknown: an engine that has lost it gets it again from its owner."""

PRESENCE: Final = 256
"""Streams of which one message to the engine tells that they are read here: a heartbeat has to be done in time."""

INSIST: Final = 10.0
"""Seconds for which a message that is lost is told again."""


class Watched(msgspec.Struct, frozen=True, tag="watched", array_like=True):
    """A node has readers of a stream; to be repeated with every heartbeat."""

    stream: str
    node: str


class Left(msgspec.Struct, frozen=True, tag="left", array_like=True):
    """It has none any more."""

    stream: str
    node: str


class Cancel(msgspec.Struct, frozen=True, tag="cancel", array_like=True):
    """A client on another node wants a stream ended."""

    stream: str
    reason: str


Message = Watched | Left | Cancel

_DECODER: Final = msgspec.msgpack.Decoder(Message)


class Ownership:
    """Keeps what this node owns, and takes what nobody does.

    After the engine was out of reach every lease may have run out, though all nodes are there: a node takes nothing
    before it has itself been in touch for as long as a lease, in which the others have renewed theirs.
    """

    def __init__(self, engine: Engine, storage: Storage, lease: float) -> None:
        self._engine = engine
        self._storage = storage
        self._lease = lease
        self._steady = float("inf")
        self._taking: dict[str, str] = {}  # streams that may have become ours, and the epochs under which

    async def run(self) -> None:
        """Beat, and look for orphans, until cancelled. A takeover takes its time; a heartbeat must not wait for it."""
        if not self._engine.shared:
            self._steady = float("-inf")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            while True:
                await self._beat()
                await trio.sleep(self._lease / BEATS)

    async def _beat(self) -> None:
        now = trio.current_time()
        lost: str | None = "no answer in time"
        try:
            with trio.move_on_after(self._lease / BEATS):
                await self._engine.beat()
                self._steady = min(self._steady, now)
                lost = None
                await self._tell_presence()
        except EngineUnavailable as error:
            lost = error.message
        if lost is not None and self._engine.shared:
            if self._steady != float("inf"):
                _log.warning("heartbeat_failed", error=lost)
            self._steady = float("inf")
        self._forget_readers(trio.current_time())

    async def _look(self) -> None:
        while True:
            if self.settled:
                try:
                    await self._adopt_orphans()
                except EngineUnavailable as error:
                    _log.debug("no_look_for_orphans", error=error.message)
            await trio.sleep(self._lease / BEATS)

    @property
    def settled(self) -> bool:
        """Whether what has no owner can be told from what has not been heard of yet."""
        return trio.current_time() - self._steady >= self._lease

    # ---- what nobody owns

    async def _adopt_orphans(self) -> None:
        orphans = list(await self._engine.orphans(ORPHANS))
        random.shuffle(orphans)  # several nodes do this at once
        for name in [*self._taking, *orphans]:
            try:
                await self._storage.take(name)
            except Overloaded as error:
                _log.warning("takeover_postponed", stream=name, error=error.message)

    async def take(self, name: str) -> bool:
        """Take a stream over if nobody owns it; False: that has to be waited for.

        Raises:
            Overloaded: it cannot be had right now. It may be ours all the same, so this is tried again.
        """
        held = self._storage.registry.held(name)
        if held is not None and held.mirror is None:
            self._taking.pop(name, None)
            return False
        if not self.settled:  # what may have become ours is still to be finished then
            return False
        epoch = self._taking.setdefault(name, secrets.token_urlsafe(6))
        # A client that leaves meanwhile shall not leave half a takeover.
        with trio.CancelScope(shield=True), trio.move_on_after(self._lease):
            stored = await self._engine.take(name, epoch)
            if stored is not None:
                await self._storage.adopt(stored)
            self._taking.pop(name, None)
            return True
        return False

    # ---- messages

    def hear(self, message: bytes) -> None:
        """Another node has told us something about a stream of ours."""
        try:
            heard = _DECODER.decode(message)
        except msgspec.DecodeError:
            _log.warning("message_not_understood", size=len(message))
            return
        stream = self._storage.registry.held(heard.stream)
        if stream is None or stream.mirror is not None:
            return
        if isinstance(heard, Watched):
            stream.watched_by(heard.node, trio.current_time() + self._lease)
        elif isinstance(heard, Left):
            stream.left_by(heard.node)
        else:
            stream.cancel(heard.reason)

    def watched(self, stream: Stream) -> None:
        """This node has readers of a stream that another one owns."""
        self._post(stream.id, Watched(stream.id, self._engine.node))

    def left(self, stream: Stream) -> None:
        """It has none any more."""
        self._post(stream.id, Left(stream.id, self._engine.node))

    def cancel(self, name: str, reason: str) -> None:
        """End a stream that another node owns."""
        self._post(name, Cancel(name, reason))

    def _post(self, name: str, message: Message) -> None:
        self._storage.registry.start_soon(self._tell, name, msgspec.msgpack.encode(message))

    async def _tell(self, name: str, message: bytes) -> None:
        with trio.move_on_after(INSIST):
            while True:
                try:
                    await self._engine.tell(name, message)
                except EngineUnavailable:
                    await trio.sleep(random.uniform(0.1, 0.5))
                else:
                    return

    async def _tell_presence(self) -> None:
        mirrors = self._storage.registry.mirrors()
        for some in [mirrors[first : first + PRESENCE] for first in range(0, len(mirrors), PRESENCE)]:
            watched = [Watched(stream.id, self._engine.node) for stream in some]
            told = await self._engine.tell_all([(each.stream, msgspec.msgpack.encode(each)) for each in watched])
            await self._note_gone(dict(zip(some, told, strict=True)))

    async def _note_gone(self, mirrors: Mapping[Stream, bool]) -> None:
        """Let go of mirrors of what nobody knows any more, given whether their owners could be told."""
        for stream, told in mirrors.items():
            gone = not told and await self._engine.find(stream.id) is None
            if (mirror := stream.mirror) is not None:
                mirror.missed = mirror.missed + 1 if gone else 0
                if mirror.missed >= GONE:
                    _log.warning("stream_gone", stream=stream.id, effect="its clients are let go")
                    stream.abandon()

    def _forget_readers(self, now: float) -> None:
        """A node that has not repeated itself for a lease has died, or nobody there reads on."""
        if self._steady == float("inf"):
            return  # it is we who hear nothing
        for stream in self._storage.registry.watched_elsewhere():
            for node in [node for node, until in stream.elsewhere.items() if until <= now]:
                stream.left_by(node)
