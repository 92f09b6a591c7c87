"""Down when a transport does not work here, up again when it does, and never down for the network's fault."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.reconnect import Blame, Ladder
from stream_protocols.reconnect.ladder import EARLY_LIMIT, MAX_RETRY_BETTER, RETRY_BETTER

RUNGS = ("websocket", "sse", "poll")


def test_the_best_first() -> None:
    assert Ladder(RUNGS).choose(0) == "websocket"


def test_a_refused_transport_is_left_at_once() -> None:
    ladder = Ladder(RUNGS)
    assert ladder.failed("websocket", Blame.TRANSPORT, 0)
    assert ladder.choose(1) == "sse"


def test_a_transport_that_brings_nothing_is_left_after_a_few_tries() -> None:
    ladder = Ladder(RUNGS)
    falls = [ladder.failed("websocket", Blame.EARLY, 0) for _ in range(EARLY_LIMIT)]
    assert falls == [False] * (EARLY_LIMIT - 1) + [True]


def test_what_works_clears_it_of_suspicion() -> None:
    ladder = Ladder(RUNGS)
    for _ in range(10):
        ladder.failed("websocket", Blame.EARLY, 0)
        ladder.worked("websocket")
    assert ladder.choose(1) == "websocket"


def test_a_network_that_is_down_is_no_transports_fault() -> None:
    ladder = Ladder(RUNGS)
    assert not any(ladder.failed("websocket", Blame.NETWORK, now) for now in range(1000))
    assert ladder.choose(1000) == "websocket"


def test_there_is_nothing_below_the_last() -> None:
    ladder = Ladder(["poll"])
    assert not ladder.failed("poll", Blame.TRANSPORT, 0)
    assert ladder.choose(1) == "poll"


def test_the_better_one_is_tried_by_one_stream_when_its_time_has_come() -> None:
    ladder = Ladder(RUNGS)
    ladder.failed("websocket", Blame.TRANSPORT, 0)
    assert ladder.choose(RETRY_BETTER - 1) == "sse"
    assert ladder.choose(RETRY_BETTER) == "websocket"
    assert ladder.choose(RETRY_BETTER) == "sse", "the others do not wait for the outcome"
    ladder.worked("websocket")
    assert ladder.choose(RETRY_BETTER) == "websocket"


def test_vain_tries_become_rare() -> None:
    ladder = Ladder(RUNGS)
    ladder.failed("websocket", Blame.TRANSPORT, 0)
    now, tries = 0.0, []
    while now < 5 * MAX_RETRY_BETTER:
        now += 1
        if ladder.choose(now) == "websocket":
            tries.append(now)
            ladder.failed("websocket", Blame.EARLY, now)
    waits = [late - early for early, late in itertools.pairwise(tries)]
    assert waits[:3] == [2 * RETRY_BETTER, 4 * RETRY_BETTER, 8 * RETRY_BETTER]
    assert waits[-1] == MAX_RETRY_BETTER


def test_step_by_step_down_and_up() -> None:
    ladder = Ladder(RUNGS, retry_better=1)
    ladder.failed("websocket", Blame.TRANSPORT, 0)
    ladder.failed("sse", Blame.TRANSPORT, 0)
    assert ladder.choose(0) == "poll"
    assert ladder.choose(1) == "sse"
    ladder.worked("sse")
    assert ladder.choose(3) == "websocket"
    ladder.worked("websocket")
    assert ladder.current == "websocket"


def test_a_late_failure_of_a_transport_that_was_left_already() -> None:
    """Two hundred streams lose the same socket: one of them makes the step, the others follow."""
    ladder = Ladder(RUNGS)
    ladder.failed("websocket", Blame.TRANSPORT, 0)
    for _ in range(200):
        assert ladder.failed("websocket", Blame.TRANSPORT, 0)
    assert ladder.current == "sse"


ratings = st.tuples(st.sampled_from(RUNGS), st.sampled_from([*Blame, None]), st.floats(-1e6, 1e6))


@given(st.lists(ratings), st.floats(-1e6, 1e6))
def test_whatever_happens_and_whatever_the_clock_says_the_better_one_gets_its_chance(
    history: list[tuple[str, Blame | None, float]], now: float
) -> None:
    ladder = Ladder(RUNGS)
    for rung, blame, time in history:
        if blame is None:
            ladder.worked(rung)
        else:
            ladder.failed(rung, blame, time)
        ladder.choose(time)
    before = RUNGS.index(ladder.current)
    ladder.choose(now)
    later = ladder.choose(now + MAX_RETRY_BETTER)
    assert RUNGS.index(later) == max(before - 1, 0)
