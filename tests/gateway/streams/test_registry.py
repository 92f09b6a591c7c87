"""The registry: streams are found until they are forgotten, and memory has a limit."""

import pytest
import trio

from stream_gateway.config import QuotaSettings
from stream_gateway.guard.principal import ANONYMOUS, Principal
from stream_gateway.guard.quotas import Quotas
from stream_gateway.streams.registry import RETRY_AFTER
from stream_gateway.streams.stream import Stream, new_id
from stream_protocols.errors import KeyConflict, Overloaded, UnknownStream
from stream_protocols.events import Record, StreamFinished, StreamStarted, Usage
from stream_protocols.lifecycle import State
from tests.gateway.streams.conftest import MakeRig
from tests.gateway.streams.rig import Rig, settle, sized, texts

pytestmark = pytest.mark.deadline(10_000)

Clock = trio.testing.MockClock
FINISHED: list[Record] = [(StreamFinished("stop"), None)]


def known(rig: Rig, stream: Stream) -> bool:
    try:
        return rig.registry.get(stream.id, ANONYMOUS) is stream
    except UnknownStream:
        return False


def ended(rig: Rig, size: int = 1000) -> Stream:
    """A stream that has ended; what it said counts for `size` bytes."""
    stream = rig.stream()
    stream.extend([*sized(size), *FINISHED])
    return stream


async def test_a_stream_has_a_name_of_its_own_that_can_stand_in_urls(rig: Rig) -> None:
    streams = [rig.stream() for _ in range(100)]
    assert len({stream.id for stream in streams}) == 100
    assert len({stream.log.epoch for stream in streams}) == 100
    for stream in streams:
        assert rig.registry.get(stream.id, ANONYMOUS) is stream
        assert stream.id.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("name", ["", "nothing", "x" * 10_000, "../../etc", "\0"])
async def test_an_unknown_stream_is_a_clear_error(rig: Rig, name: str) -> None:
    with pytest.raises(UnknownStream) as caught:
        rig.registry.get(name, ANONYMOUS)
    assert len(caught.value.message) < 200


async def test_what_it_counts(rig: Rig) -> None:
    registry = rig.registry
    assert (registry.known, registry.running, registry.subscriptions) == (0, 0, 0)
    one, two = rig.stream(), rig.stream()
    reader = await rig.reader(one)
    assert (registry.known, registry.running, registry.subscriptions) == (2, 2, 1)
    two.extend(FINISHED)
    assert (registry.known, registry.running) == (2, 1)
    reader.scope.cancel()
    await reader.left.wait()
    assert registry.subscriptions == 0


async def test_nothing_runs_before_the_registry_does(nursery: trio.Nursery, rig: Rig) -> None:
    idle = Rig(nursery, rig.settings, 1000)
    with pytest.raises(RuntimeError, match="not running"):
        idle.registry.start_soon(trio.sleep, 0)


# Keys of the clients' own


async def test_a_key_finds_its_stream_while_that_is_kept(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.registry.create("demo", owner=ANONYMOUS.id, dialect=None, key="mine", asked=b"digest")
    rig.stream()
    assert rig.registry.find("mine", b"digest", ANONYMOUS) is stream
    assert rig.registry.find("other", b"digest", ANONYMOUS) is None
    with pytest.raises(KeyConflict) as caught:
        rig.registry.find("mine", b"another request", ANONYMOUS)
    assert (caught.value.status, caught.value.param) == (409, "key")
    stream.extend([(StreamStarted("demo"), None), *FINISHED])
    assert rig.registry.find("mine", b"digest", ANONYMOUS) is stream
    await trio.sleep(rig.settings.retain_for + 1)
    assert rig.registry.find("mine", b"digest", ANONYMOUS) is None
    again = rig.registry.create("demo", owner=ANONYMOUS.id, dialect=None, key="mine", asked=b"another request")
    assert rig.registry.find("mine", b"another request", ANONYMOUS) is again


# The provider's name for the answer


async def test_a_stream_is_found_by_its_providers_name(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.stream()
    stream.known_as("resp_1")
    stream.known_as("resp_2")
    assert rig.registry.known_as("resp_1", ANONYMOUS) is stream
    assert rig.registry.known_as("resp_2", ANONYMOUS) is None
    stream.extend(FINISHED)
    await trio.sleep(rig.settings.retain_for + 1)
    assert rig.registry.known_as("resp_1", ANONYMOUS) is None


async def test_the_newest_stream_of_a_name_counts(rig: Rig, autojump_clock: Clock) -> None:
    old, new = rig.stream(), rig.stream()
    old.known_as("resp_1")
    new.known_as("resp_1")
    old.extend(FINISHED)
    await trio.sleep(rig.settings.retain_for + 1)
    assert rig.registry.known_as("resp_1", ANONYMOUS) is new


async def test_an_ended_stream_gets_no_name(rig: Rig) -> None:
    ended(rig).known_as("resp_1")
    assert rig.registry.known_as("resp_1", ANONYMOUS) is None


# Discarding


async def test_only_what_has_ended_and_nobody_reads_is_discarded(rig: Rig) -> None:
    stream = rig.stream()
    assert not rig.registry.discard(stream)
    reader = await rig.reader(stream, room=0)
    stream.extend(FINISHED)
    assert not rig.registry.discard(stream)
    reader.scope.cancel()
    await reader.left.wait()
    assert rig.registry.discard(stream)
    assert not known(rig, stream)
    assert not rig.registry.discard(stream)
    assert (rig.budget.used, rig.registry.known, rig.registry.running) == (0, 0, 0)


# Retention


async def test_an_ended_stream_is_kept_for_a_while(rig: Rig, autojump_clock: Clock) -> None:
    stream = ended(rig)
    await trio.sleep(rig.settings.retain_for - 0.1)
    assert known(rig, stream)
    await trio.sleep(0.2)
    assert not known(rig, stream)
    assert rig.budget.used == 0
    assert (rig.registry.known, rig.registry.running) == (0, 0)


async def test_each_stream_has_its_own_time(rig: Rig, autojump_clock: Clock) -> None:
    streams = []
    for _ in range(5):
        streams.append(ended(rig))
        await trio.sleep(100)
    assert all(known(rig, stream) for stream in streams)
    for number in range(5):
        await trio.sleep(100 if number else 101)
        assert [known(rig, stream) for stream in streams] == [False] * (number + 1) + [True] * (4 - number)


async def test_a_running_stream_is_not_forgotten(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.stream()
    await trio.sleep(5 * rig.settings.retain_for)
    assert known(rig, stream)
    stream.extend(FINISHED)
    await trio.sleep(rig.settings.retain_for + 1)
    assert not known(rig, stream)


def test_no_command_line_takes_an_id_for_an_option() -> None:
    ids = [new_id() for _ in range(2_000)]
    assert len(set(ids)) == 2_000
    assert not any(name.startswith("-") for name in ids)


async def test_a_stream_that_is_being_read_is_kept_on(rig: Rig, autojump_clock: Clock) -> None:
    stream = ended(rig)
    reader = await rig.reader(stream, room=3)
    await trio.sleep(2.5 * rig.settings.retain_for)
    assert known(rig, stream)
    reader.outlet.allow(float("inf"))
    await reader.left.wait()
    assert len(reader.texts()) == 1
    await trio.sleep(rig.settings.retain_for)
    assert not known(rig, stream)


async def test_whoever_reads_on_while_it_is_forgotten_gets_the_rest(rig: Rig) -> None:
    stream = ended(rig)
    found = rig.registry.get(stream.id, ANONYMOUS)
    assert rig.registry.discard(stream)  # between finding a stream and attaching to it there may be a wait
    reader = await rig.reader(found)
    assert reader.outcome is None
    assert len(reader.texts()) == 1
    assert rig.budget.used == 0


async def test_one_that_has_ended_and_is_let_go_of_is_nowhere(rig: Rig, autojump_clock: Clock) -> None:
    # As a copy here whose storage was damaged, when this node takes the stream itself over.
    stream = ended(rig)
    stream.abandon()
    assert (rig.registry.known, rig.registry.running, rig.budget.used) == (0, 0, 0)
    rig.registry.admit(anew := rig.stream())
    await trio.sleep(2 * rig.settings.retain_for)
    assert known(rig, anew)


async def test_an_answer_longer_than_its_log_is_paid_for(make_rig: MakeRig, autojump_clock: Clock) -> None:
    rig = await make_rig(retain_bytes=4_000)
    quotas = Quotas(trio.current_time)
    payer = Principal(id="key:ann", name="Ann", quota=QuotaSettings(streams=1, tokens_per_minute=10_000))
    stream = rig.stream()
    stream.bill = quotas.generation(payer, 4)
    for record in sized(1000, 20):
        stream.extend([record])
    stream.extend([(Usage(input_tokens=1, output_tokens=9), None), *FINISHED])
    assert stream.log.oldest > 1
    assert rig.registry.running == 0
    quotas.generation(payer, 4).settle(0)
    await trio.sleep(1.5 * rig.settings.retain_for)
    assert not known(rig, stream)


# The budget


async def test_the_bytes_of_all_streams_are_counted(rig: Rig) -> None:
    one, two = rig.stream(), rig.stream()
    one.extend(texts("a"))
    two.extend(sized(5000, 3))
    assert rig.budget.used == one.log.size + two.log.size


async def test_ended_streams_make_room_oldest_first(make_rig: MakeRig) -> None:
    rig = await make_rig(budget=10_000)
    old = [ended(rig, 2000) for _ in range(4)]
    running = rig.stream()
    assert all(known(rig, stream) for stream in old)
    running.extend(sized(2000))
    assert [known(rig, stream) for stream in old] == [False, True, True, True]
    assert rig.budget.used < 10_000
    running.extend(sized(2000))
    assert [known(rig, stream) for stream in old] == [False, False, True, True]
    assert rig.budget.used == sum(stream.log.size for stream in (*old[2:], running))


async def test_ended_streams_that_are_being_read_are_spared(make_rig: MakeRig) -> None:
    rig = await make_rig(budget=10_000)
    read, unread = ended(rig, 3000), ended(rig, 3000)
    reader = await rig.reader(read, room=3)
    rig.stream().extend(sized(5000))
    assert known(rig, read)
    assert not known(rig, unread)
    reader.outlet.allow(float("inf"))
    await reader.left.wait()
    assert len(reader.texts()) == 1


async def test_running_streams_that_use_it_up_are_untouched_and_new_ones_refused(make_rig: MakeRig) -> None:
    rig = await make_rig(budget=10_000)
    stream = rig.stream()
    reader = await rig.reader(stream)
    for _ in range(4):
        stream.extend(sized(4000))
    assert stream.state is State.RUNNING
    assert len(reader.texts()) == 4
    with pytest.raises(Overloaded) as caught:
        rig.stream()
    assert caught.value.status == 503
    assert caught.value.retry_after == RETRY_AFTER
    assert rig.registry.known == 1
    # As soon as the stream has ended, and nobody reads it, a new one may take its place.
    stream.extend(FINISHED)
    await reader.left.wait()
    rig.stream()
    assert not known(rig, stream)


async def test_a_budget_used_up_by_what_is_being_read(make_rig: MakeRig) -> None:
    rig = await make_rig(budget=5000)
    read = ended(rig, 6000)
    reader = await rig.reader(read, room=3)
    with pytest.raises(Overloaded):
        rig.stream()
    reader.scope.cancel()
    await settle()
    rig.stream()
    assert not known(rig, read)


async def test_forgotten_for_room_before_its_time(make_rig: MakeRig, autojump_clock: Clock) -> None:
    rig = await make_rig(budget=5000, retain_for=10)
    early, late = ended(rig, 3000), ended(rig, 3000)
    assert [known(rig, stream) for stream in (early, late)] == [False, True]
    await trio.sleep(11)
    assert not known(rig, late)
    assert rig.budget.used == 0


async def test_trimming_gives_bytes_back(make_rig: MakeRig) -> None:
    rig = await make_rig(retain_bytes=3000)
    stream = rig.stream()
    for _ in range(100):
        stream.extend(sized(500))
        assert rig.budget.used == stream.log.size <= 3000
