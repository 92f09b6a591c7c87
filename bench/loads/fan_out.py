"""One generation, many watchers: what a delivery costs and how late it is."""

import json
from collections.abc import Callable

from bench.ask import ask
from bench.client import Client
from bench.loads.run import Run
from bench.loads.steady import report_latency
from bench.tally import Tally
from bench.watching import Way, watch
from bench.wire import Script


def fan_out(run: Run, *, clients: int, rate: float, seconds: float, way: str) -> None:
    """`clients` watch one stream of `rate` chunks/s, all from its beginning, for `seconds`."""
    gather = 0.5 + clients * 0.002
    script = Script(id=1, n=int((seconds + 0.5) * rate), gap=int(1e6 / rate), first=int(gather * 1e6))
    stream = create(run, script)
    start = run.soon()
    opens = start + int((gather + 0.2) * 1e9)
    closes = opens + int(seconds * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    going = [clients]

    def done() -> None:
        going[0] -= 1
        if not going[0]:
            run.loop.stop()

    group = [Watcher(run, stream, run.fan_out.ways[way], script.n, done) for _ in range(clients)]
    for number, watcher in enumerate(group):
        run.loop.at(start + number * 1_500_000, watcher.begin)
    run.drive(until=closes + 3_000_000_000)
    for watcher in group:
        watcher.cut()
    report_latency(run, offered=clients * rate)


def create(run: Run, script: Script) -> str:
    """Starts a stream that can be watched; returns its id."""
    body = {**run.body(script), "lease": 60}
    answer = json.loads(ask(run.place.port, "POST", run.fan_out.create, body, run.place.headers, tls=run.place.tls))
    return str(answer["id"])


class Watcher:
    """One client of a stream that others watch too."""

    def __init__(self, run: Run, stream: str, way: Way, expected: int, done: Callable[[], None]) -> None:
        self._run = run
        self._stream = stream
        self._way = way
        self._expected = expected
        self._done = done
        self._tally = Tally(run.recorder)
        self._client: Client | None = None
        self._over = False

    def begin(self) -> None:
        self._client = Client(self._run.loop, self._run.place.port)
        watch(self._client, self._way, self._stream, self._run.place.headers, self._body, self._ended)

    def _body(self, data: bytes, now: int) -> None:
        self._tally.body(data, now)
        # Over a WebSocket, and with some targets, a stream has no end of its own.
        if self._tally.order.next >= self._expected:
            self._ended("")

    def _ended(self, problem: str) -> None:
        if self._over:
            return
        self._over = True
        if problem:
            self._run.broken(problem)
        self._run.account(self._tally, None if problem else self._expected)
        if self._client is not None:
            self._client.close()
        self._done()

    def cut(self) -> None:
        """Ends it because time is up."""
        if self._over:
            return
        self._over = True
        if self._client is not None:
            self._client.close()
        self._run.account(self._tally, None)
        if self._tally.order.next < self._expected:
            self._run.result.unfinished += 1
