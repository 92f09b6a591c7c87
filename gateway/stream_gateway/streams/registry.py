"""The registry: all streams of this process, from their creation until their retention ends."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from stream_gateway.config import StreamSettings
from stream_gateway.engines.memory import MemoryEngine
from stream_gateway.guard.principal import Principal
from stream_gateway.streams.chunkers import Chunkers
from stream_gateway.streams.fanout import FanOut
from stream_gateway.streams.producer import Generate, produce
from stream_gateway.streams.reminders import Reminders
from stream_gateway.streams.spending import spent
from stream_gateway.streams.stream import Stream
from stream_gateway.streams.turn import Turn
from stream_protocols.dialects import Source
from stream_protocols.errors import Forbidden, KeyConflict, Overloaded, UnknownStream
from stream_protocols.request import Lease

RETRY_AFTER: Final = 5
"""Seconds that a client should wait when the byte budget is used up by running streams."""


class Registry:
    """Creates, finds and forgets streams; owns the nursery in which producers run.

    A stream is found by nobody but its owner, whom its owner has given a token, and admins: to all others it is as
    unknown as one that never was.

    A stream that ended is kept for `retain_for` seconds, or until its bytes are needed for a new one.

    Args:
        turn: the gateway's, around everything that writes to many clients at once.
        chunkers: the strategies that clients can ask for.
    """

    def __init__(
        self,
        settings: StreamSettings,
        engine: MemoryEngine,
        turn: Turn | None = None,
        chunkers: Chunkers | None = None,
    ) -> None:
        self.subscriptions = 0
        self.turn = turn or Turn()
        self.chunkers = chunkers or Chunkers({}, {})
        self._settings = settings
        self._engine = engine
        self._streams: dict[str, Stream] = {}
        # By owner and name: what one calls a stream is nobody else's business.
        self._keys: dict[tuple[str, str], Stream] = {}
        self._aliases: dict[tuple[str, str], Stream] = {}  # at most one for each stream
        self._retained: dict[Stream, float] = {}  # ended streams and when to forget them, oldest first
        self._news = trio.Event()
        self.reminders = Reminders()
        self._fanout = FanOut(self.turn)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then all running streams end as cancelled by `shutdown`."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._fanout.run)
            self._nursery.start_soon(self.reminders.run)
            self._nursery.start_soon(self._expire)
            task_status.started()

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

        Raises:
            Overloaded: the byte budget is used up by streams that are still running.
        """
        self._make_room()
        if self._engine.full:
            raise Overloaded("The gateway's memory for streams is used up; try again later.", retry_after=RETRY_AFTER)
        name = secrets.token_urlsafe(12)
        source = Source(name, model, int(time.time()), echo)
        lease = self._settings.lease if lease is None else lease
        log = self._engine.create(name)
        stream = Stream(source, log, self, self._settings, owner=owner, dialect=dialect, lease=lease)
        self._streams[name] = stream
        if key is not None:
            stream.key, stream.asked = key, asked
            self._keys[owner, key] = stream
        return stream

    def find(self, key: str, asked: bytes, principal: Principal) -> Stream | None:
        """The stream that they have created with this key, while it is kept.

        Raises:
            KeyConflict: it was created for something else than `asked`, a digest of the request.
        """
        stream = self._keys.get((principal.id, key))
        if stream is not None and stream.asked != asked:
            raise KeyConflict(
                "This key was used for another request; use a new key for each, such as a UUID.", param="key"
            )
        return stream

    def start(self, stream: Stream, generate: Generate) -> None:
        """Start the stream's producer; what it can do without waiting is done when this returns (see `produce`)."""
        self.start_soon(produce, stream, generate)

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

    def known_as(self, alias: str, principal: Principal) -> Stream | None:
        """Their stream whose provider calls its answer so, while it is kept; of several the newest."""
        return self._aliases.get((principal.id, alias))

    def discard(self, stream: Stream) -> bool:
        """Give up a stream before its time; False when it has not ended, or somebody is reading it."""
        if stream not in self._retained or stream.subscribers:
            return False
        self._forget(stream)
        return True

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
        return len(self._streams) - len(self._retained)

    # ---- what streams report

    def account(self, delta: int) -> None:
        """A stream's log grew or shrank by `delta` bytes."""
        self._engine.account(delta)
        if delta > 0 and self._engine.full:
            self._make_room()

    def fan_out(self, stream: Stream) -> None:
        """A stream has live subscriptions that were not served yet."""
        self._fanout.add(stream)

    def ended(self, stream: Stream) -> None:
        """A stream has its terminal record: it is paid for, and the time for which it is kept begins."""
        if stream.bill is not None:
            stream.bill.settle(*(spent(stream.log.after(0)) if stream.bill.counts_tokens else (None, 0)))
            stream.bill = None
        self._retained[stream] = trio.current_time() + self._settings.retain_for
        self._news.set()

    def named(self, stream: Stream, alias: str) -> None:
        """A stream's provider has said what it calls the answer."""
        self._aliases[stream.owner, alias] = stream

    # ---- forgetting

    def _make_room(self) -> None:
        """Give up ended streams, oldest first, while the budget is used up; spare those being read."""
        if self._engine.full:
            for stream in [stream for stream in self._retained if not stream.subscribers]:
                self._forget(stream)
                if not self._engine.full:
                    break

    def _forget(self, stream: Stream) -> None:
        del self._retained[stream]
        del self._streams[stream.id]
        if stream.key is not None:
            del self._keys[stream.owner, stream.key]
        if stream.alias is not None and self._aliases.get((stream.owner, stream.alias)) is stream:
            del self._aliases[stream.owner, stream.alias]
        self._engine.drop(stream.log)

    async def _expire(self) -> None:
        while True:
            await self._news.wait()
            while self._retained:
                stream, due = next(iter(self._retained.items()))
                await trio.sleep_until(due)
                # Meanwhile its bytes may have been needed, and somebody may be reading it right now.
                if stream in self._retained:
                    if stream.subscribers:
                        del self._retained[stream]
                        self.ended(stream)
                    else:
                        self._forget(stream)
            self._news = trio.Event()
