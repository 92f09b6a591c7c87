"""Streams without pauses: how many chunks a second get through."""

from bench.loads.run import Run, Streamed
from bench.wire import Script


def burst(run: Run, *, streams: int, chunks: int, block: int, most: float) -> None:
    """`streams` × `chunks`, the upstream writing `block` bytes at a time (0: one chunk); at most `most` s."""
    going = [streams]

    def done(_: Streamed) -> None:
        going[0] -= 1
        if not going[0]:
            run.meter.stop()
            run.loop.stop()

    warm_up(run, streams)
    start = run.soon()
    run.loop.at(start, run.meter.start)
    group = [Streamed(run, Script(n=chunks, block=block), done) for _ in range(streams)]
    for stream in group:
        stream.start_at(start)
    run.drive(until=start + int(most * 1e9))
    if not run.meter.stopped:
        run.meter.stop()
        run.result.saturated = True
        run.result.notes.append(f"stopped after {most:.0f} s")
    for stream in group:
        stream.cut()
    run.result.unfinished = 0
    result = run.result
    result.values["chunks_per_s"] = result.chunks / result.window_s
    cost = run.meter.cpu_us_per(result.chunks)
    if cost is not None:
        result.values["cpu_us_per_chunk"] = cost


def warm_up(run: Run, connections: int) -> None:
    """Opens the connections, so that the burst is about chunks."""
    going = [connections]

    def done(_: Streamed) -> None:
        going[0] -= 1
        if not going[0]:
            run.loop.stop()

    for _ in range(connections):
        Streamed(run, Script(n=2), done).start_at(run.soon())
    run.drive(until=run.soon() + 10_000_000_000)
    run.result.chunks = 0
