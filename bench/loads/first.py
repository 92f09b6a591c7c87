"""Requests that arrive by a plan, whatever becomes of those before: time to the first chunk."""

from bench.histogram import Histogram
from bench.loads.run import Run, Streamed
from bench.wire import Script


def first(run: Run, *, streams: int, chunks: int, gap: int, seconds: float) -> None:
    """About `streams` streams at any time, each of `chunks` chunks `gap` µs apart; counts for `seconds`.

    The time runs from the moment the plan says the request is to be sent, so that a target which holds
    up the load generator cannot hide it.
    """
    life = (chunks - 0.5) * gap * 1000
    every = int(life / streams)
    start = run.soon()
    # Until as many run as should, and the first connections are warm.
    counts_from = start + int(max(life, 0.3e9))
    counts_until = counts_from + int(seconds * 1e9)
    run.loop.at(counts_from, run.meter.start)
    run.loop.at(counts_until, run.meter.stop)
    group: list[Streamed] = []
    for number in range((counts_until - start) // every):
        stream = Streamed(run, Script(id=number + 1, n=chunks, gap=gap), lambda _: None)
        stream.start_at(start + number * every)
        group.append(stream)
    counted = [stream for stream in group if counts_from <= stream.due < counts_until]
    run.stop_when(lambda: all(stream.tally.first_at or stream.over for stream in counted), since=counts_until)
    run.drive(until=counts_until + int(min(life, 1e9)) + 200_000_000)
    waited = [stream.tally.first_at - stream.due for stream in counted if stream.tally.first_at]
    for stream in group:
        stream.cut()
    run.result.unfinished = 0
    report(run, waited, unanswered=len(counted) - len(waited))


def report(run: Run, waited: list[int], unanswered: int) -> None:
    histogram = Histogram.of(waited)
    run.result.latency = histogram.to_json()
    run.result.tell(histogram, p50_ms=50, p99_ms=99)
    run.result.values["requests"] = len(waited)
    if unanswered:
        run.result.saturated = True
        run.result.notes.append(f"saturated: {unanswered:,} requests had no first chunk in time")
