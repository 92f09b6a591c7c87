"""What is particular to Redis: it goes away and comes back, and the engine with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
import trio

from stream_gateway.engines.engine import EngineUnavailable, Outcome
from stream_gateway.engines.redis.engine import CONNECTIONS, PATIENCE, RedisEngine
from tests.doubles.redis_server import RedisServer, redis_server
from tests.doubles.waiting import until
from tests.gateway.engines.conftest import UNCLOSED, Node
from tests.gateway.engines.test_contract import ENTRY, Watch, create, numbers, stored, write

pytestmark = [pytest.mark.deadline(60), UNCLOSED]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with redis_server(tmp_path) as server:
        yield server


async def node(nursery: trio.Nursery, server: RedisServer) -> Node:
    made = Node(RedisEngine(server.url, lease=10))
    await nursery.start(made.engine.run, made.heard.append)
    await made.engine.beat()
    return made


async def works(node: Node) -> None:
    """Wait until it is of use again."""
    with trio.fail_after(20):
        while True:
            try:
                await node.engine.beat()
            except EngineUnavailable:
                await trio.sleep(0.05)
            else:
                return


async def test_it_comes_back_by_itself_with_all_that_was_acknowledged(
    nursery: trio.Nursery, server: RedisServer
) -> None:
    one, two = await node(nursery, server), await node(nursery, server)
    await create(one)
    watch = Watch()
    two.engine.watch("s", 0, watch.feed)
    await until(lambda: watch.numbers == [1, 2, 3])
    for number in range(4, 7):
        await server.kill()
        with pytest.raises(EngineUnavailable, match="Redis"):
            await one.engine.commit([write(number)])
        await server.start()
        await works(one)
        await works(two)
        assert await one.engine.commit([write(number)]) == [Outcome.STORED]
        assert await two.engine.tell("s", b"%d" % number)
    await until(lambda: watch.numbers == [1, 2, 3, 4, 5, 6])
    await until(lambda: one.heard == [b"4", b"5", b"6"])
    assert (await stored(two)).head == 6


async def test_a_server_that_says_nothing_is_not_waited_for_for_long(
    nursery: trio.Nursery, server: RedisServer
) -> None:
    one = await node(nursery, server)
    await create(one)
    server.suspend()
    with trio.fail_after(PATIENCE + 3), pytest.raises(EngineUnavailable):
        await one.engine.commit([write(4, 2)])
    server.resume()
    await works(one)
    assert await one.engine.commit([write(4, 2)]) == [Outcome.STORED]  # it may have been made already
    assert numbers(await one.engine.read("s", 0, 10**6)) == [1, 2, 3, 4, 5]


async def test_a_gateway_that_starts_before_it_waits_for_it(nursery: trio.Nursery, server: RedisServer) -> None:
    await server.kill()
    ready = trio.Event()
    made = Node(RedisEngine(server.url))

    async def start() -> None:
        await nursery.start(made.engine.run, made.heard.append)
        ready.set()

    nursery.start_soon(start)
    await trio.sleep(0.3)
    assert not ready.is_set()
    await server.start()
    await ready.wait()
    assert await made.engine.commit([write(1, entry=ENTRY)]) == [Outcome.STORED]


async def test_a_storm_of_cancelled_calls_breaks_nothing(nursery: trio.Nursery, server: RedisServer) -> None:
    one = await node(nursery, server)
    await create(one)
    for number in range(200):
        with trio.move_on_after(0.0005 * (number % 5)):
            await one.engine.find("s")
    async with trio.open_nursery() as many:
        for _ in range(100):
            many.start_soon(stored, one)


async def test_readers_that_come_and_go_leave_no_connection(nursery: trio.Nursery, server: RedisServer) -> None:
    """A subscriber for each reader, which nobody ended."""
    one, two = await node(nursery, server), await node(nursery, server)
    await create(one)
    for _ in range(50):
        watch = Watch()
        two.engine.watch("s", 0, watch.feed)
        await until(lambda watch=watch: watch.numbers == [1, 2, 3])  # type: ignore[misc]
        two.engine.unwatch("s")
    assert len(await two.engine._connection().client_list()) <= 2 * (CONNECTIONS + 1)


async def names(node: Node, pattern: str) -> dict[str, int]:
    """The keys of that form, and the milliseconds for which they are there; -1: for ever."""
    client = node.engine._connection()  # type: ignore[attr-defined]
    return {key.decode(): await client.pttl(key) for key in await client.keys(f"stream-gateway:{pattern}")}


async def test_a_last_write_that_is_made_again_keeps_no_name_longer(nursery: trio.Nursery, server: RedisServer) -> None:
    made = Node(RedisEngine(server.url, retain_for=100))
    await nursery.start(made.engine.run, made.heard.append)
    last = write(1, 2, entry=msgspec.structs.replace(ENTRY, alias="a"), sealed=True)
    for _ in range(2):
        assert await made.engine.commit([last]) == [Outcome.STORED]
    kept = await names(made, "?:*")
    assert {f"stream-gateway:{name}" for name in ("s:s", "l:s", "a:a", "k:k")} <= set(kept)
    assert 0 < max(left for key, left in kept.items() if not key.endswith(f":i:{made.engine.node}")) <= 100_000


async def test_a_node_that_is_gone_leaves_no_inbox(nursery: trio.Nursery, server: RedisServer) -> None:
    one, two = await node(nursery, server), await node(nursery, server)
    inbox = f"i:{one.engine.node}"
    await one.engine._connection().xadd(f"stream-gateway:{inbox}", {"w": b""})  # type: ignore[attr-defined]
    await one.engine.beat()
    (left,) = (await names(one, inbox)).values()
    assert 0 < left <= 100_000
    await one.engine.leave()
    assert await names(two, inbox) == {}


async def test_a_stream_that_cannot_be_understood_harms_nobody_else(nursery: trio.Nursery, server: RedisServer) -> None:
    one = await node(nursery, server)
    await create(one)
    client = one.engine._connection()  # type: ignore[attr-defined]
    await client.hset("stream-gateway:s:s", {"entry": b"\xc1", "node": "nobody"})
    for ask in (one.engine.find("s"), one.engine.take("s", "e2")):
        with pytest.raises(EngineUnavailable, match="cannot be read"):
            await ask


async def test_a_password_may_have_any_character_and_is_told_nobody(
    nursery: trio.Nursery, server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await node(nursery, server)
    await one.engine._connection().config_set({"requirepass": "pa/ss#@ 1"})  # type: ignore[attr-defined]
    wrong = Node(RedisEngine(server.url.replace("//", "//:secret@")))
    nursery.start_soon(wrong.engine.run, wrong.heard.append)
    told: list[str] = []

    def has_told() -> bool:
        told.extend(capsys.readouterr())
        return "redis_lost" in "".join(told)

    await until(has_told)
    assert "secret" not in "".join(told)
    right = Node(RedisEngine(server.url.replace("//", f"//:{quote('pa/ss#@ 1', safe='')}@")))
    await nursery.start(right.engine.run, right.heard.append)
    await right.engine.beat()
