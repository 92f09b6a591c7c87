"""What an engine is: where logs live when they must survive their process, or be shared among several.

An engine keeps, for each stream, an `Entry`, *batches* of records, and an owner: the one node that may append. A node
is a gateway process. What an engine promises:

- A write is atomic, and once `commit` has returned it is as durable as the engine is configured to make it.
- Records are numbered without holes from `oldest` to `head`. A write that begins beyond `head + 1` drops what was
  there: its owner has trimmed its own log meanwhile. A write that is there already is not made twice.
- A write carries the *fence* with which its author became the owner. After somebody else has taken the stream the
  fence is stale, and the write is refused, however late it comes: a node that slept through its lease cannot append.
- A node's lease is renewed by `beat`, and measured by the engine's clock alone. When it has run out, its running
  streams are orphans, and exactly one node gets each of them from `take`.
- After its end a stream stays for a configured time; then it is gone, with its key and alias.

What cannot be done because storage fails raises `EngineUnavailable`; nothing else does.
"""

import abc
import enum
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from stream_protocols.cursor import NO_LIVES, Lives
from stream_protocols.errors import Overloaded
from stream_protocols.request import Lease, Request

CLAIM_SECONDS: Final = 60.0
"""For so long a key is taken whose stream never came: its node has died in between."""


class EngineUnavailable(Overloaded):
    """Storage fails or cannot be reached; `message` says how."""

    code = "storage_unavailable"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a stream besides its records.

    Attributes:
        created: Unix seconds.
        dialect: of the raw bytes in its records, None when no vendor speaks.
        key: the idempotency key among those of all owners (see `owned`); asked: see `Stream`.
        alias: what the provider calls the answer, once it has said so.
        owner, route: see `Stream` and `Registry.create`.
        request, conversation: what is needed to go on with an answer that broke off; None when nobody would.
    """

    stream: str
    model: str
    created: int
    dialect: str | None = None
    lease: Lease = 0.0
    echo: bytes = b""
    key: str | None = None
    asked: bytes = b""
    alias: str | None = None
    owner: str = ""
    route: str | None = None
    request: Request | None = None
    conversation: str | None = None


def owned(owner: str, key: str) -> str:
    """An idempotency key as engines know it: every owner has their own. It begins with `owned(owner, "")`."""
    return f"{len(owner)}.{owner}.{key}"


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as the engine has it.

    Attributes:
        node, fence: its owner, and what that one's writes have to carry.
        alive: whether the owner's lease holds.
        epoch, lives: see `Log` and `cursor.check`.
        kept: seconds for which an ended stream will still be there.
    """

    entry: Entry
    node: str
    fence: int
    alive: bool
    epoch: str
    head: int
    oldest: int
    sealed: bool
    lives: Lives = NO_LIVES
    kept: float = 0.0


class Write(msgspec.Struct, frozen=True):
    """What is to be appended to one stream.

    Attributes:
        entry: at the first write, and when it has changed.
        epoch, fence: those of the author's life of the log.
        first: number of the first record.
        count: how many there are; 0 writes the entry alone.
        data: the records (see `codec`).
        oldest: number of the oldest record that has to be kept.
        sealed: whether these are the last ones.
    """

    stream: str
    epoch: str
    fence: int
    first: int
    count: int
    data: bytes
    oldest: int = 1
    sealed: bool = False
    entry: Entry | None = None

    @property
    def last(self) -> int:
        """Number of the last record."""
        return self.first + self.count - 1


class Outcome(enum.IntEnum):
    """What became of a write."""

    STORED = 0
    FENCED = 1
    """Somebody else owns the stream now, or it has ended."""
    MISSING = 2
    """The engine does not know the stream (any more), and this write has no entry."""


class Batch(msgspec.Struct, frozen=True):
    """Records as they were written together; `epoch` is that of their author's life of the log."""

    epoch: str
    first: int
    count: int
    data: bytes

    @property
    def last(self) -> int:
        """Number of the last record."""
        return self.first + self.count - 1


class Claim(msgspec.Struct, frozen=True):
    """Whose an idempotency key is: the stream's that was, or is about to be, created with it."""

    stream: str
    asked: bytes


Feed = Callable[[Sequence[Batch]], None]
"""Is called with what has been written to a watched stream, in order; must not wait."""

Deliver = Callable[[bytes], None]
"""Is called with every message that another node has told this one; must not wait."""


class Engine(abc.ABC):
    """See the module. Methods may be called from one Trio thread only.

    Attributes:
        node: this process's name among all that share the engine.
        shared: whether other nodes may be there.
    """

    node: str
    shared: bool

    @abc.abstractmethod
    async def run(self, deliver: Deliver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when the engine can be used; it comes back by itself when it fails later.

        Raises:
            EngineUnavailable: it cannot be used from the beginning.
        """

    # ---- writing

    @abc.abstractmethod
    async def commit(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """Make writes to any number of streams, at most one to each. They cannot be in doubt afterwards, except when it
        raises: then each was made or was not, and making the same ones again is right."""

    @abc.abstractmethod
    async def claim(self, key: str, claim: Claim) -> Claim | None:
        """Take an idempotency key for a stream that is about to be created; whose it is already, if it is."""

    @abc.abstractmethod
    async def release(self, key: str, claim: Claim) -> None:
        """Give a claimed key back, because its stream will not come; nothing happens when it has come."""

    @abc.abstractmethod
    async def forget(self, stream: str) -> None:
        """Drop a stream that has ended."""

    # ---- reading

    @abc.abstractmethod
    async def find(self, stream: str) -> Stored | None:
        """A stream, if it is kept."""

    @abc.abstractmethod
    async def named(self, alias: str) -> str | None:
        """The stream whose provider calls its answer so."""

    @abc.abstractmethod
    async def read(self, stream: str, after: int, max_bytes: int) -> Sequence[Batch]:
        """Batches with records that follow number `after`, in order: one if there is one, then up to `max_bytes`."""

    @abc.abstractmethod
    def watch(self, stream: str, after: int, feed: Feed) -> None:
        """From now on feed what is there, or comes, after a number. A stream is watched once at a time."""

    @abc.abstractmethod
    def unwatch(self, stream: str) -> None:
        """Feed no more of it."""

    # ---- ownership

    @abc.abstractmethod
    async def beat(self) -> None:
        """Renew this node's lease. To be called every third of it."""

    @abc.abstractmethod
    async def leave(self) -> None:
        """Give up this node's lease: what it owns may be taken at once."""

    @abc.abstractmethod
    async def orphans(self, limit: int) -> Sequence[str]:
        """Running streams whose owner's lease has run out."""

    @abc.abstractmethod
    async def take(self, stream: str, epoch: str) -> Stored | None:
        """Become the owner of an orphan, which goes on under a new epoch; None when it is none (any more).

        Whoever does not hear the answer asks again with the same epoch."""

    @abc.abstractmethod
    async def tell_all(self, messages: Sequence[tuple[str, bytes]]) -> Sequence[bool]:
        """Send something to each of these streams' owners, in one go; False where there is none. It may be lost when
        either dies."""

    async def tell(self, stream: str, message: bytes) -> bool:
        """Send something to one stream's owner (see `tell_all`)."""
        (told,) = await self.tell_all([(stream, message)])
        return told
