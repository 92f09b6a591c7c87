"""Close codes: the table is complete, and the ranges mean what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.closing import CLOSINGS, MAX_REASON_BYTES, CloseCode, should_reconnect


def test_every_code_is_in_the_table() -> None:
    assert set(CLOSINGS) == set(CloseCode)


@pytest.mark.parametrize("code", CloseCode)
def test_the_table_agrees_with_the_answer(code: CloseCode) -> None:
    assert should_reconnect(code) is CLOSINGS[code].reconnect


@pytest.mark.parametrize("code", CloseCode)
def test_a_meaning_fits_in_a_close_frame(code: CloseCode) -> None:
    assert 0 < len(CLOSINGS[code].meaning.encode()) <= MAX_REASON_BYTES


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, False),
        (1006, True),
        (1012, True),
        (2999, False),
        (3000, False),
        (3999, False),
        (4000, True),
        (4499, True),
        (4500, False),
        (4999, False),
        (5000, False),
        (0, False),
    ],
)
def test_ranges(code: int, expected: bool) -> None:
    assert should_reconnect(code) is expected


@given(st.integers())
def test_any_number_has_an_answer(code: int) -> None:
    assert should_reconnect(code) in (True, False)
