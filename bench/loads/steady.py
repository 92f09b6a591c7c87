"""Many streams at the pace of real models: CPU per chunk, and how old each chunk is when it arrives."""

from bench.loads.run import Run, Streamed
from bench.wire import Script

_GRACE = 2_000_000_000
"""How long after the window a stream may take to end before it is cut."""


def steady(run: Run, *, streams: int, rate: float, ramp: float, settle: float, seconds: float) -> None:
    """`streams` streams of `rate` chunks/s each; measured for `seconds` after `ramp` and `settle`."""
    start = run.soon()
    opens = start + int((ramp + settle) * 1e9)
    closes = opens + int(seconds * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    going = [streams]

    def done(_: Streamed) -> None:
        going[0] -= 1
        if not going[0]:
            run.loop.stop()

    group = []
    for number in range(streams):
        begins = ramp * number / streams
        # Each ends a little after the window, so that it is complete and its end can be checked.
        script = Script(id=number + 1, n=int((ramp + settle + seconds + 0.2 - begins) * rate), gap=int(1e6 / rate))
        group.append(Streamed(run, script, done, run.recorder))
        group[-1].start_at(start + int(begins * 1e9))
    run.drive(until=closes + _GRACE)
    for stream in group:
        stream.cut()
    report_latency(run, offered=streams * rate)


def report_latency(run: Run, offered: float) -> None:
    """Fills in what is known of the chunks received within the meter's window."""
    result, meter = run.result, run.meter
    if not meter.stopped:
        meter.stop()
    histogram = run.recorder.histogram(meter.started, meter.stopped)
    received = histogram.total
    result.latency = histogram.to_json()
    result.timeline = run.recorder.timeline(meter.started, meter.stopped, 250_000_000)
    result.tell(histogram, p50_ms=50, p99_ms=99, p999_ms=99.9)
    cost = meter.cpu_us_per(received)
    if cost is not None:
        result.values["cpu_us_per_chunk"] = cost
    share = received / (offered * result.window_s)
    result.values["delivered"] = min(1.0, share) * 100
    if share < 0.95:
        result.saturated = True
        result.notes.append(f"saturated: {share:.0%} of the chunks offered arrived in time")
