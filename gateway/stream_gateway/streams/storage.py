"""Storage: what a registry does with an engine.

A stream that this node does not hold is found there: one that has ended is loaded, one that runs elsewhere is mirrored,
and one whose owner has died is taken over.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import structlog
import trio

from stream_gateway.engines import codec
from stream_gateway.engines.engine import Claim, Engine, EngineUnavailable, Entry, Stored, Write
from stream_gateway.streams.journal import Committer
from stream_gateway.streams.mirror import DAMAGED, LINGER, Mirror
from stream_gateway.streams.ownership import Ownership
from stream_gateway.streams.producer import Generate
from stream_gateway.streams.stream import Stream, new_id
from stream_gateway.upstream.generation import INTERRUPTED
from stream_protocols.cursor import parse_cursor
from stream_protocols.errors import IllegalTransition, KeyConflict, Overloaded, UnknownStream
from stream_protocols.events import Record, StreamFailed

if TYPE_CHECKING:
    from stream_gateway.streams.registry import Registry

_log = structlog.get_logger()

PAGE_BYTES: Final = 1_048_576
"""Bytes that are read from an engine at once."""

FAREWELL: Final = 5.0
"""Seconds that storing the rest may take when the gateway ends."""

KNOWN_WITHIN: Final = 1.0
"""Seconds that a new stream may take to be found by other nodes, before its creator is told of it."""

Revive = Callable[[Entry, Sequence[Record]], Generate | None]
"""How to go on with an answer of which these records are stored; None: it cannot be."""


def _never(entry: Entry, records: Sequence[Record]) -> Generate | None:
    return None


class Storage:
    """An engine at work for one registry.

    Args:
        strict: records are shown to nobody before they are stored.
        lease: seconds after its last heartbeat for which a node owns its streams.

    Attributes:
        revive: set by whoever can ask providers.
    """

    def __init__(self, engine: Engine, *, strict: bool = False, lease: float = 10.0) -> None:
        self.engine = engine
        self.committer = Committer(engine, strict=strict)
        self.revive: Revive = _never
        self.registry: Registry
        self._ownership = Ownership(engine, self, lease)
        self._lease = lease
        self._bringing: dict[str, trio.Event] = {}
        self._scope = trio.CancelScope(shield=True)

    # ---- life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `finish`: being cancelled is for producers, whose last words have yet to be stored.

        Raises:
            EngineUnavailable: the engine cannot be used from the beginning.
        """
        async with trio.open_nursery() as starting:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.engine.run, self._ownership.hear)
                    with contextlib.suppress(EngineUnavailable):  # there will be another one
                        await self.engine.beat()
                    nursery.start_soon(self.committer.run)
                    nursery.start_soon(self._ownership.run)
                    task_status.started()
            starting.cancel_scope.cancel()

    async def finish(self) -> None:
        """Store what is left, and let others have what goes on."""
        with trio.move_on_after(FAREWELL, shield=True) as patience:
            await self.committer.flush()
            try:
                await self.engine.leave()
            except EngineUnavailable as error:
                _log.warning("lease_not_given_up", error=error.message)
        if patience.cancelled_caught:
            _log.error("not_all_stored", effect="what is missing is lost")
        self._scope.cancel()

    @property
    def failing(self) -> bool:
        """Whether the engine did not take what it was given last."""
        return self.committer.failing

    # ---- new streams

    def keep(self, stream: Stream, entry: Entry) -> None:
        """Store a new stream from now on.

        Raises:
            Overloaded: nobody would be shown anything of it.
        """
        if self.failing and self.committer.strict:
            raise Overloaded("The gateway cannot store streams right now; try again later.", retry_after=5)
        stream.journal = self.committer.open(stream, entry)

    async def announced(self, stream: Stream) -> None:
        """Wait until a new stream is stored, where somebody counts on that; not for long, nor while storage fails."""
        if (self.engine.shared or self.committer.strict) and stream.journal is not None and not self.failing:
            with trio.move_on_after(KNOWN_WITHIN):
                await stream.journal.known()

    async def claim(self, key: str, asked: bytes) -> tuple[Stream | None, str]:
        """The stream of an idempotency key, or the name that a new one has to have.

        Raises:
            KeyConflict: the key is another request's.
            Overloaded: it cannot be known right now whether there is one.
        """
        name = new_id()
        try:
            with _patience(self._lease):
                taken = await self.engine.claim(key, Claim(name, asked))
        except trio.Cancelled:  # whoever asks is gone, may have taken it, and will ask again
            with trio.CancelScope(shield=True):
                await self.release(key, Claim(name, asked))
            raise
        except EngineUnavailable:
            if self.committer.strict:
                raise
            return None, name
        if taken is None:
            return None, name
        if taken.asked != asked:
            raise key_conflict()
        with trio.move_on_after(KNOWN_WITHIN):
            while True:
                try:
                    return await self.open(taken.stream), taken.stream
                except UnknownStream:
                    await trio.sleep(KNOWN_WITHIN / 20)
        raise Overloaded("The stream of this key is being created; try again in a moment.", retry_after=1)

    async def release(self, key: str, claim: Claim) -> None:
        """Give back what `claim` has given, because the stream will not come; if that fails, it takes a minute."""
        try:
            with trio.move_on_after(KNOWN_WITHIN):
                await self.engine.release(key, claim)
        except EngineUnavailable as error:
            _log.warning("key_not_released", stream=claim.stream, error=error.message)

    async def forget(self, stream: Stream) -> None:
        """Drop what is stored of a stream that has ended; if that cannot be done, it goes when its time is up."""
        try:
            with trio.move_on_after(self._lease):
                await self.engine.forget(stream.id)
        except EngineUnavailable as error:
            _log.warning("stream_not_dropped", stream=stream.id, error=error.message)

    # ---- streams of others

    async def open(self, name: str, after: str | None = None) -> Stream:
        """A stream that is not here (any more, or yet).

        Args:
            after: the cursor that its reader shows. Its owner may have shown more than it has stored by now; that is
                waited for.

        Raises:
            UnknownStream: there is none.
            Overloaded: it cannot be had right now.
        """
        with trio.move_on_after(2 * self._lease + FAREWELL):
            while True:
                stream = self.registry.held(name)
                if stream is None:
                    async with self._alone(name):
                        await self._bring(name)
                elif after is not None and not await self._is_of_now(stream, after):
                    stream.abandon()
                elif await _reached(stream, after):
                    return stream
        raise Overloaded(f"Stream {name[:64]!r} is being moved; try again in a moment.", retry_after=1)

    async def open_alias(self, alias: str) -> Stream | None:
        """The stream whose provider calls its answer so.

        Raises:
            Overloaded: it cannot be had right now.
        """
        with _patience(self._lease):
            name = await self.engine.named(alias)
        return None if name is None else await self.open(name)

    async def _is_of_now(self, stream: Stream, after: str) -> bool:
        """Whether a stream here is what its engine has, where a reader's cursor is of another life of it than is known.

        This node may have been asleep while another one has taken the stream.
        """
        epoch = parse_cursor(after).position.epoch
        if epoch == stream.log.epoch or epoch in stream.log.lives or stream.log.sealed:
            return True
        stored = await self.engine.find(stream.id)
        return stored is None or stored.epoch == stream.log.epoch

    @contextlib.asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        """One task at a time brings a stream: many clients come at once when their node has died."""
        while name in self._bringing:
            await self._bringing[name].wait()
        self._bringing[name] = trio.Event()
        try:
            yield
        finally:
            self._bringing.pop(name).set()

    async def _bring(self, name: str) -> None:
        """Have a stream here, or raise; when it is not here afterwards, look again."""
        if self.registry.held(name) is not None:
            return
        stored = await self.engine.find(name)
        if stored is None:
            raise UnknownStream(f"There is no stream {name[:64]!r}; it never was, or it ended too long ago to be kept.")
        if stored.sealed or stored.alive:
            await self._load(stored)
        elif not await self._ownership.take(name):
            await trio.sleep(self._lease / 10)

    async def take(self, name: str) -> None:
        """Take an orphan over, if it still is one."""
        async with self._alone(name):
            await self._ownership.take(name)

    async def _load(self, stored: Stored) -> None:
        """What is stored of a stream; if it goes on elsewhere, its mirror."""
        stream = self.registry.restore(stored, stored.entry.lease if stored.sealed else LINGER)
        if not stored.sealed:
            stream.mirror = Mirror(stream, self.engine, self._ownership)
        damage = await self._read(stream, stored.head)
        if damage is not None:
            stream.append([(damage, None)])
        self.registry.admit(stream, stored.kept)
        if stream.mirror is not None and not stream.over:
            self.registry.start_soon(stream.mirror.run)
            stream.start_lease()

    async def _read(self, stream: Stream, head: int) -> StreamFailed | None:
        """Fill a log with what is stored; what is wrong with that, if anything.

        Raises:
            Overloaded: it cannot be had right now.
        """
        try:
            while stream.log.head < head and not stream.log.sealed:
                await self._read_page(stream)
        except (codec.Damaged, IllegalTransition) as error:
            _log.error("storage_damaged", stream=stream.id, error=str(error))
            return StreamFailed("storage_damaged", DAMAGED)
        except BaseException:
            stream.abandon()
            raise
        return None

    async def _read_page(self, stream: Stream) -> None:
        batches = await self.engine.read(stream.id, stream.log.head, PAGE_BYTES)
        if not batches or batches[0].first > stream.log.head + 1:
            raise Overloaded(f"Stream {stream.id!r} moves on too fast; try again.", retry_after=1)
        for batch in batches:
            stream.append(codec.decode(batch, stream.log.head))
        await trio.lowlevel.checkpoint()

    # ---- what their owners left

    async def adopt(self, stored: Stored) -> None:
        """Go on with a stream that this node has just become the owner of, or end it.

        Raises:
            Overloaded: it cannot be had right now.
        """
        if (former := self.registry.held(stored.entry.stream)) is not None:
            former.abandon()
        stream = self.registry.restore(stored, stored.entry.lease)
        damage = await self._read(stream, stored.head)
        if damage is not None:
            await self._seal(stream, stored, damage)
            return
        stream.journal = journal = self.committer.open(
            stream, stored.entry, fence=stored.fence, stored=stream.log.head, new=False
        )
        self.registry.admit(stream)
        generate = None
        if journal.continuable and stream.log.oldest == 1:
            generate = self.revive(stored.entry, stream.log.after(0))
        _log.info("stream_taken_over", stream=stream.id, events=stored.head, goes_on=generate is not None)
        if generate is None:
            stream.conclude(INTERRUPTED)
        else:
            stream.pulse.take_over(trio.current_time())
            self.registry.start(stream, generate)
            stream.start_lease()

    async def _seal(self, stream: Stream, stored: Stored, damage: StreamFailed) -> None:
        """End an orphan that cannot be read. Its end is stored behind the damage, and read in its place.

        Raises:
            Overloaded: it cannot be stored right now.
        """
        data = codec.encode([(damage, None)])
        end = Write(stream.id, stored.epoch, stored.fence, stored.head + 1, 1, data, stored.oldest, sealed=True)
        try:
            await self.engine.commit([end])
        except BaseException:
            stream.abandon()
            raise
        stream.append([(damage, None)])
        self.registry.admit(stream)


def key_conflict() -> KeyConflict:
    """A key that belongs to another request."""
    return KeyConflict("This key was used for another request; use a new key for each, such as a UUID.", param="key")


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """An engine that says nothing for so long is out of reach."""
    with trio.move_on_after(seconds) as limit:
        yield
    if limit.cancelled_caught:
        raise EngineUnavailable("The store of streams does not answer; try again.", retry_after=1)


async def _reached(stream: Stream, after: str | None) -> bool:
    """Wait until a mirror has what its reader has seen elsewhere; False: it has gone, look again."""
    if after is not None:
        position = parse_cursor(after).position
        needed = position.seq + (position.offset > 0)
        while (
            stream.mirror is not None
            and position.epoch == stream.log.epoch
            and stream.log.head < needed
            and not stream.over
        ):
            with stream.held():
                await stream.mirror.grown.wait()
    return not stream.abandoned
