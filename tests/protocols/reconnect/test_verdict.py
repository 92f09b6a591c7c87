"""Come back or stop, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.closing import CloseCode, should_reconnect
from stream_protocols.reconnect import STOP, Verdict, on_close, on_status

NOON = "Tue, 24 Nov 2026 12:00:00 GMT"
LATER = "Tue, 24 Nov 2026 12:01:30 GMT"


@pytest.mark.parametrize(
    "status", [204, 301, 302, 400, 401, 403, 404, 405, 406, 409, 410, 413, 422, 426, 501, 505, 511]
)
def test_final(status: int) -> None:
    assert on_status(status, retry_after="1") == STOP


@pytest.mark.parametrize("status", [408, 421, 425, 429, 500, 502, 503, 504, 520, 599])
def test_transient(status: int) -> None:
    assert on_status(status) == Verdict(True)


@pytest.mark.parametrize(
    ("retry_after", "date", "expected"),
    [
        ("7", None, 7),
        (" 0 ", None, 0),
        (LATER, NOON, 90),
        (NOON, LATER, 0),
        (LATER, None, None),
        ("soon", NOON, None),
        ("-5", NOON, None),
        ("1e9", NOON, None),
        ("9" * 5000, NOON, None),
        ("Tue, 24 Xxx 2026 12:00:00 GMT", NOON, None),
        ("Tue, 00 Nov 2026 12:00:00 GMT", NOON, None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", NOON, None),
    ],
)
def test_retry_after(retry_after: str, date: str | None, expected: float | None) -> None:
    assert on_status(503, retry_after=retry_after, date=date) == Verdict(True, expected)


@given(st.integers(100, 599), st.text(), st.text())
def test_any_answer_has_a_verdict(status: int, retry_after: str, date: str) -> None:
    verdict = on_status(status, retry_after=retry_after, date=date)
    assert verdict.after is None or verdict.after >= 0


@given(st.integers(0, 9999), st.text())
def test_close_codes_go_by_their_table(code: int, reason: str) -> None:
    assert on_close(code, reason).come_back is should_reconnect(code)


def test_a_restarting_gateway_says_when() -> None:
    assert on_close(CloseCode.DRAINING, "restarting; retry-after=2.75") == Verdict(True, 2.75)
    assert on_close(CloseCode.DRAINING, "restarting") == Verdict(True)
    assert on_close(CloseCode.DRAINING, "retry-after=" + "9" * 100).come_back
    assert on_close(CloseCode.UNAUTHORIZED, "retry-after=2") == STOP
