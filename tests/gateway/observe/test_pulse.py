"""A stream's pulse, beat by beat, on a clock of the test's own."""

from collections.abc import Sequence

import pytest

from stream_gateway.observe.histogram import Histogram
from stream_gateway.observe.meters import MAX_MISHAPS, Meters, Mishap, error_type
from stream_gateway.observe.pulse import Pulse
from stream_protocols.events import (
    Event,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    Terminal,
    TextDelta,
    Usage,
)


def pulse_of(meters: Meters, *beats: tuple[float, Sequence[Event]], route: str | None = "fast") -> Pulse:
    """The pulse of a stream born at 100."""
    pulse = Pulse(meters, route, "s1", 100.0)
    for now, events in beats:
        pulse.beat([(event, None) for event in events], now)
    return pulse


def seen(histogram: Histogram) -> tuple[int, float]:
    return sum(histogram.counts), round(histogram.sum, 6)


ANSWER = [
    (100.1, [StreamStarted("fast")]),
    (100.5, [TextDelta("a")]),
    (100.75, [TextDelta("b")]),
    (101.0, [TextDelta("c"), TextDelta("d")]),
    (101.5, [Usage(7, 6), StreamFinished("stop")]),
]


def test_a_whole_answer() -> None:
    meters = Meters()
    pulse = pulse_of(meters, *ANSWER)
    meter = meters.routes["fast"]
    assert seen(meter.first_token) == (1, 0.5)
    assert seen(meter.between_chunks) == (3, 1.0)
    assert seen(meter.per_token) == (1, 0.2)  # a second after the first token, for five more
    assert {error: seen(histogram) for error, histogram in meter.durations.items()} == {"": (1, 1.5)}
    assert (meter.created, meter.events, dict(meter.ended)) == (1, 7, {"finished": 1})
    assert (pulse.first, pulse.last, pulse.ended) == (100.5, 101.5, 101.5)
    assert 0.25 < pulse.gap < 0.3
    assert not meters.mishaps


def test_one_read_with_everything_in_it() -> None:
    meters = Meters()
    pulse_of(meters, (100.5, [StreamStarted("fast"), TextDelta("a"), Usage(1, 1), StreamFinished("stop")]))
    meter = meters.routes["fast"]
    assert seen(meter.first_token) == (1, 0.5)
    assert seen(meter.between_chunks) == seen(meter.per_token) == (0, 0.0)


@pytest.mark.parametrize(
    ("end", "error", "outcome"),
    [
        (StreamFinished("stop"), "", "finished"),
        (StreamFailed("anything at all", "secret", 429), "429", "failed"),
        (StreamFailed("x", "secret", 418), "4xx", "failed"),
        (StreamFailed("x", "secret", 599), "5xx", "failed"),
        (StreamCancelled("lease"), "cancelled", "cancelled_lease"),
        (StreamCancelled("client"), "cancelled", "cancelled_client"),
    ],
)
def test_ends(end: Terminal, error: str, outcome: str) -> None:
    meters = Meters()
    pulse_of(meters, (102.0, [end]))
    meter = meters.routes["fast"]
    assert error_type(end) == error
    assert {name: seen(histogram) for name, histogram in meter.durations.items()} == {error: (1, 2.0)}
    assert dict(meter.ended) == {outcome: 1}
    assert [(m.route, m.code, m.stream) for m in meters.mishaps] == [("fast", error, "s1")] * (outcome == "failed")
    assert "secret" not in str(meters.mishaps)


def test_a_stream_of_nobodys_is_seen_nowhere() -> None:
    meters = Meters()
    pulse = pulse_of(meters, *ANSWER, (102.0, [StreamFailed("x", "y")]), route=None)
    assert not pulse.seen
    assert not meters.routes
    assert not meters.mishaps


def test_exemplars_only_when_asked_for() -> None:
    plain, exemplary = Meters(), Meters(exemplars=True)
    for meters in (plain, exemplary):
        pulse_of(meters, *ANSWER)
    assert not plain.routes["fast"].first_token.exemplars
    assert [e.stream for e in exemplary.routes["fast"].first_token.exemplars.values()] == ["s1"]
    assert [e.stream for e in exemplary.routes["fast"].durations[""].exemplars.values()] == ["s1"]


def test_only_so_many_errors_are_remembered() -> None:
    meters = Meters()
    for number in range(MAX_MISHAPS + 5):
        meters.mishaps.append(Mishap(float(number), "r", "c"))
    assert [meters.mishaps[0].time, len(meters.mishaps)] == [5.0, MAX_MISHAPS]


def test_what_others_produce_counts_there() -> None:
    meters = Meters()
    pulse = Pulse(meters, "fast", "s1", 100.0, ours=False)
    for now, events in [*ANSWER, (102.0, [StreamFailed("x", "y")])]:
        pulse.beat([(event, None) for event in events], now)
    meter = meters.routes["fast"]
    assert (meter.created, meter.events, meter.durations, seen(meter.first_token)) == (0, 0, {}, (0, 0.0))
    assert not meters.mishaps
    assert (pulse.first, pulse.last) == (100.5, 102.0)  # but its health is known
    pulse.meter.resumes += 1
    assert meter.resumes == 1  # and its clients are ours


def test_what_is_taken_over_counts_from_then_on() -> None:
    meters = Meters()
    pulse = Pulse(meters, "fast", "s1", 100.0, ours=False)
    pulse.beat([(TextDelta("a"), None)], 101.0)
    pulse.take_over(200.0)
    pulse.beat([(TextDelta("b"), None)], 200.5)
    pulse.beat([(StreamFinished("stop"), None)], 201.0)
    meter = meters.routes["fast"]
    assert (meter.created, meter.events, dict(meter.ended)) == (1, 2, {"finished": 1})
    assert (seen(meter.first_token), seen(meter.durations[""])) == ((1, 0.5), (1, 1.0))
