"""Clients that leave in mid-stream: how soon the upstream sees it, and so stops to generate what nobody reads."""

import time

from bench.histogram import Histogram
from bench.loads.run import Run, Streamed
from bench.loop import now_ns
from bench.wire import Script

_STAY = 100_000_000
_LOOK = 20_000_000
_SLOWEST = 5_000_000_000
"""A client that has no chunk after this long is not counted."""
_PATIENCE = 2.0
"""Seconds after the last has left in which the upstream may see it."""


def leave(run: Run, *, clients: int, gap: int, every: float) -> None:
    """A client comes `every` seconds, and leaves 0.1 s after its first chunk.

    There are `gap` µs between chunks; 0: the upstream falls silent after one.
    """
    left_at: dict[int, int] = {}
    start = run.soon()
    for number in range(1, clients + 1):
        script = Script(id=number, n=1, hold=1) if not gap else Script(id=number, n=100_000, gap=gap)
        stream = Streamed(run, script, lambda _: None)
        due = start + int(number * every * 1e9)
        stream.start_at(due)
        run.loop.at(due + _STAY, Leaving(run, stream, left_at, clients))
    run.drive(until=start + int(clients * every * 1e9) + _SLOWEST)
    run.result.unfinished = 0
    _report(run, clients, left_at)


class Leaving:
    """Closes a stream's connection and notes when."""

    def __init__(self, run: Run, stream: Streamed, left_at: dict[int, int], clients: int) -> None:
        self._run = run
        self._stream = stream
        self._left_at = left_at
        self._clients = clients

    def __call__(self) -> None:
        stream, now = self._stream, now_ns()
        if stream.over:
            return
        if not stream.tally.first_at or now < stream.tally.first_at + _STAY:
            self._run.loop.at(now + _LOOK, self)
            return
        self._left_at[stream.script.id] = now_ns()
        stream.cut()
        if len(self._left_at) == self._clients:
            self._run.loop.stop()


def _seen_by_upstream(run: Run, expected: int) -> dict[int, int]:
    """Asks the upstream until it has seen all of them, or patience ends."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        time.sleep(0.1)
        seen = {int(number): when for number, when in run.upstream("/bench/stats")["left"].items()}
        if len(seen) >= expected or time.monotonic() > deadline:
            return seen


def _report(run: Run, clients: int, left_at: dict[int, int]) -> None:
    seen = _seen_by_upstream(run, len(left_at))
    took = [seen[number] - when for number, when in left_at.items() if number in seen]
    histogram = Histogram.of(took)
    result = run.result
    result.latency = histogram.to_json()
    result.tell(histogram, p50_ms=50, p99_ms=99)
    result.values["seen"] = 100 * len(took) / max(1, len(left_at))
    if len(left_at) < clients:
        result.notes.append(f"{clients - len(left_at)} of {clients} never had a chunk, and are not counted")
    if len(took) < len(left_at):
        result.notes.append(
            f"the upstream never saw {len(left_at) - len(took)} of {len(left_at)} leave: it generates for nobody"
        )
