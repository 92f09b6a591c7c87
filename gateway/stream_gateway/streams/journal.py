"""From logs to the engine: what each stream still has to store, and the one task that stores it for all of them.

A stream's backlog is its log: nothing is queued beside it, and what is not stored yet is what follows `stored` there.
With `strict` it is the other way round: records wait in the journal, and come into the log when they are stored.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import structlog
import trio

from stream_gateway.engines import codec
from stream_gateway.engines.engine import Engine, EngineUnavailable, Entry, Outcome, Write
from stream_gateway.streams.log import cost
from stream_protocols.events import TERMINAL, Record

if TYPE_CHECKING:
    from stream_gateway.streams.stream import Stream

_log = structlog.get_logger()

WRITE_BYTES: Final = 262_144
"""Bytes of log in one write, about: a stream with a large backlog holds up no other for long."""

COMMIT_BYTES: Final = 1_048_576
"""Bytes of log in one commit, about."""

COMMIT_WRITES: Final = 64
"""Streams in one commit: while its writes are put together nobody else has a turn."""

GATHER: Final = 0.005
"""Seconds between two commits for which nobody waits: twice as much in one costs little more."""

PAUSES: Final = (0.05, 2.0)
"""Seconds between two tries while the engine fails, at first and at most."""


class Journal:
    """What one stream has to store. Made by `Committer.open`.

    Attributes:
        entry: what else is stored of the stream.
        fence: see `Engine`.
        stored: number of the last record that is stored.
        waiting: bytes of records that come into the log when they are stored.
    """

    def __init__(
        self, stream: Stream, committer: Committer, entry: Entry, *, fence: int, stored: int, new: bool
    ) -> None:
        self.entry = entry
        self.fence = fence
        self.stored = stored
        self.waiting = 0
        self._stream = stream
        self._committer = committer
        self._pending: list[Record] = []
        self._entry_changed = new
        self._lost = False
        self._known = trio.Event()

    def write(self, records: Sequence[Record]) -> None:
        """Take more records. They go into the log at once, or when they are stored."""
        if self._committer.strict:
            self._pending += records
            self.waiting += sum(map(cost, records))
            self._stream.check_room()
        else:
            self._stream.append(records)
        self._committer.wake(self)

    def change(self, entry: Entry) -> None:
        """Something else is to be stored of the stream."""
        self.entry = entry
        self._entry_changed = True
        self._committer.wake(self)

    @property
    def continuable(self) -> bool:
        """Whether another node would go on with the answer, rather than fail it."""
        return self.entry.request is not None and self.entry.lease != 0

    @property
    def floor(self) -> int:
        """Records after this number have to stay in the log: they are not stored, and the engine works."""
        return self._stream.log.head if self._committer.failing else self.stored

    @property
    def behind(self) -> bool:
        """Whether there is something that is not stored."""
        return not self._lost and (bool(self._pending) or self._entry_changed or self.stored < self._stream.log.head)

    def release(self) -> None:
        """Storage fails: nobody has to wait for it."""
        self._stream.moved()

    async def known(self) -> None:
        """Wait until other nodes can find the stream."""
        await self._known.wait()

    # ---- for the committer

    def next_write(self) -> Write | None:
        """What to store next, or None."""
        if not self.behind:
            return None
        log = self._stream.log
        after = max(self.stored, log.oldest - 1)
        if after < log.head:
            records: Sequence[Record] = log.read(after, WRITE_BYTES)
        else:
            records = self._some_pending()
        return Write(
            log.stream,
            log.epoch,
            self.fence,
            after + 1,
            len(records),
            codec.encode(records) if records else b"",
            log.oldest,
            bool(records) and isinstance(records[-1][0], TERMINAL),
            self.entry if self._entry_changed else None,
        )

    def _some_pending(self) -> Sequence[Record]:
        size = 0
        for index, record in enumerate(self._pending):
            size += cost(record)
            if size > WRITE_BYTES:
                return self._pending[: index + 1]
        return self._pending

    def settle(self, write: Write, outcome: Outcome) -> None:
        """A write has been made, or refused for good."""
        if outcome is Outcome.STORED:
            self._settle(write)
        elif outcome is Outcome.FENCED:
            _log.warning("stream_lost", stream=write.stream, effect="another node goes on with it")
            self.give_up()
        else:  # the engine has lost it, and gets it again, as far as it is still here
            _log.warning("stream_stored_again", stream=write.stream)
            self.stored = self._stream.log.oldest - 1
            self._entry_changed = True

    def give_up(self) -> None:
        """Store nothing more of the stream, and let go of it here."""
        self._lost = True
        self._stream.abandon()

    def _settle(self, write: Write) -> None:
        self._known.set()
        if write.entry is self.entry:
            self._entry_changed = False
        arrived = max(0, write.last - max(self.stored, self._stream.log.head))
        self.stored = max(self.stored, write.last)
        if self._pending and arrived:
            records, self._pending = self._pending[:arrived], self._pending[arrived:]
            self.waiting -= sum(map(cost, records))
            if not self._stream.abandoned:  # else its log ends here, and what follows is for whoever goes on
                self._stream.append(records)
        self._stream.moved()


class Committer:
    """Stores what journals have, many of them at once, in one task.

    Args:
        strict: records are shown to nobody before they are stored.

    Attributes:
        failing: whether the engine did not take what it was given last.
        commits, writes, records: what has been stored so far.
    """

    def __init__(self, engine: Engine, *, strict: bool) -> None:
        self.strict = strict
        self.failing = False
        self.commits = self.writes = self.records = 0
        self._engine = engine
        self._due: dict[Journal, None] = {}
        self._busy = False
        self._wanted = trio.Event()
        self._idle = trio.Event()

    def open(self, stream: Stream, entry: Entry, *, fence: int = 1, stored: int = 0, new: bool = True) -> Journal:
        """The journal of a stream that this node owns.

        Args:
            new: whether the engine has yet to hear of it.
        """
        journal = Journal(stream, self, entry, fence=fence, stored=stored, new=new)
        if new:
            self.wake(journal)
        return journal

    def wake(self, journal: Journal) -> None:
        """A journal has something to store."""
        self._due[journal] = None
        if not self._wanted.is_set():
            self._wanted.set()

    async def run(self) -> None:
        """Store until cancelled."""
        while True:
            await self._wanted.wait()
            while self._due:
                await self._commit()
                if not self.strict and len(self._due) < COMMIT_WRITES:
                    await trio.sleep(GATHER)
            self._wanted = trio.Event()
            self._idle.set()
            self._idle = trio.Event()

    async def flush(self) -> None:
        """Wait until all is stored."""
        while self._due or self._busy:
            await self._idle.wait()

    async def _commit(self) -> None:
        writes = self._gather()
        if not writes:
            return
        self._busy = True
        try:
            outcomes = await self._insist(dict(writes))
        finally:
            self._busy = False
        self.commits += 1
        self.writes += len(writes)
        for (journal, write), outcome in zip(writes, outcomes, strict=True):
            self.records += write.count
            try:
                journal.settle(write, outcome)
            except Exception:  # whatever is wrong with one stream is not the others' fault
                _log.exception("stream_given_up", stream=write.stream)
                journal.give_up()
            if journal.behind:
                self.wake(journal)

    def _gather(self) -> list[tuple[Journal, Write]]:
        """The next commit: something of everybody, the longest waiting first."""
        found: list[tuple[Journal, Write]] = []
        size = 0
        for journal in list(self._due):
            if size > COMMIT_BYTES or len(found) >= COMMIT_WRITES:
                break
            del self._due[journal]
            write = journal.next_write()
            if write is not None:
                found.append((journal, write))
                size += len(write.data)
        return found

    async def _insist(self, writes: Mapping[Journal, Write]) -> Sequence[Outcome]:
        """Make these writes, however often it takes; the same ones, because some may have been made."""
        pause = PAUSES[0]
        while True:
            try:
                outcomes = await self._engine.commit(list(writes.values()))
            except EngineUnavailable as error:
                self._fail(error, [*writes, *self._due])
            else:
                self._recover()
                return outcomes
            await trio.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, PAUSES[1])

    def _fail(self, error: EngineUnavailable, journals: Sequence[Journal]) -> None:
        if self.failing:
            return
        self.failing = True
        effect = "nothing more is delivered" if self.strict else "running streams go on in memory alone"
        _log.error("storage_failing", error=error.message, effect=effect)
        for journal in journals:
            journal.release()

    def _recover(self) -> None:
        if self.failing:
            self.failing = False
            _log.info("storage_works_again", streams=len(self._due))
