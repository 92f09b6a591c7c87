"""Streams across nodes: mirrored, moved, taken over; no event lost or twice, and nothing void shown as if it stood."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stream_gateway.engines import codec
from stream_gateway.engines.engine import Claim, EngineUnavailable, Stored
from stream_gateway.guard.principal import ANONYMOUS
from stream_gateway.streams.stream import MOVED
from stream_protocols.cursor import Gap
from stream_protocols.errors import KeyConflict, Overloaded, UnknownStream
from stream_protocols.events import StreamFailed, StreamStarted
from stream_protocols.lifecycle import State
from tests.gateway.streams.cluster import FINISHED, LEASE, REQUEST, Cluster
from tests.gateway.streams.rig import sized, texts

Clock = MockClock

pytestmark = pytest.mark.deadline(10_000)  # of a clock that jumps


@pytest.fixture
def cluster(nursery: trio.Nursery) -> Cluster:
    return Cluster(nursery)


@pytest.fixture
def strict(nursery: trio.Nursery) -> Cluster:
    return Cluster(nursery, strict=True)


async def settle() -> None:
    """Let everybody do all they can, and what is due be stored."""
    for _ in range(3):
        await trio.sleep(0.01)
        await wait_all_tasks_blocked()


# Reading elsewhere


async def test_a_stream_is_read_on_another_node_as_it_runs(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    one.say(stream, "a", "b")
    await settle()
    readers = [await two.reader(stream.id) for _ in range(3)]
    assert two.registry.held(stream.id) is readers[0].subscription.stream
    one.say(stream, "c")
    await settle()
    assert [reader.texts() for reader in readers] == [["a", "b", "c"]] * 3
    stream.extend(FINISHED)
    await settle()
    assert [reader.outcome for reader in readers] == [None] * 3
    assert readers[0].ids()[-1] == stream.cursor()


async def test_a_client_moves_between_nodes_and_sees_each_event_once(cluster: Cluster, autojump_clock: Clock) -> None:
    nodes = [await cluster.node() for _ in range(3)]
    stream = nodes[0].create()
    seen: list[str] = []
    cursor: str | None = None
    for number in range(30):
        nodes[0].say(stream, str(number))
        reader = await nodes[number % 3].reader(stream.id, cursor)
        await settle()
        seen += reader.texts()
        cursor = reader.ids()[-1] if reader.ids() else cursor
        reader.scope.cancel()
    assert seen == [str(number) for number in range(30)]


async def test_a_client_that_saw_more_than_is_stored_waits_for_it(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    one.say(stream, "a")
    await settle()
    one.engine.awake = trio.Event()  # storing takes a while
    one.say(stream, "b", "c")
    cursor = stream.cursor()
    async with trio.open_nursery() as nursery:
        readers = []

        async def come() -> None:
            readers.append(await two.reader(stream.id, cursor))

        nursery.start_soon(come)
        await trio.sleep(1)
        assert not readers
        one.engine.awake.set()
    one.say(stream, "d")
    await settle()
    assert readers[0].texts() == ["d"]
    assert readers[0].gap is None


async def test_an_ended_stream_is_loaded_by_whoever_needs_it(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    one.say(stream, *map(str, range(50)))
    stream.extend(FINISHED)
    await settle()
    one.scope.cancel()
    await one.gone.wait()
    reader = await two.reader(stream.id)
    await settle()
    assert reader.texts() == [str(number) for number in range(50)]
    assert reader.outcome is None
    assert two.registry.running == 0
    await trio.sleep(700)
    with pytest.raises(UnknownStream):
        await two.registry.open(stream.id, ANONYMOUS)
    assert two.budget.used == 0


async def test_nobody_has_it(cluster: Cluster, autojump_clock: Clock) -> None:
    node = await cluster.node()
    with pytest.raises(UnknownStream):
        await node.registry.open("nothing", ANONYMOUS)
    cluster.shelf.broken = "out of order"
    with pytest.raises(Overloaded, match="out of order"):
        await node.registry.open("nothing", ANONYMOUS)


async def test_a_mirror_that_nobody_reads_goes(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    reader = await two.reader(stream.id)
    reader.scope.cancel()
    await settle()
    assert two.registry.known == 1
    await trio.sleep(6)
    assert (two.registry.known, two.budget.used) == (0, 0)
    one.say(stream, "a")
    reader = await two.reader(stream.id)
    await settle()
    assert reader.texts() == ["a"]


async def test_a_mirror_that_cannot_keep_up_lets_its_clients_go(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(retain_bytes=3000), await cluster.node(retain_bytes=3000)
    stream = one.create()
    one.say(stream, "a")
    reader = await two.reader(stream.id, room=300)
    for _ in range(20):
        stream.extend(sized(1000))
        await settle()
    await trio.sleep(two.settings.stall_timeout + 1)
    assert reader.outcome == "lagged"
    resumed = await two.reader(stream.id, reader.ids()[-1])
    assert resumed.gap is not None
    assert resumed.gap.reason == "retention"


# Leases and commands


async def test_the_lease_does_not_run_while_somebody_reads_elsewhere(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create(lease=20)

    async def generate(stream: object) -> None:
        await trio.sleep_forever()

    one.registry.start(stream, generate)
    stream.start_lease()
    reader = await two.reader(stream.id)
    await trio.sleep(100)
    assert stream.state is State.RUNNING
    reader.scope.cancel()
    await trio.sleep(15)
    assert stream.state is State.RUNNING
    await trio.sleep(30)
    assert stream.state is State.CANCELLED


async def test_many_are_read_elsewhere_through_an_engine_that_takes_its_time(
    cluster: Cluster, autojump_clock: Clock
) -> None:
    one, two = await cluster.node(), await cluster.node()
    streams = [one.create(lease=5) for _ in range(50)]

    async def generate(stream: object) -> None:
        await trio.sleep_forever()

    for stream in streams:
        one.registry.start(stream, generate)
        await two.reader(stream.id)
    tell_all = two.engine.tell_all

    async def slow(messages: Sequence[tuple[str, bytes]]) -> Sequence[bool]:
        await trio.sleep(0.2)
        return await tell_all(messages)

    two.engine.tell_all = slow  # type: ignore[method-assign]
    await trio.sleep(5 * LEASE)
    assert {stream.state for stream in streams} == {State.RUNNING}


async def test_readers_on_a_node_that_died_do_not_count(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create(lease=5)

    async def generate(stream: object) -> None:
        await trio.sleep_forever()

    one.registry.start(stream, generate)
    await two.reader(stream.id)
    await trio.sleep(20)
    assert stream.state is State.RUNNING
    two.die()
    await trio.sleep(LEASE + 15)
    assert stream.state is State.CANCELLED


async def test_a_stream_is_cancelled_on_another_node(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()

    async def generate(stream: object) -> None:
        await trio.sleep_forever()

    one.registry.start(stream, generate)
    mirror = await two.registry.open(stream.id, ANONYMOUS) if await _stored(one) else None
    assert mirror is not None
    mirror.cancel("client")
    await mirror.ended.wait()
    assert (mirror.state, stream.state) == (State.CANCELLED, State.CANCELLED)


async def _stored(node) -> bool:  # type: ignore[no-untyped-def]
    await node.storage.committer.flush()
    return True


async def test_a_key_is_one_stream_on_all_nodes(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    found, name = await one.registry.claim("k", b"digest", ANONYMOUS)
    assert found is None
    async with trio.open_nursery() as nursery:
        others = []

        async def again() -> None:
            others.append(await two.registry.claim("k", b"digest", ANONYMOUS))

        nursery.start_soon(again)
        await trio.sleep(0.1)
        stream = one.registry.create(
            "demo", owner=ANONYMOUS.id, dialect=None, lease="finish", key="k", asked=b"digest", name=name
        )
    assert others[0][0].id == stream.id == name
    with pytest.raises(KeyConflict):
        await two.registry.claim("k", b"other", ANONYMOUS)
    with pytest.raises(KeyConflict):
        await one.registry.claim("k", b"other", ANONYMOUS)


async def test_a_key_is_free_again_when_its_stream_is_refused(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    _, name = await one.registry.claim("k", b"digest", ANONYMOUS)
    assert name is not None
    one.registry.release("k", name, b"digest", ANONYMOUS)
    await settle()
    with trio.CancelScope() as scope:  # a client that is gone when it has just got it
        scope.cancel()
        await one.registry.claim("k", b"digest", ANONYMOUS)
    claim = one.engine.claim

    async def slow(key: str, wanted: Claim) -> Claim | None:
        await claim(key, wanted)
        await trio.sleep_forever()
        return None

    one.engine.claim = slow  # type: ignore[method-assign]
    with trio.move_on_after(1):
        await one.registry.claim("k", b"digest", ANONYMOUS)
    found, name = await two.registry.claim("k", b"digest", ANONYMOUS)
    assert found is None
    assert name is not None


# When a node dies


async def test_an_orphan_ends_with_a_failure(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    one.say(stream, "a", "b")
    await settle()
    reader = await two.reader(stream.id)
    one.die()
    await trio.sleep(3 * LEASE)
    assert reader.texts() == ["a", "b"]
    assert reader.outcome == MOVED
    again = await two.reader(stream.id, reader.ids()[-1])
    await settle()
    assert again.gap is None
    assert [json.loads(event.data)["type"] for event in again.outlet.events()] == ["stream.failed"]
    terminal = again.subscription.stream.terminal
    assert isinstance(terminal, StreamFailed)
    assert terminal.code == "interrupted"


async def test_an_orphan_goes_on_where_its_route_allows_it(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    two.continuing([*texts("c", "d"), *FINISHED])
    stream = one.create(request=REQUEST)
    one.say(stream, "a", "b")
    await settle()
    cursor = stream.cursor()
    one.die()
    await trio.sleep(3 * LEASE)
    reader = await two.reader(stream.id, cursor)
    await settle()
    assert reader.gap is None
    assert reader.texts() == ["c", "d"]
    assert reader.outcome is None
    whole = await two.reader(stream.id)
    await settle()
    assert whole.texts() == ["a", "b", "c", "d"]


async def test_who_saw_what_was_not_stored_hears_of_it(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    two.continuing([*texts("c"), *FINISHED])
    stream = one.create(request=REQUEST)
    one.say(stream, "a", "b")
    await settle()
    stands = stream.log.head
    one.die()
    one.say(stream, "x", "y")  # shown to clients, and never stored
    await trio.sleep(3 * LEASE)
    reader = await two.reader(stream.id, stream.cursor())
    await settle()
    assert reader.gap == Gap("epoch", None, stands)
    assert reader.texts() == ["c"]


async def test_a_client_that_comes_before_the_lease_is_over_waits(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    two.continuing([*texts("c"), *FINISHED])
    stream = one.create(request=REQUEST)
    one.say(stream, "a")
    await trio.sleep(2 * LEASE)
    one.die()
    reader = await two.reader(stream.id)
    await trio.sleep(3 * LEASE)
    again = await two.reader(stream.id, reader.ids()[-1])
    await settle()
    assert reader.texts() + again.texts() == ["a", "c"]


async def test_a_node_that_slept_is_fenced_and_its_clients_move(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    two.continuing([*texts("c"), *FINISHED])
    stream = one.create(request=REQUEST)
    one.say(stream, "a", "b")
    await settle()
    reader = await one.reader(stream.id)
    one.engine.awake = trio.Event()
    await trio.sleep(3 * LEASE)
    one.say(stream, "x")
    one.engine.awake.set()
    await settle()
    assert reader.outcome == MOVED
    assert stream.abandoned
    again = await one.reader(stream.id, reader.ids()[-1])
    await settle()
    assert again.gap is not None
    assert again.gap.reason == "epoch"
    assert again.texts() == ["c"]
    assert one.registry.running == 0


async def test_orphans_are_shared_among_nodes_and_none_is_taken_twice(cluster: Cluster, autojump_clock: Clock) -> None:
    one = await cluster.node()
    others = [await cluster.node() for _ in range(3)]
    streams = [one.create() for _ in range(40)]
    await settle()
    one.die()
    await trio.sleep(3 * LEASE)
    for stream in streams:
        found = [node for node in others if node.registry.held(stream.id)]
        assert len(found) == 1
        assert found[0].registry.get(stream.id, ANONYMOUS).state is State.FAILED


async def test_when_all_have_lost_touch_nobody_takes_anything(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    streams = [node.create() for node in (one, two)]
    await trio.sleep(3 * LEASE)
    cluster.shelf.broken = "out of order"
    for stream in streams:
        stream.extend(texts("a"))
    await trio.sleep(5 * LEASE)
    assert [stream.log.head for stream in streams] == [2, 2]  # they have gone on in memory
    cluster.shelf.broken = None
    await trio.sleep(5 * LEASE)
    assert [stream.abandoned for stream in streams] == [False, False]
    assert [(await one.engine.find(stream.id)).head for stream in streams] == [2, 2]  # type: ignore[union-attr]


async def test_a_takeover_that_storage_interrupts_is_finished_later(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    await settle()
    await trio.sleep(2 * LEASE)
    take = two.engine.take

    async def take_and_break(name: str, epoch: str) -> Stored | None:
        await take(name, epoch)
        two.engine.take = take  # type: ignore[method-assign]
        cluster.shelf.broken = "out of order"
        raise EngineUnavailable("no answer")

    two.engine.take = take_and_break  # type: ignore[method-assign]
    one.die()
    await trio.sleep(4 * LEASE)
    assert cluster.shelf.broken
    cluster.shelf.broken = None
    with trio.move_on_after(LEASE):  # a client comes before the node is sure of anything
        await two.registry.open(stream.id, ANONYMOUS)
    await trio.sleep(4 * LEASE)
    assert (await two.registry.open(stream.id, ANONYMOUS)).state is State.FAILED


async def test_an_orphan_that_cannot_be_read_ends_for_all(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create(request=REQUEST)
    await settle()
    one.say(stream, "a")
    await settle()
    kept = cluster.shelf.streams[stream.id]
    kept.batches[-1] = msgspec.structs.replace(kept.batches[-1], data=b"\xc1")
    one.die()
    await trio.sleep(3 * LEASE)
    here = await two.registry.open(stream.id, ANONYMOUS)
    assert kept.sealed
    there = await (await cluster.node()).registry.open(stream.id, ANONYMOUS)
    for found in (here, there):
        assert isinstance(found.terminal, StreamFailed)
        assert found.terminal.code == "storage_damaged"
    assert here.log.head == there.log.head


async def test_a_mirror_of_what_is_gone_lets_its_clients_go(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    reader = await two.reader(stream.id)
    one.die()
    cluster.shelf.streams.clear()
    await trio.sleep(2 * LEASE)
    assert reader.outcome == "running"  # its owner may store it again
    await trio.sleep(3 * LEASE)
    assert reader.outcome == MOVED
    with pytest.raises(UnknownStream):
        await two.registry.open(stream.id, ANONYMOUS)


# When storage fails


async def test_what_was_not_stored_is_stored_when_it_works_again(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    cluster.shelf.broken = "out of order"
    reader = await one.reader(stream.id)
    one.say(stream, "a", "b")
    await trio.sleep(30)
    assert reader.texts() == ["a", "b"]
    assert one.storage.failing
    cluster.shelf.broken = None
    await trio.sleep(5)
    assert not one.storage.failing
    other = await two.reader(stream.id)
    await settle()
    assert other.texts() == ["a", "b"]


async def test_an_engine_that_has_lost_everything_gets_it_again(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    stream = one.create()
    one.say(stream, "a", "b")
    await settle()
    cluster.shelf.streams.clear()
    one.say(stream, "c")
    await settle()
    reader = await two.reader(stream.id)
    await settle()
    assert reader.texts() == ["a", "b", "c"]


async def test_a_long_outage_costs_no_more_memory_than_a_log(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(retain_bytes=5000), await cluster.node(retain_bytes=5000)
    stream = one.create()
    await settle()
    cluster.shelf.broken = "out of order"
    for _ in range(50):
        stream.extend(sized(1000))
        await trio.sleep(1)
    assert not stream.paused
    assert one.budget.used == stream.log.size <= 5000
    cluster.shelf.broken = None
    await trio.sleep(5)
    reader = await two.reader(stream.id)
    assert reader.subscription.stream.log.oldest == stream.log.oldest


async def test_a_slow_engine_slows_the_producer_down(cluster: Cluster, autojump_clock: Clock) -> None:
    one = await cluster.node(retain_bytes=5000)
    stream = one.create()
    await settle()
    one.engine.awake = trio.Event()
    for _ in range(6):
        stream.extend(sized(1000))
        await settle()
    assert stream.paused
    one.engine.awake.set()
    await settle()
    assert not stream.paused


async def test_ended_streams_that_are_not_stored_are_not_given_up(cluster: Cluster, autojump_clock: Clock) -> None:
    one = await cluster.node(retain_for=100)
    stream = one.create()
    await settle()
    cluster.shelf.broken = "out of order"
    stream.extend([*texts("a"), *FINISHED])
    await trio.sleep(500)
    assert one.registry.held(stream.id) is stream
    cluster.shelf.broken = None
    await trio.sleep(500)
    assert one.registry.held(stream.id) is None


# Strict


async def test_strict_shows_only_what_is_stored(strict: Cluster, autojump_clock: Clock) -> None:
    one = await strict.node()
    stream = one.create()
    await settle()
    reader = await one.reader(stream.id)
    one.engine.awake = trio.Event()
    one.say(stream, "a")
    stream.extend(FINISHED)
    one.say(stream, "after the end")
    await settle()
    assert (reader.texts(), stream.log.head, stream.over, stream.log.sealed) == ([], 1, True, False)
    one.engine.awake.set()
    await settle()
    assert (reader.texts(), reader.outcome) == (["a"], None)


async def test_strict_never_tells_of_a_gap(strict: Cluster, autojump_clock: Clock) -> None:
    one, two = await strict.node(), await strict.node()
    two.continuing([*texts("c"), *FINISHED])
    stream = one.create(request=REQUEST)
    await settle()
    reader = await one.reader(stream.id)
    one.say(stream, "a")
    await settle()
    one.die()
    one.say(stream, "x")
    await trio.sleep(3 * LEASE)
    again = await two.reader(stream.id, reader.ids()[-1])
    await settle()
    assert again.gap is None
    assert reader.texts() + again.texts() == ["a", "c"]


async def test_strict_pauses_the_producer_and_refuses_new_streams(strict: Cluster, autojump_clock: Clock) -> None:
    one = await strict.node(retain_bytes=5000)
    stream = one.create()
    await settle()
    strict.shelf.broken = "out of order"
    for _ in range(6):
        stream.extend(sized(1000))
        await settle()
    assert stream.paused
    with pytest.raises(Overloaded, match="cannot store"):
        one.create()
    strict.shelf.broken = None
    await trio.sleep(5)
    assert not stream.paused
    assert stream.log.head == 7


async def test_a_producer_that_says_nonsense_harms_its_stream_alone(strict: Cluster, autojump_clock: Clock) -> None:
    one, two = await strict.node(), await strict.node()
    broken, whole = one.create(), one.create()
    reader = await two.reader(broken.id)
    broken.extend([(StreamStarted("again"), None)])
    one.say(whole, "a")
    await settle()
    assert (broken.abandoned, whole.log.head) == (True, 2)
    assert isinstance(reader.subscription.stream.terminal, StreamFailed)


async def test_strict_hands_over_each_record_once(strict: Cluster, autojump_clock: Clock) -> None:
    one = await strict.node()
    stream = one.create(request=REQUEST)

    async def generate(stream: object) -> None:
        await trio.sleep_forever()

    one.registry.start(stream, generate)
    await settle()
    one.engine.awake = trio.Event()
    one.say(stream, "a", "b")
    await settle()
    one.say(stream, "c")
    one.scope.cancel()
    await settle()
    one.engine.awake.set()
    await one.gone.wait()
    found = await one.engine.read(stream.id, 0, 10**6)
    assert [event for batch in found for event, _ in codec.decode(batch)][1:] == [
        event for event, _ in texts("a", "b", "c")
    ]


# When a node leaves properly


async def test_a_node_that_leaves_hands_over_at_once(cluster: Cluster, autojump_clock: Clock) -> None:
    one, two = await cluster.node(), await cluster.node()
    two.continuing([*texts("c"), *FINISHED])
    await trio.sleep(2 * LEASE)
    goes_on, ends = one.create(request=REQUEST), one.create()

    async def generate(stream: object) -> None:
        await trio.sleep_forever()

    for stream in (goes_on, ends):
        one.say(stream, "a", "b")
        one.registry.start(stream, generate)
    cursor = goes_on.cursor()
    await settle()
    one.scope.cancel()
    await one.gone.wait()
    reader = await two.reader(goes_on.id, cursor)  # before the next heartbeat
    await settle()
    assert (reader.gap, reader.texts()) == (None, ["c"])
    other = await two.registry.open(ends.id, ANONYMOUS)
    assert other.state is State.CANCELLED
