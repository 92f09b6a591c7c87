"""One generation, many watchers: what a delivery costs and how late it is."""

import json
from collections.abc import Callable, Sequence

from bench.ask import ask
from bench.carriers import Connection, carrier
from bench.loads.run import Run
from bench.loads.steady import report_latency
from bench.tally import Tally
from bench.watching import Way
from bench.wire import Script

_APART = 1_500_000
"""Nanoseconds between two connections."""
_HANDSHAKE = 0.003
"""Seconds that TLS may take more for each."""


def fan_out(run: Run, *, way: str, connections: int, streams: int, rate: float, seconds: float) -> None:
    """`connections` of `streams` watchers each, all of one stream of `rate` chunks/s, for `seconds`."""
    gather = gathering(run, connections) + connections * (streams - 1) * 0.001
    script = Script(id=1, n=int((seconds + 0.5) * rate), gap=int(1e6 / rate), first=int(gather * 1e6))
    stream = create(run, script)
    start = run.soon()
    opens = start + int((gather + 0.2) * 1e9)
    closes = opens + int(seconds * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    going = [connections * streams]

    def done() -> None:
        going[0] -= 1
        if not going[0]:
            run.loop.stop()

    kind = run.fan_out.ways[way]
    group = [Watchers(run, kind, stream, streams, script.n, done) for _ in range(connections)]
    begin(run, group, start)
    run.drive(until=closes + 3_000_000_000)
    for watchers in group:
        watchers.cut()
    report_latency(run, offered=connections * streams * rate)


def gathering(run: Run, connections: int) -> float:
    """Seconds until so many connections have begun, amply."""
    return 0.5 + connections * (0.002 + (_HANDSHAKE if run.place.tls else 0))


def create(run: Run, script: Script) -> str:
    """Starts a stream that can be watched; returns its id."""
    body = {**run.body(script), "lease": 60}
    answer = json.loads(ask(run.place.port, "POST", run.fan_out.create, body, run.place.headers, tls=run.place.tls))
    return str(answer["id"])


class Watchers:
    """One connection, and the account of every watcher on it: all watch one stream."""

    def __init__(self, run: Run, way: Way, stream: str, streams: int, expected: int, done: Callable[[], None]) -> None:
        self._run = run
        self._way = way
        self._stream = stream
        self._expected = expected
        self._done = done
        self.tallies = [Tally(run.recorder) for _ in range(streams)]
        self._open = set(range(streams))
        self._connection: Connection | None = None

    def begin(self) -> None:
        place = self._run.place
        spoken = carrier(self._way, self._stream, place.headers, len(self.tallies))
        self._connection = Connection(self._run.loop, place.port, spoken, self._said, self._broken, tls=place.tls)

    @property
    def over(self) -> bool:
        return not self._open

    def _said(self, number: int, data: bytes, over: bool, now: int) -> None:
        if number not in self._open:
            return
        tally = self.tallies[number]
        tally.body(data, now)
        # Over a WebSocket, and with some targets, a stream has no end of its own.
        if over or tally.order.next >= self._expected:
            self._account(number, self._expected)
            if not self._open:
                self.cut()

    def _broken(self, problem: str) -> None:
        self._run.broken(problem)
        for number in list(self._open):
            self._account(number, None)

    def _account(self, number: int, expected: int | None) -> None:
        self._open.discard(number)
        self._run.account(self.tallies[number], expected)
        self._done()

    def cut(self) -> None:
        """Ends it because all was said, or time is up."""
        if self._connection is not None:
            self._connection.close()
        self._run.result.unfinished += len(self._open)
        for number in list(self._open):
            self._account(number, None)


def begin(run: Run, group: Sequence[Watchers], start: int) -> None:
    """Has them connect, one shortly after the other."""
    for number, watchers in enumerate(group):
        run.loop.at(start + number * _APART * (1 + 2 * run.place.tls), watchers.begin)
