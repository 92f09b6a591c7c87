"""Clients that leave in mid-stream: how soon the upstream sees it, and so stops to generate what nobody reads."""

from bench.histogram import Histogram
from bench.loads.run import Run, Streamed
from bench.loop import now_ns
from bench.wire import Script

_STAY = 300_000_000
_PATIENCE = 2_000_000_000
"""How long after the last has left the upstream may take to see it."""


def leave(run: Run, *, clients: int, gap: int, every: float) -> None:
    """A client comes `every` seconds and leaves 0.3 s later; `gap` µs between chunks, 0: silent after one."""
    left_at: dict[int, int] = {}
    start = run.soon()
    for number in range(1, clients + 1):
        script = Script(id=number, n=1, hold=1) if not gap else Script(id=number, n=100_000, gap=gap)
        stream = Streamed(run, script, lambda _: None)
        due = start + int(number * every * 1e9)
        stream.start_at(due)
        run.loop.at(due + _STAY, Leaving(stream, left_at))
    run.drive(until=start + int(clients * every * 1e9) + _STAY + _PATIENCE)
    run.result.unfinished = 0
    _report(run, clients, left_at)


class Leaving:
    """Closes a stream's connection and notes when."""

    def __init__(self, stream: Streamed, left_at: dict[int, int]) -> None:
        self._stream = stream
        self._left_at = left_at

    def __call__(self) -> None:
        if self._stream.over or not self._stream.tally.first_at:
            return
        self._left_at[self._stream.script.id] = now_ns()
        self._stream.cut()


def _report(run: Run, clients: int, left_at: dict[int, int]) -> None:
    seen = {int(number): when for number, when in run.upstream("/bench/stats")["left"].items()}
    took = [seen[number] - when for number, when in left_at.items() if number in seen]
    histogram = Histogram.of(took)
    result = run.result
    result.latency = histogram.to_json()
    if took:
        result.values["p50_ms"] = histogram.percentile(50) / 1e6
        result.values["p99_ms"] = histogram.percentile(99) / 1e6
    result.values["seen"] = 100 * len(took) / max(1, len(left_at))
    if len(left_at) < clients:
        result.notes.append(f"{clients - len(left_at)} of {clients} had no chunk after 0.3 s, and are not counted")
    if len(took) < len(left_at):
        result.notes.append(
            f"the upstream never saw {len(left_at) - len(took)} of {len(left_at)} leave: it generates for nobody"
        )
