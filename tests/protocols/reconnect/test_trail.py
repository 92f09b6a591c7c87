"""Every event once, in order; a gap is told when there is one, once, and only then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from stream_protocols.cursor import Gap, check, format_cursor, parse_cursor
from stream_protocols.reconnect import Admitted, Trail


def at(seq: int, offset: int = 0, epoch: str = "e") -> str:
    return format_cursor("s", epoch, seq, offset)


def test_in_order() -> None:
    trail = Trail()
    assert trail.cursor is None
    assert [trail.admit(at(seq)) for seq in (1, 2, 5)] == [Admitted(None)] * 3
    assert trail.cursor == at(5)


def test_what_was_seen_is_not_admitted_again() -> None:
    trail = Trail(at(5))
    assert [trail.admit(at(seq)) for seq in (3, 5)] == [None, None]
    assert trail.cursor == at(5)
    assert trail.admit(at(5, 3)) is not None
    assert trail.admit(at(5, 2)) is None
    assert trail.admit(at(6)) is not None


def test_a_gap_is_told_with_the_event_after_it() -> None:
    trail = Trail(at(5))
    gap = Gap("retention", 4, 9)
    trail.announce(gap)
    assert trail.admit(at(10)) == Admitted(gap)
    assert trail.admit(at(11)) == Admitted(None)


def test_a_gap_that_was_announced_twice_is_told_once_and_as_it_is() -> None:
    trail = Trail(at(5))
    trail.announce(Gap("retention", 4, 9))  # and the connection is lost
    trail.announce(Gap("retention", 6, 11))
    assert trail.admit(at(12)) == Admitted(Gap("retention", 6, 11))


def test_a_gap_that_is_gone_with_its_connection_is_none() -> None:
    trail = Trail(at(5))
    trail.announce(Gap("retention", 4, 9))
    trail.announce(None)
    assert trail.admit(at(6)) == Admitted(None)


def test_what_was_seen_cannot_be_missing() -> None:
    trail = Trail(at(9))
    trail.announce(Gap("retention", 4, 9))
    assert trail.admit(at(10)) == Admitted(None)


def test_a_stream_whose_beginning_is_gone() -> None:
    trail = Trail()
    gap = Gap("retention", 9, 9)
    trail.announce(gap)
    assert trail.admit(at(10)) == Admitted(gap)


def test_another_epoch_is_a_gap_even_if_nobody_says_so() -> None:
    trail = Trail(at(40))
    assert trail.admit(at(3, epoch="f")) == Admitted(Gap("epoch", None, 2))
    assert trail.admit(at(4, epoch="f")) == Admitted(None)


def test_another_epoch_is_none_when_the_gateway_knows_the_former_one() -> None:
    trail = Trail(at(40))
    trail.announce(None)  # it was shown the cursor, and says that nothing is missing
    assert trail.admit(at(41, epoch="f")) == Admitted(None)
    assert trail.admit(at(42, epoch="g")) == Admitted(Gap("epoch", None, 41))


@pytest.mark.parametrize("strange", ["v2:abc", "", "é"])
def test_cursors_of_another_form_are_taken_as_they_are(strange: str) -> None:
    trail = Trail(at(1))
    assert trail.admit(strange) == Admitted(None)
    assert trail.admit(strange) is None
    assert trail.cursor == strange
    assert trail.admit(at(2)) == Admitted(None)


@given(st.data())
def test_any_connections_to_any_log(data: DataObject) -> None:
    """A log grows and is trimmed; connections begin at the cursor, repeat some, and break anywhere.

    Whatever was readable when it was asked for is admitted exactly once, in order; and a gap is told exactly where
    something sendable is missing.
    """
    trail, admitted, told = Trail(), [], []
    head = oldest = 1
    for _ in range(data.draw(st.integers(1, 8))):
        head += data.draw(st.integers(0, 6))
        oldest = data.draw(st.integers(oldest, head))
        after = trail.cursor or at(0)
        gap = check(parse_cursor(after), stream="s", epoch="e", head=head, oldest=oldest)
        start = parse_cursor(after).position.seq if gap is None else gap.resume_seq
        trail.announce(gap)
        repeated = data.draw(st.integers(0, start - oldest + 1)) if gap is None and start >= oldest else 0
        last = data.draw(st.integers(start, head))
        for seq in range(start - repeated + 1, last + 1):
            admission = trail.admit(at(seq))
            if admission is not None:
                if admission.gap is not None:
                    told.append((admitted[-1] if admitted else 0, seq))
                admitted.append(seq)
    assert admitted == sorted(set(admitted))
    jumps = [(one, other) for one, other in zip([0, *admitted], admitted, strict=False) if other != one + 1]
    assert told == jumps
