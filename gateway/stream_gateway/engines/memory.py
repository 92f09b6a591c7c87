"""An engine in this process's memory: what all engines do, in its shortest form.

Gateways use none when they are configured with `memory`, because the logs that they read from are in memory anyway.
Several nodes of one process share a `Shelf`; tests let them die, sleep, and wake up too late.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

import trio

from stream_gateway.engines.engine import (
    CLAIM_SECONDS,
    Batch,
    Claim,
    Deliver,
    Engine,
    EngineUnavailable,
    Entry,
    Feed,
    Outcome,
    Stored,
    Write,
)

_NEVER: Final = float("inf")


class _Kept:
    """A stream on the shelf."""

    def __init__(self, entry: Entry, node: str, epoch: str) -> None:
        self.entry = entry
        self.node = node
        self.epoch = epoch
        self.fence = 1
        self.batches: list[Batch] = []
        self.head = 0
        self.oldest = 1
        self.sealed = False
        self.lives: dict[str, int] = {}
        self.gone_at = _NEVER
        self.watchers: dict[str, tuple[int, Feed]] = {}


class Shelf:
    """What nodes share.

    Attributes:
        broken: why nothing works right now; set by tests.
        now: the clock.
    """

    def __init__(self) -> None:
        self.broken: str | None = None
        self.now: Callable[[], float] = trio.current_time
        self.streams: dict[str, _Kept] = {}
        self.claims: dict[str, tuple[Claim, float]] = {}
        self.leases: dict[str, float] = {}
        self.inboxes: dict[str, Deliver] = {}

    def check(self) -> None:
        """Raise EngineUnavailable if it is broken; forget what is over."""
        if self.broken is not None:
            raise EngineUnavailable(self.broken)
        now = self.now()
        for name in [name for name, kept in self.streams.items() if kept.gone_at <= now]:
            self.drop(name)
        for key in [key for key, (_, until) in self.claims.items() if until <= now]:
            del self.claims[key]

    def drop(self, stream: str) -> None:
        """Forget a stream, and its key."""
        kept = self.streams.pop(stream)
        if kept.entry.key is not None:
            self.claims.pop(kept.entry.key, None)

    def alive(self, node: str) -> bool:
        """Whether a node's lease holds."""
        return self.leases.get(node, 0.0) > self.now()


class MemoryEngine(Engine):
    """A node's view of a shelf.

    Args:
        lease: seconds for which a node owns its streams after its last beat.
        retain_for: seconds for which a stream stays after its end.
    """

    shared = True

    def __init__(self, shelf: Shelf, *, lease: float = 10.0, retain_for: float = 600.0) -> None:
        self.node = secrets.token_urlsafe(6)
        self._shelf = shelf
        self._lease = lease
        self._retain_for = retain_for

    async def run(self, deliver: Deliver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Engine`."""
        self._shelf.check()
        self._shelf.inboxes[self.node] = deliver
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._shelf.inboxes.pop(self.node, None)
            for kept in self._shelf.streams.values():
                kept.watchers.pop(self.node, None)

    async def commit(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        return [self._write(write) for write in writes]

    def _write(self, write: Write) -> Outcome:
        kept = self._shelf.streams.get(write.stream)
        if kept is None:
            if write.entry is None:
                return Outcome.MISSING
            kept = self._shelf.streams[write.stream] = _Kept(write.entry, self.node, write.epoch)
            kept.fence = write.fence
            kept.head, kept.oldest = write.first - 1, write.first
        if kept.fence != write.fence:
            return Outcome.FENCED
        if write.entry is not None:
            self._note(kept, write)
        if not write.count or write.last <= kept.head:
            return Outcome.STORED
        if kept.sealed or write.first <= kept.head:
            return Outcome.FENCED
        self._append(kept, write)
        return Outcome.STORED

    def _note(self, kept: _Kept, write: Write) -> None:
        assert write.entry is not None
        kept.entry = write.entry
        if kept.entry.key is not None:
            self._shelf.claims[kept.entry.key] = (Claim(write.stream, kept.entry.asked), _NEVER)

    def _append(self, kept: _Kept, write: Write) -> None:
        if write.first > kept.head + 1:
            kept.batches.clear()
            kept.oldest = write.first
        kept.batches.append(Batch(write.epoch, write.first, write.count, write.data))
        kept.head = write.last
        while kept.batches[0].last < write.oldest:
            kept.oldest = kept.batches.pop(0).last + 1
        if write.sealed:
            kept.sealed = True
            kept.gone_at = self._shelf.now() + self._retain_for
        for node, (after, feed) in list(kept.watchers.items()):
            kept.watchers[node] = (kept.head, feed)
            feed([batch for batch in kept.batches if batch.last > after])

    async def claim(self, key: str, claim: Claim) -> Claim | None:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        taken = self._shelf.claims.get(key)
        if taken is not None:
            return taken[0]
        self._shelf.claims[key] = (claim, self._shelf.now() + CLAIM_SECONDS)
        return None

    async def release(self, key: str, claim: Claim) -> None:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        taken, until = self._shelf.claims.get(key, (None, _NEVER))
        if taken == claim and until != _NEVER:
            del self._shelf.claims[key]

    async def forget(self, stream: str) -> None:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        kept = self._shelf.streams.get(stream)
        if kept is not None and kept.sealed:
            self._shelf.drop(stream)

    async def find(self, stream: str) -> Stored | None:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        kept = self._shelf.streams.get(stream)
        return None if kept is None else self._stored(kept)

    def _stored(self, kept: _Kept) -> Stored:
        return Stored(
            entry=kept.entry,
            node=kept.node,
            fence=kept.fence,
            alive=self._shelf.alive(kept.node),
            epoch=kept.epoch,
            head=kept.head,
            oldest=kept.oldest,
            sealed=kept.sealed,
            lives=dict(kept.lives),
            kept=kept.gone_at - self._shelf.now() if kept.sealed else 0.0,
        )

    async def named(self, alias: str) -> str | None:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        found = (name for name, kept in reversed(self._shelf.streams.items()) if kept.entry.alias == alias)
        return next(found, None)

    async def read(self, stream: str, after: int, max_bytes: int) -> Sequence[Batch]:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        kept = self._shelf.streams.get(stream)
        found: list[Batch] = []
        size = 0
        for batch in kept.batches if kept is not None else ():
            if batch.last > after:
                size += len(batch.data)
                if found and size > max_bytes:
                    break
                found.append(batch)
        return found

    def watch(self, stream: str, after: int, feed: Feed) -> None:
        """See `Engine`."""
        kept = self._shelf.streams.get(stream)
        if kept is None:
            return
        kept.watchers[self.node] = (max(after, kept.head), feed)
        if news := [batch for batch in kept.batches if batch.last > after]:
            feed(news)

    def unwatch(self, stream: str) -> None:
        """See `Engine`."""
        if stream in self._shelf.streams:
            self._shelf.streams[stream].watchers.pop(self.node, None)

    async def beat(self) -> None:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        self._shelf.leases[self.node] = self._shelf.now() + self._lease

    async def leave(self) -> None:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.leases.pop(self.node, None)

    async def orphans(self, limit: int) -> Sequence[str]:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        found = [name for name, kept in self._shelf.streams.items() if self._is_orphan(kept)]
        return found[:limit]

    def _is_orphan(self, kept: _Kept) -> bool:
        return not kept.sealed and not self._shelf.alive(kept.node)

    async def take(self, stream: str, epoch: str) -> Stored | None:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        kept = self._shelf.streams.get(stream)
        if kept is not None and (kept.node, kept.epoch) == (self.node, epoch):
            return self._stored(kept)
        if kept is None or not self._is_orphan(kept):
            return None
        kept.lives = {name: min(last, kept.head) for name, last in kept.lives.items()} | {kept.epoch: kept.head}
        kept.epoch = epoch
        kept.node = self.node
        kept.fence += 1
        return self._stored(kept)

    async def tell_all(self, messages: Sequence[tuple[str, bytes]]) -> Sequence[bool]:
        """See `Engine`."""
        await trio.lowlevel.checkpoint()
        self._shelf.check()
        return [self._tell(stream, message) for stream, message in messages]

    def _tell(self, stream: str, message: bytes) -> bool:
        kept = self._shelf.streams.get(stream)
        deliver = None if kept is None or kept.sealed else self._shelf.inboxes.get(kept.node)
        if deliver is None:
            return False
        deliver(message)
        return True
