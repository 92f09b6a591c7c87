"""A dead link is found out in time, a quiet one is left alone, and a clock that jumps breaks neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.reconnect import Probe, Rhythm, Silence
from stream_protocols.reconnect.silence import FACTOR, MAX_ANNOUNCED, MAX_INTERVAL, SLACK, UNTAUGHT, Look

times = st.floats(-1e9, 1e9)


def test_without_a_lesson_three_default_intervals() -> None:
    link = Silence(Rhythm(), now=10)
    assert link.left(10) == UNTAUGHT
    assert link.left(10 + UNTAUGHT) == 0


def test_what_is_announced_is_known_before_the_first_keepalive() -> None:
    rhythm = Rhythm()
    link = Silence(rhythm, now=0)
    rhythm.announce("2.5")
    assert link.left(0) == FACTOR * 2.5 + SLACK
    rhythm.announce("4")
    assert link.left(0) == FACTOR * 4 + SLACK, "the gateway came back with another configuration"


def test_what_holds_keepalives_up_counts_beside_what_is_announced() -> None:
    rhythm = Rhythm()
    rhythm.announce("5")
    rhythm.learn(0.1)
    assert rhythm.interval == 5
    rhythm.learn(8)
    assert rhythm.interval == 8
    for _ in range(50):
        rhythm.learn(5)
    assert rhythm.interval == 5


@pytest.mark.parametrize("text", [None, "", "0", "0.0", "-1", "soon", "nan", "inf", "1e9", "15, 15", "٣"])
def test_an_announcement_that_says_nothing(text: str | None) -> None:
    rhythm = Rhythm()
    rhythm.announce(text)
    assert rhythm.interval is None


@given(st.text())
def test_whatever_is_announced_silence_is_bounded(text: str) -> None:
    rhythm = Rhythm()
    for said in (text, "999999999"):
        rhythm.announce(said)
        assert 0 < rhythm.allowed <= FACTOR * MAX_ANNOUNCED + SLACK


def test_keepalives_teach_how_long_silence_lasts() -> None:
    rhythm = Rhythm()
    link = Silence(rhythm, now=0)
    link.heard(1)
    link.heard(6, keepalive=True)
    assert rhythm.interval == 5
    assert link.left(6) == FACTOR * 5 + SLACK
    assert Silence(rhythm, now=6).left(6) == FACTOR * 5 + SLACK, "the next link knows, too"


def test_a_bunch_of_keepalives_is_no_rhythm() -> None:
    rhythm = Rhythm()
    link = Silence(rhythm, now=0)
    link.heard(10, keepalive=True)
    for _ in range(3):
        link.heard(10, keepalive=True)
    assert rhythm.interval is not None
    assert rhythm.interval > 7


def test_a_rhythm_that_became_shorter_is_believed_in_time() -> None:
    rhythm = Rhythm()
    for _ in range(50):
        rhythm.learn(60)
    for _ in range(50):
        rhythm.learn(1)
    assert rhythm.interval == 1


@given(st.lists(st.floats(0.05, 100), min_size=1), st.floats(0, 0.9))
def test_a_link_that_keeps_its_rhythm_is_never_dead(intervals: list[float], late: float) -> None:
    """Keepalives may come almost twice as late as the longest lesson."""
    interval = max(intervals)
    rhythm = Rhythm()
    now = 0.0
    link = Silence(rhythm, now)
    now += interval
    link.heard(now, keepalive=True)
    for _ in range(20):
        now += interval * (1 + late)
        assert link.left(now) > 0
        link.heard(now, keepalive=True)


@given(st.lists(st.tuples(times, st.booleans())), times)
def test_whatever_the_clock_does_silence_is_bounded(heard: list[tuple[float, bool]], now: float) -> None:
    rhythm = Rhythm()
    link = Silence(rhythm, 0)
    for time, keepalive in heard:
        link.heard(time, keepalive=keepalive)
    assert 0 <= link.left(now) <= max(UNTAUGHT, FACTOR * MAX_INTERVAL + SLACK)


def test_a_socket_is_asked_and_then_given_up() -> None:
    probe = Probe(10, now=0)
    assert probe.look(9) is Look.WAIT
    assert probe.due() == 10
    assert probe.look(10) is Look.ASK
    assert probe.look(19) is Look.WAIT
    assert probe.due() == 20
    assert probe.look(20) is Look.DEAD


def test_an_answer_is_life() -> None:
    probe = Probe(10, now=0)
    assert probe.look(10) is Look.ASK
    probe.heard(11)
    assert probe.look(20) is Look.WAIT
    assert probe.look(21) is Look.ASK


@given(times, times)
def test_a_jump_of_the_clock_never_kills_a_socket_unasked(now: float, jump: float) -> None:
    probe = Probe(10, now)
    assert probe.look(jump) is not Look.DEAD
    assert probe.due() <= jump + 10
