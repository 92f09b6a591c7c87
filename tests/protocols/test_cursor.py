"""Cursors: one text for each position, and no position misread."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.cursor import (
    MAX_BYTES,
    MAX_NAMES,
    MAX_NUMBER,
    Cursor,
    Gap,
    Position,
    check,
    check_names,
    format_cursor,
    parse_cursor,
)
from stream_protocols.errors import CursorFromFuture, CursorOfAnotherStream, InvalidCursor, LocalError

names = st.from_regex(r"[A-Za-z0-9_-]{1,46}", fullmatch=True)
numbers = st.integers(0, MAX_NUMBER)


def at(seq: int, offset: int = 0, *, stream: str = "s", epoch: str = "e") -> Cursor:
    return Cursor(stream, Position(epoch, seq, offset))


def test_text_form() -> None:
    assert format_cursor("chat-7", "x1", 0) == "chat-7.x1.0"
    assert format_cursor("chat-7", "x1", 12, 5) == "chat-7.x1.12.5"
    assert parse_cursor("chat-7.x1.12.5") == at(12, 5, stream="chat-7", epoch="x1")


@given(names, names, numbers, numbers)
def test_round_trip_within_the_alphabet_and_the_length(stream: str, epoch: str, seq: int, offset: int) -> None:
    check_names(stream, epoch)
    text = format_cursor(stream, epoch, seq, offset)
    assert parse_cursor(text) == at(seq, offset, stream=stream, epoch=epoch)
    assert len(text) <= MAX_BYTES
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", text)


@given(st.text(alphabet="ab01._-~ ²٣\n", max_size=14) | st.text())
def test_what_parses_is_canonical(text: str) -> None:
    try:
        cursor = parse_cursor(text)
    except InvalidCursor:
        return
    position = cursor.position
    assert format_cursor(cursor.stream, position.epoch, position.seq, position.offset) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "s.e",
        "s.e.",
        "s..1",
        ".e.1",
        "s.e.1.",
        "s.e.1.2.3",
        "s.e.01",
        "s.e.00",
        "s.e.1.0",
        "s.e.1.01",
        "s.e.-1",
        "s.e.+1",
        "s.e.1_0",
        "s.e.1 ",
        " s.e.1",
        "s.e.1\n",
        "s.e.٣",
        "s.e.²",
        "s~.e.1",
        "ä.e.1",
        "s/x.e.1",
        f"s.e.{MAX_NUMBER + 1}",
        f"s.e.1.{MAX_NUMBER + 1}",
        "s.e." + "9" * 100,
        "s" * MAX_BYTES + ".e.1",
        "x" * 1_000_000,
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(InvalidCursor) as error:
        parse_cursor(text)
    assert len(error.value.message) < 2 * MAX_BYTES


@pytest.mark.parametrize("names", [("", "e"), ("s", ""), ("a.b", "e"), ("s", "ä"), ("s" * MAX_NAMES, "e")])
def test_names_that_no_cursor_can_carry(names: tuple[str, str]) -> None:
    with pytest.raises(LocalError):
        check_names(*names)


def test_positions_are_ordered_within_an_epoch() -> None:
    positions = [
        Position("e", 0),
        Position("e", 0, 9),
        Position("e", 1),
        Position("e", 1, 1),
        Position("e", 10),
    ]
    assert sorted({*positions}) == positions
    assert Position("e", 1) <= Position("e", 1)
    assert Position("e", 2) > Position("e", 1, 99)
    assert len({Position("e", 1), Position("e", 1, 0)}) == 1


@pytest.mark.parametrize("other", [Position("f", 2), 2])
def test_positions_of_different_epochs_have_no_order(other: object) -> None:
    with pytest.raises(TypeError):
        assert Position("e", 1) < other
    assert Position("e", 1) != other


@pytest.mark.parametrize(
    ("cursor", "head", "oldest"),
    [
        (at(0), 0, 1),  # nothing yet
        (at(0), 9, 1),
        (at(9), 9, 1),
        (at(8, 3), 9, 1),
        (at(4), 9, 5),
        (at(4, 2), 9, 5),  # in the oldest event that is left
        (at(9), 9, 10),  # nothing left, nothing missed
    ],
)
def test_exact(cursor: Cursor, head: int, oldest: int) -> None:
    assert check(cursor, stream="s", epoch="e", head=head, oldest=oldest) is None


@pytest.mark.parametrize(
    ("cursor", "head", "oldest", "missed"),
    [
        (at(3), 9, 5, 1),
        (at(3, 2), 9, 5, 1),
        (at(0), 9, 5, 4),
        (at(0), 9, 10, 9),  # everything has been dropped
    ],
)
def test_older_than_retention(cursor: Cursor, head: int, oldest: int, missed: int) -> None:
    gap = check(cursor, stream="s", epoch="e", head=head, oldest=oldest)
    assert gap == Gap("retention", missed, oldest - 1)


@pytest.mark.parametrize("seq", [0, 3, 10, MAX_NUMBER])
def test_another_epoch_is_a_gap_whatever_the_number(seq: int) -> None:
    gap = check(at(seq, epoch="before"), stream="s", epoch="after", head=9, oldest=5)
    assert gap == Gap("epoch", None, 4)


@pytest.mark.parametrize("cursor", [at(10), at(9, 1), at(MAX_NUMBER)])
def test_from_the_future(cursor: Cursor) -> None:
    with pytest.raises(CursorFromFuture):
        check(cursor, stream="s", epoch="e", head=9, oldest=1)


def test_of_another_stream() -> None:
    with pytest.raises(CursorOfAnotherStream):
        check(at(1, stream="other"), stream="s", epoch="e", head=9, oldest=1)


@given(st.data())
def test_replayed_and_missed_are_all_there_was(data: st.DataObject) -> None:
    head = data.draw(st.integers(0, 50))
    oldest = data.draw(st.integers(1, head + 1))
    seq = data.draw(st.integers(0, head))
    gap = check(at(seq), stream="s", epoch="e", head=head, oldest=oldest)
    resume, missed = (gap.resume_seq, gap.missed) if gap else (seq, 0)
    assert missed is not None
    assert resume + 1 >= oldest
    assert seq + missed + len(range(resume + 1, head + 1)) == head


# A log that goes on under another epoch


LIVES = {"e": 50, "f": 80}


@pytest.mark.parametrize(("seq", "offset"), [(0, 0), (49, 3), (50, 0)])
def test_what_stands_of_an_earlier_life_is_a_place_in_the_new_one(seq: int, offset: int) -> None:
    cursor = Cursor("s", Position("e", seq, offset))
    assert check(cursor, stream="s", epoch="g", head=100, oldest=1, lives=LIVES) is None


@pytest.mark.parametrize(("epoch", "seq", "offset", "stands"), [("e", 50, 1, 50), ("e", 57, 0, 50), ("f", 81, 0, 80)])
def test_what_is_void_of_an_earlier_life_is_a_gap(epoch: str, seq: int, offset: int, stands: int) -> None:
    cursor = Cursor("s", Position(epoch, seq, offset))
    assert check(cursor, stream="s", epoch="g", head=100, oldest=1, lives=LIVES) == Gap("epoch", None, stands)
    assert check(cursor, stream="s", epoch="g", head=100, oldest=91, lives=LIVES) == Gap("epoch", None, 90)


def test_what_stands_and_was_trimmed() -> None:
    cursor = Cursor("s", Position("e", 40))
    assert check(cursor, stream="s", epoch="g", head=100, oldest=61, lives=LIVES) == Gap("retention", 20, 60)


def test_an_epoch_that_was_none_of_its_lives() -> None:
    cursor = Cursor("s", Position("x", 40))
    assert check(cursor, stream="s", epoch="g", head=100, oldest=1, lives=LIVES) == Gap("epoch", None, 0)
