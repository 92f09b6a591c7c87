"""The log: numbers that never change, whole frames at its beginning, and what it costs."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.streams.log import RECORD_OVERHEAD, Log, cost
from stream_protocols.events import (
    COVERED,
    Notice,
    Opaque,
    ReasoningDelta,
    Record,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
)
from tests.gateway.streams.rig import sized, texts, total


def log_of(*records: Record) -> Log:
    log = Log("s", "e")
    log.extend(records)
    return log


def frame(*words: str) -> list[Record]:
    """A vendor frame that says several things."""
    *before, last = words
    return [*((TextDelta(word), COVERED) for word in before), (TextDelta(last), b"{}")]


def test_an_empty_log() -> None:
    log = Log("s", "e")
    assert (log.head, log.oldest, log.size, log.sealed) == (0, 1, 0, False)
    assert log.after(0) == []
    assert log.read(0, 100) == []
    assert log.record(0) is None
    assert log.record(1) is None
    assert log.trim(0, 0) == 0
    assert log.surplus(0) == 0


def test_numbers_begin_at_one() -> None:
    log = log_of(*texts("a", "b"))
    assert log.extend(texts("c")) == total(texts("c"))
    assert (log.head, log.oldest) == (3, 1)
    assert log.record(1) == texts("a")[0]
    assert log.record(3) == texts("c")[0]
    assert log.record(4) is None
    assert log.after(1) == texts("b", "c")
    assert log.after(3) == []


def test_a_sealed_log_takes_nothing_more() -> None:
    log = log_of(*texts("a"))
    log.seal()
    with pytest.raises(RuntimeError, match="sealed"):
        log.extend(texts("b"))
    assert log.after(0) == texts("a")


@pytest.mark.parametrize(
    ("record", "extra"),
    [
        ((TextDelta("abcd"), None), 4),
        ((TextDelta("abcd"), b"123456"), 10),
        ((ReasoningDelta("ab"), COVERED), 2),
        ((ToolCallDelta(0), b"123"), 3),
        ((StreamFinished("stop"), None), 0),
    ],
)
def test_what_a_record_costs(record: Record, extra: int) -> None:
    assert cost(record) == RECORD_OVERHEAD + extra


# Reading


def test_reading_stops_at_its_bound_but_gives_at_least_one() -> None:
    log = log_of(*sized(300, 10))
    assert len(log.read(0, 900)) == 3
    assert len(log.read(0, 1199)) == 3
    assert len(log.read(4, 1)) == 1
    assert len(log.read(8, 10_000)) == 2
    assert log.read(10, 10_000) == []


def test_reading_never_cuts_a_frame() -> None:
    log = log_of(*texts("a"), *frame("b", "c", "d"), *texts("e"))
    assert len(log.read(0, 1)) == 1
    assert len(log.read(1, 1)) == 3
    assert len(log.read(2, 1)) == 2
    assert len(log.read(0, 2 * RECORD_OVERHEAD + 10)) == 4


def test_the_gateways_own_beginning_is_no_part_of_the_first_frame() -> None:
    log = log_of((StreamStarted("m"), COVERED), *frame("a", "b"))
    assert len(log.read(0, 1)) == 1
    assert log.trim(1, total(frame("a", "b"))) == cost((StreamStarted("m"), COVERED))
    assert log.oldest == 2


# Trimming


def test_trimming_drops_the_oldest_until_the_target_is_met() -> None:
    log = log_of(*sized(300, 10))
    assert log.trim(10, 1000) == 2100
    assert (log.oldest, log.head, log.size) == (8, 10, 900)
    assert log.trim(10, 900) == 0
    assert log.record(7) is None
    assert log.record(8) is not None


def test_trimming_spares_what_somebody_has_not_seen() -> None:
    log = log_of(*sized(300, 10))
    assert log.trim(4, 0) == 1200
    assert log.oldest == 5
    assert log.trim(4, 0) == 0


def test_trimming_drops_whole_frames_only() -> None:
    log = log_of(*frame("a", "b", "c"), *frame("d", "e"))
    assert log.trim(2, 0) == 0
    assert log.trim(4, 0) == total(frame("a", "b", "c"))
    assert log.oldest == 4
    assert log.trim(5, total(frame("d", "e")) - 1) == total(frame("d", "e"))
    assert (log.oldest, log.size) == (6, 0)


def test_what_was_trimmed_cannot_be_read() -> None:
    log = log_of(*sized(300, 5))
    log.trim(3, 0)
    for number in (0, 1, 2):
        with pytest.raises(LookupError):
            log.after(number)
        with pytest.raises(LookupError):
            log.read(number, 1)
    assert len(log.after(3)) == 2


def test_numbers_stay_after_many_trims() -> None:
    log = Log("s", "e")
    for number in range(1, 1001):
        log.extend([(Notice(str(number), ""), None)])
        log.trim(number - 1, 3 * RECORD_OVERHEAD)
        assert log.size <= 3 * RECORD_OVERHEAD
        assert [event.code for event, _ in log.after(log.oldest - 1) if isinstance(event, Notice)] == [
            str(kept) for kept in range(log.oldest, number + 1)
        ]


frames = st.lists(st.integers(1, 3), max_size=12).map(
    lambda sizes: list(itertools.chain.from_iterable(frame(*"abc"[:size]) for size in sizes))
)


@given(frames, st.integers(0, 4000))
def test_surplus_is_what_trimming_would_drop(records: list[Record], target: int) -> None:
    log = log_of(*records)
    surplus = log.surplus(target)
    log.trim(log.head, target)
    assert log.oldest - 1 == surplus
    assert log.size <= target


@given(frames, st.integers(0, 4000), st.integers(0, 4000))
def test_surplus_counts_from_what_is_kept(records: list[Record], first: int, second: int) -> None:
    log = log_of(*records, (Opaque(), b"{}"))
    log.trim(log.head, first)
    surplus = log.surplus(second)
    log.trim(log.head, second)
    assert log.oldest - 1 == surplus
