"""A few clients that read slowly: what the others feel of them."""

from bench.client import Client
from bench.loads.run import Run, Streamed
from bench.loads.steady import report_latency
from bench.tally import Recorder
from bench.wire import Script

_BYTES_A_SECOND = 2_048
_READS_A_SECOND = 10
_SMALL_BUFFER = 4_096
_RAMP = 700_000_000
_SETTLE = 400_000_000


def slow(run: Run, *, streams: int, rate: float, size: int, one_in: int, seconds: float) -> None:
    """`streams` of `rate` chunks/s; each `one_in`-th (0: none) reads 2 KB/s. The others' latency is reported."""
    start = run.soon()
    opens, closes = start + _RAMP + _SETTLE, start + _RAMP + _SETTLE + int(seconds * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    group = []
    for number in range(streams):
        script = Script(id=number + 1, n=100_000, gap=int(1e6 / rate), size=size)
        drags = bool(one_in) and number % one_in == 0
        stream = Streamed(run, script, lambda _: None, Recorder() if drags else run.recorder)
        if drags:
            Dragging(run, stream)
        stream.start_at(start + number * _RAMP // streams)
        group.append(stream)
    run.drive(until=closes + 20_000_000)
    for stream in group:
        stream.cut()
    run.result.unfinished = 0
    others = streams - (-(-streams // one_in) if one_in else 0)
    report_latency(run, offered=others * rate)


class Dragging:
    """Makes a stream's client read a little, ten times a second."""

    def __init__(self, run: Run, stream: Streamed) -> None:
        self._run = run
        self._stream = stream
        stream.client = Client(run.loop, run.place.port, receive_buffer=_SMALL_BUFFER)
        run.loop.after(0.2, self._read)

    def _read(self) -> None:
        client = self._stream.client
        if client is None or self._stream.over:
            return
        if self._stream.tally.first_at:
            client.pause()
            client.read(_BYTES_A_SECOND // _READS_A_SECOND)
        self._run.loop.after(1 / _READS_A_SECOND, self._read)
