"""One chunking beside passthrough, in turns on the same target: CPU and latency of clients that keep up."""

from statistics import median
from typing import NamedTuple

from bench.client import request_bytes
from bench.loads.run import Run, Streamed
from bench.tally import Recorder
from bench.wire import Script

_RAMP = 0.4
_SETTLE = 0.2
_GRACE = 2_000_000_000
_PASSTHROUGH = "passthrough"


class Window(NamedTuple):
    """What one window showed: µs of CPU a chunk, and latencies in ms."""

    cpu: float
    p50: float
    p99: float


def chunking(run: Run, *, strategy: str, streams: int, rate: float, seconds: float, turns: int) -> None:
    """`turns` windows of `seconds` with `strategy`, each beside one with passthrough, in changing order."""
    windows: dict[str, list[Window]] = {_PASSTHROUGH: [], strategy: []}
    for turn in range(turns):
        for name in sorted(windows, reverse=bool(turn % 2)):
            windows[name].append(_window(run, name, streams, rate, seconds))
    plain, chunked = windows[_PASSTHROUGH], windows[strategy]
    values = run.result.values
    for key, field in (("cpu_us_per_chunk", "cpu"), ("p50_ms", "p50"), ("p99_ms", "p99")):
        values[key] = median(getattr(window, field) for window in chunked)
        values[f"passthrough_{key}"] = median(getattr(window, field) for window in plain)
    values["added_us_per_chunk"] = median(mine.cpu - theirs.cpu for mine, theirs in zip(chunked, plain, strict=True))


class Chunked(Streamed):
    """A streamed request that asks for a chunking."""

    __slots__ = ("_chunking",)

    def __init__(self, run: Run, script: Script, chunking: str, recorder: Recorder) -> None:
        super().__init__(run, script, lambda _: None, recorder)
        self._chunking = chunking

    def _start(self) -> None:
        self.client = self._run.pool.take()
        headers = {**self._run.place.headers, "stream-chunking": self._chunking}
        request = request_bytes("POST", self._run.place.path, headers, self._run.body(self.script))
        self.client.send(request, self.tally.body, self._ended)


def _window(run: Run, name: str, streams: int, rate: float, seconds: float) -> Window:
    recorder = Recorder()
    start = run.soon()
    opens = start + int((_RAMP + _SETTLE) * 1e9)
    closes = opens + int(seconds * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    group = []
    for number in range(streams):
        begins = _RAMP * number / streams
        script = Script(id=number + 1, n=int((_RAMP + _SETTLE + seconds + 0.2 - begins) * rate), gap=int(1e6 / rate))
        group.append(Chunked(run, script, name, recorder))
        group[-1].start_at(start + int(begins * 1e9))
    run.stop_when(lambda: all(stream.over for stream in group), since=closes)
    run.drive(until=closes + _GRACE)
    for stream in group:
        stream.cut()
    ages = recorder.histogram(run.meter.started, run.meter.stopped)
    return Window(run.meter.cpu_us_per(ages.total) or 0.0, ages.percentile(50) / 1e6, ages.percentile(99) / 1e6)
