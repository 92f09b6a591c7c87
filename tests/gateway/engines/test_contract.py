"""What every engine promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stream_gateway.engines import codec
from stream_gateway.engines.engine import Batch, Claim, Entry, Outcome, Stored, Write
from stream_protocols.events import StreamFinished, TextDelta
from stream_protocols.request import Request
from tests.doubles.waiting import until
from tests.gateway.engines.conftest import UNCLOSED, Node, Rack

pytestmark = [pytest.mark.deadline(60), UNCLOSED]

REQUEST = Request("openai_chat", "m", True, b'{"model":"m"}', headers=(("a", "b"),), lease="finish")
ENTRY = Entry(stream="s", model="m", created=1, lease="finish", key="k", asked=b"digest", owner="me", request=REQUEST)


def write(
    first: int,
    count: int = 1,
    *,
    stream: str = "s",
    fence: int = 1,
    epoch: str = "e",
    sealed: bool = False,
    oldest: int = 1,
    entry: Entry | None = None,
) -> Write:
    """A write of so many records, each of which says its number."""
    records = [(TextDelta(str(number)), None) for number in range(first, first + count)]
    data = codec.encode(records) if count else b""
    return Write(stream, epoch, fence, first, count, data, oldest, sealed, entry)


def numbers(batches: Sequence[Batch], after: int = 0) -> list[int]:
    """The numbers that the records of batches say."""
    found = [record for batch in batches for record in codec.decode(batch, after)]
    return [int(event.text) for event, _ in found if isinstance(event, TextDelta)]


async def stored(node: Node, stream: str = "s") -> Stored:
    found = await node.engine.find(stream)
    assert found is not None
    return found


async def create(node: Node, count: int = 3, *, sealed: bool = False) -> None:
    assert await node.engine.commit([write(1, count, entry=ENTRY, sealed=sealed)]) == [Outcome.STORED]


# Writing and reading


async def test_what_was_committed_is_there_for_everybody(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    await create(one, 3)
    assert await one.engine.commit([write(4, 2), write(1, 1, stream="t", entry=ENTRY)]) == [Outcome.STORED] * 2
    for node in (one, two):
        found = await stored(node)
        assert found.entry == ENTRY
        assert (found.head, found.oldest, found.sealed, found.epoch, found.fence) == (5, 1, False, "e", 1)
        assert (found.node, found.alive, found.lives) == (one.engine.node, True, {})
        assert numbers(await node.engine.read("s", 0, 10**6)) == [1, 2, 3, 4, 5]
        assert numbers(await node.engine.read("s", 3, 10**6)) == [4, 5]
        assert numbers(await node.engine.read("s", 1, 10**6), 1) == [2, 3, 4, 5]
        assert await node.engine.read("s", 5, 10**6) == []


async def test_every_kind_of_record_comes_back_as_it_was(rack: Rack) -> None:
    node = await rack.node()
    records = [(TextDelta("é\u2028", 1), b""), (TextDelta("x"), b'{"raw":"\\u00e9"}'), (StreamFinished("stop"), None)]
    data = codec.encode(records)
    assert await node.engine.commit([Write("s", "e", 1, 1, 3, data, 1, True, ENTRY)]) == [Outcome.STORED]
    (batch,) = await node.engine.read("s", 0, 10**6)
    assert codec.decode(batch) == records


async def test_reading_is_bounded_and_never_empty(rack: Rack) -> None:
    node = await rack.node()
    await create(node, 1)
    for number in range(2, 30):
        await node.engine.commit([write(number)])
    assert numbers(await node.engine.read("s", 10, 1)) == [11]
    some = numbers(await node.engine.read("s", 10, 100))
    assert some == list(range(11, 11 + len(some)))
    assert 1 < len(some) < 15


async def test_what_is_not_there(rack: Rack) -> None:
    node = await rack.node()
    assert await node.engine.find("s") is None
    assert await node.engine.read("s", 0, 100) == []
    assert await node.engine.named("a") is None
    assert not await node.engine.tell("s", b"hello")
    assert await node.engine.commit([write(1)]) == [Outcome.MISSING]
    assert await node.engine.take("s", "f") is None
    await node.engine.forget("s")


async def test_a_write_that_is_made_twice_is_made_once(rack: Rack) -> None:
    node = await rack.node()
    batch = [write(1, 3, entry=ENTRY), write(1, 1, stream="t", entry=ENTRY, sealed=True)]
    assert await node.engine.commit(batch) == [Outcome.STORED] * 2
    assert await node.engine.commit(batch) == [Outcome.STORED] * 2
    assert numbers(await node.engine.read("s", 0, 10**6)) == [1, 2, 3]


async def test_nothing_follows_the_end(rack: Rack) -> None:
    node = await rack.node()
    await create(node, sealed=True)
    assert (await stored(node)).sealed
    assert await node.engine.commit([write(4)]) == [Outcome.FENCED]
    assert numbers(await node.engine.read("s", 0, 10**6)) == [1, 2, 3]


async def test_an_owner_trims(rack: Rack) -> None:
    node = await rack.node()
    await create(node, 3)
    await node.engine.commit([write(4, 3)])
    await node.engine.commit([write(7, 1, oldest=4)])
    assert ((await stored(node)).oldest, (await stored(node)).head) == (4, 7)
    assert numbers(await node.engine.read("s", 0, 10**6)) == [4, 5, 6, 7]
    await node.engine.commit([write(8, 1, oldest=6)])  # batches go whole
    assert numbers(await node.engine.read("s", 0, 10**6)) == [4, 5, 6, 7, 8]


async def test_a_hole_drops_what_was_before_it(rack: Rack) -> None:
    node = await rack.node()
    await create(node, 3)
    assert await node.engine.commit([write(10, 2, oldest=10)]) == [Outcome.STORED]
    assert ((await stored(node)).oldest, (await stored(node)).head) == (10, 11)
    assert numbers(await node.engine.read("s", 0, 10**6)) == [10, 11]


async def test_an_alias_comes_later(rack: Rack) -> None:
    node = await rack.node()
    await create(node)
    named = Entry(stream="s", model="m", created=1, alias="resp_1", key="k", asked=b"digest")
    assert await node.engine.commit([write(4, 0, entry=named)]) == [Outcome.STORED]
    assert await node.engine.named("resp_1") == "s"
    assert (await stored(node)).entry == named
    assert numbers(await node.engine.read("s", 0, 10**6)) == [1, 2, 3]


# The end


async def test_a_stream_expires_with_its_names(rack: Rack) -> None:
    node = await rack.node()
    named = Entry(stream="s", model="m", created=1, alias="resp_1", key="k", asked=b"digest")
    await node.engine.commit([write(1, 1, entry=named, sealed=True), write(1, 1, stream="t", entry=ENTRY)])
    assert 0 < (await stored(node)).kept <= rack.retain_for
    await rack.wait(rack.retain_for / 2)
    assert await node.engine.find("s") is not None
    await rack.wait(rack.retain_for)
    assert await node.engine.find("s") is None
    assert await node.engine.find("t") is not None


async def test_a_stream_is_forgotten_when_it_has_ended(rack: Rack) -> None:
    node = await rack.node()
    await create(node)
    await node.engine.forget("s")
    assert await node.engine.find("s") is not None
    await node.engine.commit([write(4, 1, sealed=True)])
    await node.engine.forget("s")
    assert await node.engine.find("s") is None
    assert await node.engine.read("s", 0, 100) == []
    assert await node.engine.claim("k", Claim("new", b"")) is None


# Keys


async def test_one_of_many_gets_a_key(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    assert await one.engine.claim("k", Claim("s", b"digest")) is None
    assert await two.engine.claim("k", Claim("t", b"other")) == Claim("s", b"digest")
    await create(one)
    assert await two.engine.claim("k", Claim("t", b"digest")) == Claim("s", b"digest")


async def test_a_key_whose_stream_does_not_come_is_given_back(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    assert await one.engine.claim("k", Claim("t", b"digest")) is None
    await two.engine.release("k", Claim("other", b"digest"))
    assert await two.engine.claim("k", Claim("s", b"digest")) == Claim("t", b"digest")
    await one.engine.release("k", Claim("t", b"digest"))
    assert await two.engine.claim("k", Claim("s", b"digest")) is None
    await create(two)
    await two.engine.release("k", Claim("s", b"digest"))
    assert await one.engine.claim("k", Claim("t", b"digest")) == Claim("s", b"digest")


async def test_a_key_is_free_when_its_stream_has_expired(rack: Rack) -> None:
    node = await rack.node()
    await create(node, sealed=True)
    await rack.wait(1.5 * rack.retain_for)
    assert await node.engine.claim("k", Claim("new", b"")) is None


# Ownership


async def test_a_node_that_renews_its_lease_keeps_its_streams(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    await create(one)
    for _ in range(4):
        await rack.wait(rack.lease / 2)
        await one.engine.beat()
        assert await two.engine.orphans(10) == []
        assert await two.engine.take("s", "f") is None
    assert await one.engine.commit([write(4)]) == [Outcome.STORED]


async def test_an_orphan_is_taken_once_and_its_former_owner_is_fenced(rack: Rack) -> None:
    one, two, three = await rack.node(), await rack.node(), await rack.node()
    await create(one)
    await rack.wait(1.5 * rack.lease)
    await two.engine.beat()
    await three.engine.beat()
    assert await two.engine.orphans(10) == ["s"]
    assert not (await stored(two)).alive
    taken = await two.engine.take("s", "f")
    assert taken is not None
    assert (taken.node, taken.fence, taken.epoch, taken.lives) == (two.engine.node, 2, "f", {"e": 3})
    assert await three.engine.take("s", "g") is None
    assert await three.engine.orphans(10) == []
    await one.engine.beat()  # it wakes up
    assert await one.engine.commit([write(4)]) == [Outcome.FENCED]
    assert await two.engine.commit([write(4, fence=2, epoch="f")]) == [Outcome.STORED]
    assert [batch.epoch for batch in await three.engine.read("s", 0, 10**6)] == ["e", "f"]
    assert (await stored(three)).lives == {"e": 3}


async def test_a_node_whose_lease_ran_out_goes_on_if_nobody_took_its_streams(rack: Rack) -> None:
    node = await rack.node()
    await create(node)
    await rack.wait(1.5 * rack.lease)
    await node.engine.beat()
    assert await node.engine.commit([write(4)]) == [Outcome.STORED]


async def test_taking_is_asked_again_when_the_answer_was_lost(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    await create(one)
    await one.engine.leave()
    taken = await two.engine.take("s", "f")
    assert await two.engine.take("s", "f") == taken
    assert await two.engine.take("s", "g") is None


async def test_lives_of_a_stream_that_is_taken_twice(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    await create(one)
    await one.engine.leave()
    await two.engine.take("s", "f")
    await two.engine.commit([write(4, 2, fence=2, epoch="f")])
    await one.engine.beat()
    await two.engine.leave()
    taken = await one.engine.take("s", "g")
    assert taken is not None
    assert (taken.lives, taken.fence, taken.head) == ({"e": 3, "f": 5}, 3, 5)


async def test_what_has_ended_is_no_orphan(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    await create(one, sealed=True)
    await one.engine.leave()
    assert await two.engine.orphans(10) == []
    assert await two.engine.take("s", "f") is None


async def test_orphans_come_in_bounded_numbers(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    await one.engine.commit([write(1, 1, stream=f"s{number}", entry=ENTRY) for number in range(20)])
    await one.engine.leave()
    assert len(await two.engine.orphans(7)) == 7


# Watching


class Watch:
    """What a watcher was fed."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def feed(self, batches: Sequence[Batch]) -> None:
        self.numbers += numbers(batches)


async def test_a_watcher_is_fed_what_is_there_and_what_comes(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    await create(one)
    await one.engine.commit([write(4)])
    watch = Watch()
    two.engine.watch("s", 3, watch.feed)
    await until(lambda: watch.numbers == [4])
    for number in range(5, 20):
        await one.engine.commit([write(number), write(number - 4, stream="t", entry=ENTRY)])
    await until(lambda: watch.numbers == list(range(4, 20)))
    two.engine.unwatch("s")
    other = Watch()
    two.engine.watch("t", 0, other.feed)
    await one.engine.commit([write(20), write(16, stream="t")])
    await until(lambda: other.numbers == list(range(1, 17)))
    assert watch.numbers == list(range(4, 20))


# Telling


async def test_an_owner_is_told(rack: Rack) -> None:
    one, two = await rack.node(), await rack.node()
    await create(one)
    assert await two.engine.tell("s", b"first")
    assert await two.engine.tell("s", b"second")
    await until(lambda: one.heard == [b"first", b"second"])
    assert two.heard == []
