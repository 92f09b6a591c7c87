"""All clients are cut off at once and come back at once: how soon all are live again, and what got lost."""

import re

from bench.client import Client, request_bytes
from bench.histogram import Histogram
from bench.loads.fan_out import create
from bench.loads.run import Run
from bench.loop import now_ns
from bench.tally import Order
from bench.wire import MARK, Script

_ID = re.compile(rb"^id: ?(.+)$", re.MULTILINE)
_GATHER = 1_200_000_000
_BEFORE = 1_000_000_000


def storm(run: Run, *, clients: int, streams: int, rate: float, after: float, way: str) -> None:
    """`clients` on `streams` of `rate` chunks/s each are cut, and resume with Last-Event-ID at once."""
    path = run.fan_out.ways[way].path
    length = (_GATHER + _BEFORE) / 1e9 + after
    paths = []
    for number in range(streams):
        script = Script(id=number + 1, n=int(length * rate), gap=int(1e6 / rate), first=int(_GATHER / 1000))
        paths.append(path.format(id=create(run, script)))
    group = [Returning(run, paths[number % streams]) for number in range(clients)]
    start = run.soon()
    for number, client in enumerate(group):
        run.loop.at(start + number * 1_000_000_000 // clients, client.connect)
    cut_at = start + _GATHER + _BEFORE

    def cut() -> None:
        run.meter.start()
        for client in group:
            client.disconnect()
        for client in group:
            client.connect()

    run.loop.at(cut_at, cut)

    def look() -> None:
        if all(client.live_at or client.over for client in group):
            run.meter.stop()
            run.stop_when(lambda: all(client.over for client in group))
        else:
            run.loop.after(0.02, look)

    run.loop.at(cut_at + 20_000_000, look)
    run.drive(until=cut_at + int(after * 1e9) + 4_000_000_000)
    _report(run, group, int(length * rate))


class Returning:
    """A client that remembers the last event it has read."""

    def __init__(self, run: Run, path: str) -> None:
        self._run = run
        self._path = path
        self._client: Client | None = None
        self._rest = b""
        self._last_id = b""
        self.order = Order()
        self.cut_at = self.answered_at = self.live_at = 0
        self.over = False

    def connect(self) -> None:
        headers = {"accept": "text/event-stream"}
        if self._last_id:
            headers["last-event-id"] = self._last_id.decode()
        self._client = Client(self._run.loop, self._run.place.port)
        self._client.send(request_bytes("GET", self._path, headers), self._body, self._ended)

    def disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
        self._rest = b""
        self.cut_at = now_ns()

    def _body(self, data: bytes, now: int) -> None:
        if self.cut_at and not self.answered_at:
            self.answered_at = now
        # An event counts when it is whole: only then is its id the last one seen.
        whole, separator, rest = (self._rest + data).rpartition(b"\n\n")
        self._rest = rest if separator else self._rest + data
        for sequence, _ in MARK.findall(whole):
            self.order.see(int(sequence))
            if self.cut_at and not self.live_at:
                self.live_at = now
        if ids := _ID.findall(whole):
            self._last_id = ids[-1].strip()

    def _ended(self, problem: str) -> None:
        self.over = True
        if problem:
            self._run.broken(problem)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _report(run: Run, group: list[Returning], expected: int) -> None:
    result = run.result
    if not run.meter.stopped:
        run.meter.stop()
    for client in group:
        client.close()
        result.chunks += client.order.next - client.order.lost
        result.lost += client.order.lost + (expected - client.order.next if client.over else 0)
        result.repeated += client.order.repeated
        result.disordered += client.order.disordered
    live = [client.live_at - client.cut_at for client in group if client.live_at]
    answered = Histogram.of(client.answered_at - client.cut_at for client in group if client.answered_at)
    histogram = Histogram.of(live)
    result.latency = histogram.to_json()
    result.tell(answered, answered_p50_ms=50)
    result.tell(histogram, live_p50_ms=50, live_p99_ms=99, all_live_ms=100)
    result.values["lost"] = result.lost
    result.values["twice"] = result.repeated
    if len(live) < len(group):
        result.broken += len(group) - len(live)
        result.problem = result.problem or f"{len(group) - len(live)} clients did not become live again"
