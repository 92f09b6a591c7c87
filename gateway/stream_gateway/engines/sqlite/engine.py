"""The SQLite engine. SQLite waits for disks, so it works in threads: one at a time writes, one at a time reads."""

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import structlog
import trio

from stream_gateway.engines.engine import (
    Batch,
    Claim,
    Deliver,
    Engine,
    EngineUnavailable,
    Feed,
    Outcome,
    Stored,
    Write,
)
from stream_gateway.engines.sqlite.file import Clock, File, Fsync
from stream_gateway.engines.sqlite.tables import Tables

_log = structlog.get_logger()

T = TypeVar("T")

POLL: Final = 0.02
"""Seconds between two looks at what other processes have written, which is one page of the file."""

PURGE: Final = 5.0
"""Seconds between two looks for streams whose time is up."""

PAGE_BYTES: Final = 262_144
"""Bytes that a watcher is fed at once, about."""


class SqliteEngine(Engine):
    """See `Engine`. Opens its file at once, and closes it when `run` ends.

    Args:
        shared: whether other processes may use the file at the same time.
        clock: of leases.

    Raises:
        EngineUnavailable: the file cannot be used.
    """

    def __init__(
        self,
        path: str,
        *,
        lease: float = 10.0,
        retain_for: float = 600.0,
        fsync: Fsync = "checkpoint",
        shared: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.node = secrets.token_urlsafe(6)
        self.shared = shared
        try:
            self._file = File(path, fsync=fsync, shared=shared)
        except (OSError, sqlite3.Error) as error:
            raise EngineUnavailable(f"{path} cannot be used: {error}") from None
        self._tables = Tables(self._file, self.node, lease=lease, retain_for=retain_for, clock=clock or Clock())
        self._writing = trio.CapacityLimiter(1)
        self._reading = trio.CapacityLimiter(1)
        self._watched: dict[str, tuple[int, Feed]] = {}
        self._fresh: dict[str, None] = {}  # watched, and not looked at yet
        self._seen = 0
        self._news = trio.Event()

    async def run(self, deliver: Deliver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Engine`."""
        try:
            self._seen = await self._read(self._tables.newest)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._purge)
                if self.shared:
                    nursery.start_soon(self._look, deliver)
                task_status.started()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._file.close, limiter=self._writing)

    async def _write(self, function: Callable[..., T], *args: object) -> T:
        return await self._call(self._writing, function, *args)

    async def _read(self, function: Callable[..., T], *args: object) -> T:
        return await self._call(self._reading, function, *args)

    async def _call(self, limiter: trio.CapacityLimiter, function: Callable[..., T], *args: object) -> T:
        try:
            return await trio.to_thread.run_sync(function, *args, limiter=limiter)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise EngineUnavailable(f"{self._file.path} cannot be used: {error}", retry_after=1) from None

    async def _purge(self) -> None:
        while True:
            try:
                more = await self._write(self._tables.purge)
            except EngineUnavailable as error:
                _log.warning("purge_failed", error=error.message)
                more = False
            await trio.sleep(0 if more else PURGE)

    # ---- what others write

    async def _look(self, deliver: Deliver) -> None:
        version = 0
        while True:
            try:
                now = await self._read(self._tables.version)
                if now != version or self._fresh:
                    await self._take_news(deliver)
                    version = now
            except EngineUnavailable as error:
                _log.warning("news_failed", error=error.message)
            with trio.move_on_after(POLL):
                await self._news.wait()
            self._news = trio.Event()

    async def _take_news(self, deliver: Deliver) -> None:
        for message in await self._write(self._tables.receive):
            deliver(message)
        while True:
            fresh, self._fresh = self._fresh, {}
            seen, streams = await self._read(self._tables.news, self._seen, self._watched)
            for stream in {**fresh, **streams}:
                await self._feed(stream)
            if seen == self._seen and not self._fresh:
                return
            self._seen = seen

    async def _feed(self, stream: str) -> None:
        """Feed the watcher of a stream all there is."""
        while stream in self._watched:
            after, feed = self._watched[stream]
            batches = await self._read(self._tables.read, stream, after, PAGE_BYTES)
            if not batches:
                return
            if self._watched.get(stream) == (after, feed):  # it may have changed its mind
                self._watched[stream] = (batches[-1].last, feed)
                feed(batches)

    def watch(self, stream: str, after: int, feed: Feed) -> None:
        """See `Engine`."""
        self._watched[stream] = (after, feed)
        self._fresh[stream] = None
        self._news.set()

    def unwatch(self, stream: str) -> None:
        """See `Engine`."""
        self._watched.pop(stream, None)

    # ---- the rest is done by tables

    async def commit(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """See `Engine`."""
        return await self._write(self._tables.commit, writes)

    async def claim(self, key: str, claim: Claim) -> Claim | None:
        """See `Engine`."""
        return await self._write(self._tables.claim, key, claim)

    async def release(self, key: str, claim: Claim) -> None:
        """See `Engine`."""
        await self._write(self._tables.release, key, claim.stream)

    async def forget(self, stream: str) -> None:
        """See `Engine`."""
        await self._write(self._tables.forget, stream)

    async def find(self, stream: str) -> Stored | None:
        """See `Engine`."""
        return await self._read(self._tables.find, stream)

    async def named(self, alias: str) -> str | None:
        """See `Engine`."""
        return await self._read(self._tables.named, alias)

    async def read(self, stream: str, after: int, max_bytes: int) -> Sequence[Batch]:
        """See `Engine`."""
        return await self._read(self._tables.read, stream, after, max_bytes)

    async def beat(self) -> None:
        """See `Engine`."""
        await self._write(self._tables.beat)

    async def leave(self) -> None:
        """See `Engine`."""
        await self._write(self._tables.leave)

    async def orphans(self, limit: int) -> Sequence[str]:
        """See `Engine`."""
        return await self._read(self._tables.orphans, limit)

    async def take(self, stream: str, epoch: str) -> Stored | None:
        """See `Engine`."""
        return await self._write(self._tables.take, stream, epoch)

    async def tell_all(self, messages: Sequence[tuple[str, bytes]]) -> Sequence[bool]:
        """See `Engine`."""
        return await self._write(self._tables.tell_all, messages)
