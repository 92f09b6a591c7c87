"""Streams on which nothing happens: what each of them weighs."""

from bench import proc
from bench.loads.run import Run, Streamed
from bench.wire import Script

_POLL = 0.05


def idle(run: Run, *, streams: int, settle: float) -> None:
    """Opens `streams` whose upstream falls silent after one chunk; compares the target's memory."""
    _all_answered(run, [_silent(run) for _ in range(min(50, streams))], keep=False)
    _pause(run, settle)
    pids = proc.family(run.place.target_pid)
    before = proc.pss_bytes(pids)
    group = [_silent(run) for _ in range(streams)]
    _all_answered(run, group, keep=True)
    _pause(run, settle)
    after = proc.pss_bytes(pids)
    answered = sum(bool(stream.tally.first_at) for stream in group)
    if answered < streams:
        run.result.notes.append(f"only {answered:,} of {streams:,} streams began in time")
    if answered:
        run.result.values["pss_kib"] = max(0, after - before) / 1024 / answered
    run.result.values["before_mib"] = before / 2**20
    for stream in group:
        stream.cut()
    run.result.unfinished = 0


def _silent(run: Run) -> Streamed:
    return Streamed(run, Script(n=1, hold=1), lambda _: None)


def _all_answered(run: Run, group: list[Streamed], keep: bool) -> None:
    """Starts them, 2 ms apart, and waits until each has its chunk."""
    start = run.soon()
    for number, stream in enumerate(group):
        stream.start_at(start + number * 2_000_000)

    def look() -> None:
        if all(stream.tally.first_at or stream.over for stream in group):
            run.loop.stop()
        else:
            run.loop.after(_POLL, look)

    run.loop.after(_POLL, look)
    run.drive(until=start + 20_000_000_000)
    if not keep:
        for stream in group:
            stream.cut()


def _pause(run: Run, seconds: float) -> None:
    run.drive(until=run.soon() + int(seconds * 1e9))
