"""The registry: all streams of this process, from their creation until their retention ends."""

import random
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, Final

import msgspec
import structlog
import trio

from stream_gateway.config import StreamSettings
from stream_gateway.engines.engine import Claim, Entry, Stored, owned
from stream_gateway.guard.principal import Principal
from stream_gateway.observe.meters import Meters
from stream_gateway.observe.pulse import Pulse
from stream_gateway.streams.budget import Budget
from stream_gateway.streams.chunkers import Chunkers
from stream_gateway.streams.fanout import FanOut
from stream_gateway.streams.follower import Follower
from stream_gateway.streams.log import Log
from stream_gateway.streams.producer import Generate, produce
from stream_gateway.streams.reminders import Reminders
from stream_gateway.streams.retention import Retention
from stream_gateway.streams.spending import spent
from stream_gateway.streams.storage import Storage, key_conflict
from stream_gateway.streams.stream import MOVED, Stream, new_id
from stream_gateway.streams.turn import Turn
from stream_protocols.cursor import parse_cursor
from stream_protocols.dialects import Source
from stream_protocols.errors import Forbidden, InvalidCursor, Overloaded, UnknownStream
from stream_protocols.lifecycle import State
from stream_protocols.request import Lease, Request

_log = structlog.get_logger()

RETRY_AFTER: Final = 5
"""Seconds that a client should wait when the byte budget is used up by running streams."""


class Registry:
    """Creates, finds and forgets streams; owns the nursery in which producers run.

    A stream is found by nobody but its owner, whom its owner has given a token, and admins: to all others it is as
    unknown as one that never was.

    A stream that ended is kept for `retain_for` seconds, or until its bytes are needed for a new one.

    Attributes:
        settings: of streams that are made from now on.
        over: whether it takes no new streams any more.
        tell: called with each stream that has been produced.

    Args:
        budget: bytes that all logs together may take.
        turn: the gateway's, around everything that writes to many clients at once.
        chunkers: the strategies that clients can ask for.
        storage: where streams are stored, too, and those of other processes are found; None: they live in memory.
        meters: what the streams count in.
    """

    def __init__(
        self,
        settings: StreamSettings,
        budget: Budget,
        turn: Turn | None = None,
        chunkers: Chunkers | None = None,
        storage: Storage | None = None,
        meters: Meters | None = None,
    ) -> None:
        self.subscriptions = 0
        self.over = False
        self.tell: Callable[[Stream], None] | None = None
        self.request_bytes = 0
        self.turn = turn or Turn()
        self.chunkers = chunkers or Chunkers({}, {})
        self.meters = meters or Meters()
        self.settings = settings
        self._budget = budget
        self._storage = storage
        if storage is not None:
            storage.registry = self
        self._streams: dict[str, Stream] = {}
        # By owner and name: what one calls a stream is nobody else's business.
        self._keys: dict[tuple[str, str], Stream] = {}
        self._aliases: dict[tuple[str, str], Stream] = {}  # at most one for each stream
        self._retention = Retention(budget, lambda: self.settings.retain_for, self._remove)
        self.reminders = Reminders()
        self._fanout = FanOut(self.turn)
        self._nursery: trio.Nursery | None = None
        self._producers: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then running streams end as cancelled by `shutdown`, or are left to another node.

        Raises:
            EngineUnavailable: streams cannot be stored from the beginning.
        """
        async with trio.open_nursery() as background:
            if self._storage is not None:
                await background.start(self._storage.run)
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._fanout.run)
                    self._nursery.start_soon(self.reminders.run)
                    self._nursery.start_soon(self._retention.run)
                    async with trio.open_nursery() as self._producers:
                        task_status.started()
                        await trio.sleep_forever()
            finally:
                if self._storage is not None:
                    await self._storage.finish()

    def shut_down(self) -> None:
        """End all running streams as when cancelled, and take no new ones; what there is can still be read."""
        self.over = True
        if self._producers is not None:
            self._producers.cancel_scope.cancel()

    def create(
        self,
        model: str,
        *,
        owner: str,
        dialect: str | None,
        lease: Lease | None = None,
        key: str | None = None,
        asked: bytes = b"",
        echo: bytes = b"",
        route: str | None = None,
        retain_bytes: int | None = None,
        stored: bool = True,
        name: str | None = None,
        request: Request | None = None,
        conversation: str | None = None,
    ) -> Stream:
        """A new stream, without a producer yet.

        Args:
            model: the public name.
            owner: the id of the principal whose it is.
            dialect: the dialect of the raw bytes its log will hold, if any.
            lease: see `Stream`; None for the configured default.
            key: the client's own name for what it asks, so that asking again finds the same stream.
            asked: a digest of what it asks, so that another client's key cannot be mistaken for it.
            echo: see `Source`.
            route: the name of the route that answers; None: nobody's, and not counted with those that are.
            retain_bytes: what its log holds; None for the configured default.
            stored: whether it is for storage, if there is any.
            name: the stream's id, where `claim` has given it.
            request, conversation: see `Entry`.

        Raises:
            Overloaded: see `check_room`; or nothing can be stored.
        """
        self.check_room()
        name = name or new_id()
        source = Source(name, model, int(time.time()), echo)
        lease = self.settings.lease if lease is None else lease
        pulse = Pulse(self.meters, route, name, trio.current_time())
        log = Log(name, secrets.token_urlsafe(6))  # random: no log of a former process had this epoch
        settings = self.settings
        if retain_bytes is not None:
            settings = msgspec.structs.replace(settings, retain_bytes=retain_bytes)
        stream = Stream(source, log, self, settings, owner=owner, dialect=dialect, lease=lease, pulse=pulse)
        stream.key, stream.asked = key, asked
        if self._storage is not None and stored:
            entry = Entry(
                stream=name,
                model=model,
                created=source.created,
                dialect=dialect,
                lease=lease,
                echo=echo,
                key=None if key is None else owned(owner, key),
                asked=asked,
                owner=owner,
                route=route,
                request=request,
                conversation=conversation,
            )
            self._storage.keep(stream, entry)
        self.admit(stream)
        return stream

    def check_room(self) -> None:
        """See whether there is memory for one more request.

        Raises:
            Overloaded: the byte budget is used up by those that are running, their logs and what they asked; or the
                gateway is about to go.
        """
        if self.over:
            raise Overloaded("The gateway is restarting; try again in a moment.", retry_after=RETRY_AFTER)
        self._retention.make_room()
        if self._budget.full:
            raise Overloaded("The gateway's memory for streams is used up; try again later.", retry_after=RETRY_AFTER)

    def restore(self, stored: Stored, lease: Lease) -> Stream:
        """A stream that is stored, with an empty log that begins where the stored one does; to be filled and admitted.

        Raises:
            Overloaded: the byte budget is used up.
        """
        self.check_room()
        entry = stored.entry
        source = Source(entry.stream, entry.model, entry.created, entry.echo)
        log = Log(entry.stream, stored.epoch, head=stored.oldest - 1, lives=stored.lives)
        pulse = Pulse(self.meters, entry.route, entry.stream, trio.current_time(), ours=False)
        stream = Stream(
            source, log, self, self.settings, owner=entry.owner, dialect=entry.dialect, lease=lease, pulse=pulse
        )
        stream.key = None if entry.key is None else entry.key.removeprefix(owned(entry.owner, ""))
        stream.asked, stream.alias = entry.asked, entry.alias
        if stored.oldest > 1:
            stream.state = State.RUNNING
        return stream

    def admit(self, stream: Stream, kept: float | None = None) -> None:
        """From now on it can be found here; if it has ended, for so many seconds."""
        self._streams[stream.id] = stream
        if stream.key is not None:
            self._keys[stream.owner, stream.key] = stream
        if stream.alias is not None:
            self._aliases[stream.owner, stream.alias] = stream
        if stream.log.sealed:
            self._retention.keep(stream, self.settings.retain_for if kept is None else kept)

    def find(self, key: str, asked: bytes, principal: Principal) -> Stream | None:
        """The stream that they have created with this key, while it is kept.

        Raises:
            KeyConflict: it was created for something else than `asked`, a digest of the request.
        """
        stream = self._keys.get((principal.id, key))
        if stream is not None and stream.asked != asked:
            raise key_conflict()
        return stream

    def claimed(self, key: str, principal: Principal) -> bool:
        """Whether `claim` would not have to wait, and `find` does as well."""
        return self._storage is None or (principal.id, key) in self._keys

    async def claim(self, key: str, asked: bytes, principal: Principal) -> tuple[Stream | None, str | None]:
        """The stream that they have created with this key, here or elsewhere; else what a new one has to be called.

        Raises:
            KeyConflict: as `find`.
            Overloaded: it cannot be known right now whether there is one.
        """
        stream = self.find(key, asked, principal)
        if stream is not None or self._storage is None:
            return stream, None
        return await self._storage.claim(owned(principal.id, key), asked)

    def release(self, key: str, name: str, asked: bytes, principal: Principal) -> None:
        """The stream whose name `claim` has given will not come: the key is free for another try."""
        if self._storage is not None:
            self.start_soon(self._storage.release, owned(principal.id, key), Claim(name, asked))

    async def announced(self, stream: Stream) -> None:
        """Wait, but not for long, until a new stream can be found elsewhere, too."""
        if self._storage is not None:
            await self._storage.announced(stream)

    def start(self, stream: Stream, generate: Generate) -> None:
        """Start the stream's producer; what it can do without waiting is done when this returns (see `produce`)."""
        if self._producers is None:
            raise RuntimeError("the registry is not running")
        self._producers.start_soon(produce, stream, generate)

    def start_soon(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run a task that belongs to a stream, not to a connection."""
        if self._nursery is None:
            raise RuntimeError("the registry is not running")
        self._nursery.start_soon(function, *args)

    def get(self, name: str, principal: Principal, *, cancel: bool = False) -> Stream:
        """The stream of that id, for a principal who may read it, and with `cancel` end it too.

        Raises:
            UnknownStream: there is none, or its retention has ended, or it is none of theirs.
            Forbidden: they may read it only.
        """
        stream = self._streams.get(name)
        if stream is None or not principal.may_read(name, stream.owner):
            raise UnknownStream(f"There is no stream {name[:64]!r}; it never was, or it ended too long ago to be kept.")
        if cancel and not principal.may_cancel(name, stream.owner):
            raise Forbidden("This stream token is good for reading only.")
        return stream

    async def open(self, name: str, principal: Principal, after: str | None = None, *, cancel: bool = False) -> Stream:
        """The stream of that id, wherever it is, for a principal who may read it (see `get`).

        Args:
            after: the cursor that its reader shows, if any.

        Raises:
            UnknownStream, Forbidden: as `get`.
            InvalidCursor: the cursor is none.
            Overloaded: it cannot be had right now.
        """
        if self._storage is not None:
            await self._storage.open(name, after)
        return self.get(name, principal, cancel=cancel)

    def at_hand(self, name: str, after: str | None = None) -> bool:
        """Whether `open` would not have to wait, and `get` does as well."""
        if self._storage is None:
            return True
        stream = self._streams.get(name)
        return stream is not None and (after is None or _is_in(stream.log, after))

    async def open_alias(self, alias: str, principal: Principal) -> Stream | None:
        """As `known_as`, wherever it is.

        Raises:
            Overloaded: it cannot be had right now.
        """
        stream = self.known_as(alias, principal)
        if stream is None and self._storage is not None:
            stream = await self._storage.open_alias(alias)
        return stream if stream is not None and principal.may_read(stream.id, stream.owner) else None

    def held(self, name: str) -> Stream | None:
        """The stream of that id, if it is here."""
        return self._streams.get(name)

    def mirrors(self) -> list[Stream]:
        """What other nodes produce and is read here."""
        return [stream for stream in self._streams.values() if stream.mirror is not None]

    def watched_elsewhere(self) -> list[Stream]:
        """What is produced here, and read on other nodes."""
        return [stream for stream in self._streams.values() if stream.elsewhere]

    def disperse(self, within: float) -> None:
        """Let go of everybody who can come back to another gateway, over so many seconds and not all at once."""
        if self._storage is None or not self._storage.engine.shared:
            return
        now = trio.current_time()
        for stream in self._streams.values():
            if stream.lease != 0:  # whoever asked for less cannot come back
                for follower in stream.followers:
                    self.reminders.remind(now + random.uniform(0, within), partial(_let_go, follower))

    def known_as(self, alias: str, principal: Principal) -> Stream | None:
        """Their stream whose provider calls its answer so, while it is kept; of several the newest."""
        return self._aliases.get((principal.id, alias))

    def discard(self, stream: Stream) -> bool:
        """Give up a stream before its time; False when it has not ended, or somebody is reading it."""
        if stream not in self._retention or stream.needed:
            return False
        self._retention.forget(stream)
        if self._storage is not None:
            self.start_soon(self._storage.forget, stream)
        return True

    def all(self) -> Collection[Stream]:
        """All of them, running or retained, oldest first; a view that changes with them."""
        return self._streams.values()

    def banish(self, welcome: Callable[[str], bool]) -> None:
        """End the streams of all owners who are not `welcome` any more, and forget those that have ended."""
        for stream in [stream for stream in self._streams.values() if not welcome(stream.owner)]:
            stream.cancel("revoked")
            self.discard(stream)

    @property
    def known(self) -> int:
        """Streams running or retained."""
        return len(self._streams)

    @property
    def running(self) -> int:
        """Streams that have not ended."""
        return len(self._streams) - len(self._retention)

    # ---- what streams report

    def account(self, delta: int) -> None:
        """A stream's log grew or shrank by `delta` bytes."""
        self._budget.account(delta)
        if delta > 0 and self._budget.full:
            self._retention.make_room()

    def hold(self, size: int) -> None:
        """A running request keeps so many bytes of its body, until they are let go."""
        self.request_bytes += size
        self.account(size)

    def let_go(self, size: int) -> None:
        """It keeps them no longer."""
        self.request_bytes -= size
        self.account(-size)

    def fan_out(self, stream: Stream) -> None:
        """A stream has live subscriptions that were not served yet."""
        self._fanout.add(stream)

    def ended(self, stream: Stream) -> None:
        """A stream has its terminal record: it is paid for, and the time for which it is kept begins."""
        self._settle(stream)
        if self._streams.get(stream.id) is stream:
            self._retention.keep(stream, self.settings.retain_for)

    @staticmethod
    def _settle(stream: Stream) -> None:
        bill, stream.bill = stream.bill, None
        if bill is not None:
            # Of a long answer the beginning may be gone; its provider's count comes last.
            records = stream.log.after(stream.log.oldest - 1) if bill.counts_tokens else ()
            bill.settle(*spent(records))

    def abandon(self, stream: Stream) -> None:
        """A stream was let go of without an end: it is not here any more."""
        self._settle(stream)
        self._retention.let_go(stream)
        self._budget.account(-stream.log.size)
        if self._streams.get(stream.id) is stream:
            self._remove(stream)

    def produced(self, stream: Stream) -> None:
        """A stream has ended, and so have all attempts that were made for it."""
        if self.tell is not None:
            try:
                self.tell(stream)
            except Exception:  # it is nobody's fault who has a stream
                _log.exception("telling_failed", stream=stream.id)

    def named(self, stream: Stream, alias: str) -> None:
        """A stream's provider has said what it calls the answer."""
        self._aliases[stream.owner, alias] = stream

    def _remove(self, stream: Stream) -> None:
        del self._streams[stream.id]
        if stream.key is not None and self._keys.get((stream.owner, stream.key)) is stream:
            del self._keys[stream.owner, stream.key]
        if stream.alias is not None and self._aliases.get((stream.owner, stream.alias)) is stream:
            del self._aliases[stream.owner, stream.alias]


def _let_go(follower: Follower) -> float:
    if follower in follower.stream.followers:
        follower.close(MOVED)
    return float("inf")


def _is_in(log: Log, after: str) -> bool:
    """Whether a reader's cursor can be looked up in a log: one that is none can be looked at anywhere."""
    try:
        position = parse_cursor(after).position
    except InvalidCursor:
        return True
    return position.epoch in log.lives or (position.epoch == log.epoch and position.seq < max(1, log.head))
