"""One generation, many watchers: what a delivery costs and how late it is."""

import json

from bench.ask import ask
from bench.client import Client, request_bytes
from bench.loads.run import Run
from bench.loads.steady import report_latency
from bench.tally import Tally
from bench.wire import Script


def fan_out(run: Run, *, clients: int, rate: float, seconds: float) -> None:
    """`clients` watch one stream of `rate` chunks/s, all from its beginning, for `seconds`."""
    gather = 0.5 + clients * 0.002
    script = Script(id=1, n=int((seconds + 0.5) * rate), gap=int(1e6 / rate), first=int(gather * 1e6))
    watch = request_bytes("GET", create(run, script)["events"], {"accept": "text/event-stream"})
    start = run.soon()
    opens = start + int((gather + 0.2) * 1e9)
    closes = opens + int(seconds * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    group = [Watcher(run, script.n) for _ in range(clients)]
    going = [clients]

    def done() -> None:
        going[0] -= 1
        if not going[0]:
            run.loop.stop()

    for number, watcher in enumerate(group):
        run.loop.at(start + number * 1_500_000, lambda watcher=watcher: watcher.begin(watch, done))  # type: ignore[misc]
    run.drive(until=closes + 3_000_000_000)
    for watcher in group:
        watcher.cut()
    report_latency(run, offered=clients * rate)


def create(run: Run, script: Script) -> dict[str, str]:
    """Starts a stream that can be watched; returns its id and the path of its events."""
    place = run.place
    body = {**run.body(script), "lease": 60}
    answer = json.loads(ask(place.port, "POST", place.fan_out["create"], body, place.headers))
    return {"id": answer["id"], "events": place.fan_out["events"].format(id=answer["id"])}


class Watcher:
    """One client of a stream that others watch too."""

    def __init__(self, run: Run, expected: int) -> None:
        self._run = run
        self._expected = expected
        self._tally = Tally(run.recorder)
        self._client: Client | None = None
        self._over = False

    def begin(self, request: bytes, done: object) -> None:
        def ended(problem: str) -> None:
            self._over = True
            if problem:
                self._run.broken(problem)
            self._run.account(self._tally, None if problem else self._expected)
            assert callable(done)
            done()

        self._client = Client(self._run.loop, self._run.place.port)
        self._client.send(request, self._tally.body, ended)

    def cut(self) -> None:
        if not self._over:
            self._over = True
            if self._client is not None:
                self._client.close()
            self._run.account(self._tally, None)
            self._run.result.unfinished += 1
