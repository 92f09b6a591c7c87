"""The Redis engine: one script call for each commit, and one blocking read for all that a node waits for."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import anyio
import msgspec
import structlog
import trio
from coredis import Redis
from coredis.exceptions import RedisError
from coredis.retry import NoRetryPolicy

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
from stream_gateway.engines.redis import scripts

_log = structlog.get_logger()

T = TypeVar("T")

PATIENCE: Final = 3.0
"""Seconds for an answer of Redis."""

BLOCK: Final = 1.0
"""Seconds for which a read waits for news at a time."""

PAUSES: Final = (0.05, 1.0)
"""Seconds between two tries to reach Redis, at first and at most."""

PAGE: Final = 32
"""Batches of a stream in one reply; each is up to `WRITE_BYTES`."""

INBOX: Final = 10_000
"""Messages that wait for a node, about: it is asleep, or dead."""

CONNECTIONS: Final = 8

_ENTRY: Final = msgspec.msgpack.Decoder(Entry)
_CLAIM: Final = msgspec.msgpack.Decoder(Claim)
_LIVES: Final = msgspec.json.Decoder(dict[str, int])

_BROKEN: Final = (
    *(RedisError, OSError, EOFError, TimeoutError, trio.TooSlowError),
    *(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, EngineUnavailable),
)


class RedisEngine(Engine):
    """See `Engine`. Nothing is connected before `run`, which waits until Redis is there, and comes back to it later.

    Args:
        url: such as `redis://:password@host:6379/0`, or `rediss://` for TLS.
        prefix: of all keys.
    """

    shared = True

    def __init__(
        self, url: str, *, prefix: str = "stream-gateway", lease: float = 10.0, retain_for: float = 600.0
    ) -> None:
        self.node = secrets.token_urlsafe(6)
        self._url = url
        self._prefix = f"{prefix}:"
        self._lease = _milliseconds(lease)
        self._inbox_lease = 10 * self._lease
        self._retain_for = _milliseconds(retain_for)
        self._client: Redis[bytes] | None = None
        self._scripts: dict[str, Any] = {}
        self._watched: dict[str, tuple[int, Feed]] = {}
        self._newest = "0-0"  # the last message that was delivered
        self._stirred = False
        self._stir = trio.Event()

    # ---- life

    async def run(self, deliver: Deliver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Engine`."""
        told = False
        pause = PAUSES[0]
        while True:
            try:
                async with self._connected():
                    pause = PAUSES[0]
                    if not told:
                        told = True
                        task_status.started()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._wake_reader)
                        await self._read_news(deliver)
            except BaseExceptionGroup as group:
                broken, other = group.split(_BROKEN)
                if other is not None:
                    raise other from None
                _log.warning("redis_lost", error=_first(broken))
            except _BROKEN as error:
                _log.warning("redis_lost", error=_first(error))
            await trio.sleep(pause)
            pause = min(2 * pause, PAUSES[1])

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        settings: dict[str, Any] = {
            "retry_policy": NoRetryPolicy(),
            "connect_timeout": PATIENCE,
            "decode_components": True,  # a password may have any character, as in any other URL
            "stream_timeout": PATIENCE + BLOCK,
        }
        client = Redis.from_url(self._url, max_connections=CONNECTIONS, **settings)
        with trio.CancelScope(deadline=trio.current_time() + 2 * PATIENCE) as limit:
            async with client:
                await client.ping()
                limit.deadline = float("inf")
                self._scripts.clear()
                self._client = client
                try:
                    yield
                finally:
                    self._client = None
        if limit.cancelled_caught:
            raise EngineUnavailable("Redis does not answer", retry_after=1)

    async def _call(self, script: str, *args: str | bytes | int) -> Any:
        """Run a script."""
        client = self._client
        if client is None:
            raise EngineUnavailable("Redis cannot be reached", retry_after=1)
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = client.register_script(script)
        return await self._ask(registered(args=[self._prefix, *args]))

    async def _show(self, script: str, *args: str | bytes | int) -> Stored | None:
        """Run a script that answers with a stream."""
        found = await self._call(script, *args)
        try:
            return _stored(found)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # another version's, or somebody else's
            raise EngineUnavailable(f"Redis has a stream that cannot be read: {error}", retry_after=1) from None

    async def _ask(self, answer: Awaitable[T], patience: float = PATIENCE) -> T:
        try:
            with trio.fail_after(patience):
                return await answer
        except (*_BROKEN, RuntimeError) as error:  # the latter when its pool is closed at this moment
            raise EngineUnavailable(f"Redis does not do what it is asked: {_first(error)}", retry_after=1) from None
        except BaseExceptionGroup as group:
            broken, other = group.split(_BROKEN)
            if other is not None:
                raise
            raise EngineUnavailable(f"Redis does not do what it is asked: {_first(broken)}", retry_after=1) from None

    # ---- writing

    async def commit(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """See `Engine`."""
        args: list[str | bytes | int] = [self.node, self._retain_for]
        for write in writes:
            entry = write.entry
            claim = b"" if entry is None else msgspec.msgpack.encode(Claim(write.stream, entry.asked))
            args += [write.stream, write.epoch, write.fence, write.first, write.last, write.count, write.oldest]
            args += [int(write.sealed), b"" if entry is None else msgspec.msgpack.encode(entry)]
            args += ["" if entry is None else entry.alias or "", "" if entry is None else entry.key or ""]
            args += [claim, write.data]
        return [Outcome(outcome) for outcome in await self._call(scripts.COMMIT, *args)]

    async def claim(self, key: str, claim: Claim) -> Claim | None:
        """See `Engine`."""
        wanted = msgspec.msgpack.encode(claim)
        taken = await self._call(scripts.CLAIM, key, wanted, _milliseconds(CLAIM_SECONDS))
        return None if taken is None else _CLAIM.decode(taken)

    async def release(self, key: str, claim: Claim) -> None:
        """See `Engine`."""
        await self._call(scripts.RELEASE, key, msgspec.msgpack.encode(claim), claim.stream)

    async def forget(self, stream: str) -> None:
        """See `Engine`."""
        await self._call(scripts.FORGET, stream)

    # ---- reading

    async def find(self, stream: str) -> Stored | None:
        """See `Engine`."""
        return await self._show(scripts.FIND, stream)

    async def named(self, alias: str) -> str | None:
        """See `Engine`."""
        name = await self._ask(self._connection().get(f"{self._prefix}a:{alias}"))
        return None if name is None else name.decode()

    async def read(self, stream: str, after: int, max_bytes: int) -> Sequence[Batch]:
        """See `Engine`."""
        found: list[Batch] = []
        size = 0
        while True:
            start = f"{found[-1].last + 1 if found else after + 1}-0"
            page = await self._ask(
                self._connection().xrange(f"{self._prefix}l:{stream}", start=start, end="+", count=PAGE)
            )
            for entry in page or ():
                batch = _batch(entry)
                size += len(batch.data)
                if found and size > max_bytes:
                    return found
                found.append(batch)
            if not page or len(page) < PAGE:
                return found

    def _connection(self) -> "Redis[bytes]":
        if self._client is None:
            raise EngineUnavailable("Redis cannot be reached", retry_after=1)
        return self._client

    # ---- news

    def watch(self, stream: str, after: int, feed: Feed) -> None:
        """See `Engine`."""
        self._watched[stream] = (after, feed)
        self._stirred = True
        self._stir.set()

    def unwatch(self, stream: str) -> None:
        """See `Engine`."""
        self._watched.pop(stream, None)

    async def _wake_reader(self) -> None:
        """While the reader waits for what it knows of, it cannot look at anything else: it gets a word from itself."""
        while True:
            await self._stir.wait()
            self._stir = trio.Event()
            if self._stirred:
                inbox = f"{self._prefix}i:{self.node}"
                await self._ask(self._connection().xadd(inbox, {"w": b""}))

    async def _read_news(self, deliver: Deliver) -> None:
        """Feed watchers, and deliver messages, until the connection is lost."""
        inbox = f"{self._prefix}i:{self.node}"
        logs = f"{self._prefix}l:"
        while True:
            self._stirred = False
            wanted: dict[str, str] = {inbox: self._newest}
            for name, (after, _) in self._watched.items():
                wanted[logs + name] = f"{after}-0"
            news = self._connection().xread(wanted, count=PAGE, block=_milliseconds(BLOCK))
            answer: Any = await self._ask(news, PATIENCE + BLOCK)
            for key, entries in (answer or {}).items():
                name = key.decode()
                if name == inbox:
                    self._newest = entries[-1].identifier.decode()
                    for entry in entries:
                        if (message := entry.field_values.get(b"m")) is not None:
                            deliver(message)
                else:
                    self._feed(name.removeprefix(logs), [_batch(entry) for entry in entries])
            if answer and inbox.encode() in answer:
                done = [entry.identifier for entry in answer[inbox.encode()]]
                await self._ask(self._connection().xdel(inbox, done))

    def _feed(self, stream: str, batches: Sequence[Batch]) -> None:
        after, feed = self._watched.get(stream, (0, None))
        if feed is not None and batches[-1].last > after:
            self._watched[stream] = (batches[-1].last, feed)
            feed(batches)

    # ---- ownership

    async def beat(self) -> None:
        """See `Engine`."""
        await self._call(scripts.BEAT, self.node, self._lease, self._inbox_lease)

    async def leave(self) -> None:
        """See `Engine`."""
        await self._ask(self._connection().delete([f"{self._prefix}n:{self.node}", f"{self._prefix}i:{self.node}"]))

    async def orphans(self, limit: int) -> Sequence[str]:
        """See `Engine`."""
        return [name.decode() for name in await self._call(scripts.ORPHANS, limit)]

    async def take(self, stream: str, epoch: str) -> Stored | None:
        """See `Engine`."""
        return await self._show(scripts.TAKE, self.node, stream, epoch)

    async def tell_all(self, messages: Sequence[tuple[str, bytes]]) -> Sequence[bool]:
        """See `Engine`."""
        args = [part for message in messages for part in message]
        return [bool(told) for told in await self._call(scripts.TELL, INBOX, self._inbox_lease, *args)]


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * seconds))


def _stored(found: list[Any] | None) -> Stored | None:
    if not found:
        return None
    entry, node, fence, epoch, lives, head, oldest, sealed, alive, left = found
    return Stored(
        entry=_ENTRY.decode(entry),
        node=node.decode(),
        fence=int(fence),
        alive=bool(alive),
        epoch=epoch.decode(),
        head=int(head),
        oldest=int(oldest),
        sealed=sealed == b"1",
        lives=_LIVES.decode(lives),
        kept=max(0, left) / 1000 if sealed == b"1" else 0.0,
    )


def _batch(entry: Any) -> Batch:
    last = int(entry.identifier.partition(b"-")[0])
    fields = entry.field_values
    first = int(fields[b"f"])
    return Batch(fields[b"e"].decode(), first, last - first + 1, fields[b"d"])


def _first(error: BaseException | None) -> str:
    """What went wrong, without the exceptions around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
