"""One coding beside none, in turns on the same target: bytes, CPU, the first chunk, memory."""

from collections.abc import Callable

from bench import proc
from bench.client import request_bytes
from bench.decoding import decoder
from bench.histogram import Histogram
from bench.loads.run import Run, Streamed
from bench.tally import Recorder
from bench.wire import Script

_RAMP = 0.3
_SETTLE = 0.2
_GRACE = 2.0
_POLL = 0.02
_IDENTITY = "identity"


def compression(
    run: Run, *, coding: str, streams: int, rate: float, seconds: float, turns: int, firsts: int, silent: int
) -> None:
    """`turns` windows of `seconds` with and without `coding`, then `firsts` requests and `silent` streams of each."""
    _report_memory(run, coding, silent)
    _report_saving(run, coding)
    _report_cpu(run, coding, streams, rate, seconds, turns)
    _report_first_chunk(run, coding, firsts)


class Coded(Streamed):
    """A streamed request that asks for a coding and decodes as it reads."""

    __slots__ = ("_coding", "_decode", "_model", "bytes_decoded", "bytes_received")

    def __init__(
        self,
        run: Run,
        script: Script,
        done: Callable[[Streamed], None],
        coding: str,
        recorder: Recorder | None = None,
        model: str | None = None,
    ) -> None:
        super().__init__(run, script, done, recorder)
        self._coding = coding
        self._decode = decoder(coding)
        self._model = model
        self.bytes_received = 0
        self.bytes_decoded = 0

    def _start(self) -> None:
        run = self._run
        self.client = run.pool.take()
        headers = {**run.place.headers, "accept-encoding": self._coding}
        body = {**run.body(self.script), "model": self._model or run.place.model}
        request = request_bytes("POST", run.place.path, headers, body)
        self.client.send(request, self._take, self._ended)

    def _take(self, data: bytes, now: int) -> None:
        if not self.bytes_received and not self._as_asked():
            self._run.broken(f"{self._coding} was asked for, and the response is in another coding")
        decoded = self._decode(data)
        self.bytes_received += len(data)
        self.bytes_decoded += len(decoded)
        self.tally.body(decoded, now)

    def _as_asked(self) -> bool:
        assert self.client is not None
        head = self.client.response.head.lower()
        return (b"\r\ncontent-encoding: " + self._coding.encode() in head) == (self._coding != _IDENTITY)


def _report_memory(run: Run, coding: str, silent: int) -> None:
    """Opens streams that say 20 chunks and fall silent: first without, then, beside those, with the coding."""
    pids = proc.family(run.place.target_pid)
    held: list[Coded] = []
    growth = []
    for asked, count in ((_IDENTITY, 20), (_IDENTITY, silent), (coding, silent)):
        before = proc.pss_bytes(pids)
        group = [Coded(run, Script(n=20, hold=1), lambda _: None, asked) for _ in range(count)]
        _run_until(run, group, lambda stream: stream.tally.order.next >= 20)
        growth.append((proc.pss_bytes(pids) - before) / 1024 / count)
        held += group
    run.result.values["memory_kib"] = max(0.0, growth[2] - growth[1])
    for stream in held:
        stream.cut()
    run.result.unfinished = 0


def _report_saving(run: Run, coding: str) -> None:
    """The demo provider's words, 2 ms apart, so that each is a piece of its own."""
    stream = Coded(run, Script(n=0), lambda _: None, coding, model="demo-n500-gap2")
    _run_until(run, [stream], lambda stream: stream.over)
    if stream.bytes_decoded:
        run.result.values["saved"] = 100 - 100 * stream.bytes_received / stream.bytes_decoded


def _report_cpu(run: Run, coding: str, streams: int, rate: float, seconds: float, turns: int) -> None:
    spent = {_IDENTITY: [0, 0], coding: [0, 0]}
    for _ in range(turns):
        for asked, account in spent.items():
            cpu, chunks = _window(run, asked, streams, rate, seconds)
            account[0] += cpu
            account[1] += chunks
    if all(chunks for _, chunks in spent.values()):
        plain, coded = (cpu / 1000 / chunks for cpu, chunks in spent.values())
        run.result.values["cpu_us_per_chunk"] = coded
        run.result.values["added_us_per_chunk"] = coded - plain


def _window(run: Run, coding: str, streams: int, rate: float, seconds: float) -> tuple[int, int]:
    """CPU of the target in nanoseconds, and chunks that arrived, in one window."""
    recorder = Recorder()
    start = run.soon()
    opens = start + int((_RAMP + _SETTLE) * 1e9)
    closes = opens + int(seconds * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    length = _RAMP + _SETTLE + seconds + 0.2
    group = []
    for number in range(streams):
        begins = _RAMP * number / streams
        script = Script(id=number + 1, n=int((length - begins) * rate), gap=int(1e6 / rate))
        group.append(Coded(run, script, lambda _: None, coding, recorder))
        group[-1].start_at(start + int(begins * 1e9))
    _run_until(run, group, lambda stream: stream.over, begun=True, until=closes + int(_GRACE * 1e9))
    for stream in group:
        stream.cut()
    return run.meter.target_ns, recorder.count(run.meter.started, run.meter.stopped)


def _report_first_chunk(run: Run, coding: str, firsts: int) -> None:
    """One request after the other, with and without the coding in turns."""
    waited: dict[str, list[int]] = {_IDENTITY: [], coding: []}
    for _ in range(firsts):
        for asked, times in waited.items():
            stream = Coded(run, Script(n=2, gap=5000), lambda _: None, asked)
            _run_until(run, [stream], lambda stream: stream.over)
            if stream.tally.first_at:
                times.append(stream.tally.first_at - stream.due)
    plain, coded = map(Histogram.of, waited.values())
    run.result.latency = coded.to_json()
    if plain.total and coded.total:
        run.result.values["first_added_ms"] = (coded.percentile(50) - plain.percentile(50)) / 1e6


def _run_until(
    run: Run, group: list[Coded], holds: Callable[[Coded], bool], *, begun: bool = False, until: int | None = None
) -> None:
    """Starts streams, unless they have begun, 2 ms apart, and runs until it holds for each, or has ended."""
    if not begun:
        start = run.soon()
        for number, stream in enumerate(group):
            stream.start_at(start + number * 2_000_000)

    def look() -> None:
        if all(holds(stream) or stream.over for stream in group):
            run.loop.stop()
        else:
            run.loop.after(_POLL, look)

    run.loop.after(_POLL, look)
    run.drive(until=until)
