"""Many streams on one WebSocket, of which one bursts: how long the first chunk of another takes meanwhile."""

import dataclasses
import itertools
import json
from collections.abc import Callable

from bench.carriers import Connection, carrier
from bench.histogram import Histogram
from bench.loads.run import Run
from bench.tally import Recorder, Tally
from bench.websocket import client_text
from bench.wire import Script

_RATES = (2, 5, 10, 20, 50)
"""Chunks a second of the streams that go on all the time, in turn."""
_BLOCK = 16_384
_RAMP = 0.8
_INTO_THE_BURST = 5_000_000
_APART = 5_000_000

_EVENT = b'{"type":"event","stream":"'
_CREATED = b'{"type":"stream.created",'
_FINISHED = b'"type":"stream.finished"'


def fairness(run: Run, *, way: str, streams: int, burst: int, every: float, probes: int, seconds: float) -> None:
    """One socket with `streams` streams. One of them sends `burst` chunks (0: it does not) at once, every `every` s.

    `probes` more are created while it does, 5 ms apart, and their first chunks are timed.
    """
    socket = Socket(run, way)
    start = run.soon()
    opens, closes = start + int((_RAMP + 0.4) * 1e9), start + int((_RAMP + 0.4 + seconds) * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    steady = streams - probes - bool(burst)
    for number in range(steady):
        gap = 1_000_000 // _RATES[number % len(_RATES)]
        due = start + int(_RAMP * 1e9 * number / steady)
        socket.create_at(due, Script(id=number + 1, n=100_000, gap=gap), run.recorder)
    bursts, tried = [], []
    for number in range(int(seconds / every)):
        due = opens + int(number * every * 1e9)
        if burst:
            bursts.append(socket.create_at(due, Script(n=burst, block=_BLOCK)))
        for probe in range(probes):
            at = due + _INTO_THE_BURST + probe * _APART
            tried.append(socket.create_at(at, Script(id=1000 * number + probe, n=2, gap=10_000)))
    run.stop_when(lambda: all(stream.tally.first_at for stream in tried), since=closes + 20_000_000)
    run.drive(until=closes + 1_000_000_000)
    socket.close()
    _report(run, bursts, tried)


def _report(run: Run, bursts: list["Followed"], tried: list["Followed"]) -> None:
    result = run.result
    result.unfinished = 0
    waited = Histogram.of(stream.tally.first_at - stream.due for stream in tried if stream.tally.first_at)
    result.latency = waited.to_json()
    result.tell(waited, p50_ms=50, p99_ms=99)
    others = run.recorder.histogram(run.meter.started, run.meter.stopped)
    result.tell(others, others_p99_ms=99)
    result.tell(Histogram.of(stream.tally.last_at - stream.due for stream in bursts if stream.over), burst_ms=50)
    if late := len(tried) - waited.total:
        result.notes.append(f"{late:,} of {len(tried):,} streams had no first chunk in time")


@dataclasses.dataclass
class Followed:
    """A stream on the socket. `due`: when it was to be created."""

    script: Script
    due: int
    tally: Tally
    over: bool = False


class Socket:
    """Creates streams by command, and tells apart what each of them says."""

    def __init__(self, run: Run, way: str) -> None:
        self._run = run
        self._refs = itertools.count(1)
        self._asked: dict[int, Followed] = {}
        self._streams: dict[bytes, Followed] = {}
        kind = dataclasses.replace(run.fan_out.ways[way], says=())
        spoken = carrier(kind, "", run.place.headers)
        self._connection = Connection(run.loop, run.place.port, spoken, self._said, run.broken)

    def create_at(self, due: int, script: Script, recorder: Recorder | None = None) -> Followed:
        stream = Followed(script, due, Tally(recorder))
        self._run.loop.at(due, self._creator(stream))
        return stream

    def _creator(self, stream: Followed) -> Callable[[], None]:
        def create() -> None:
            ref = next(self._refs)
            self._asked[ref] = stream
            # Without a lease: what goes on for ever must not go on after us.
            request = self._run.body(stream.script)
            command = {"type": "stream.create", "ref": ref, "request": request, "lease": 0}
            self._connection.say(client_text(json.dumps(command, separators=(",", ":"))))

        return create

    def _said(self, _: int, message: bytes, over: bool, now: int) -> None:
        if message.startswith(_EVENT):
            stream = self._streams[message[len(_EVENT) : message.index(b'"', len(_EVENT))]]
            stream.tally.body(message, now)
            if _FINISHED in message:
                stream.over = True
                self._run.account(stream.tally, stream.script.n)
        elif message.startswith(_CREATED):
            reply = json.loads(message)
            self._streams[reply["stream"].encode()] = self._asked.pop(reply["ref"])
        elif message:
            self._run.broken(f"the socket said {message[:120].decode(errors='replace')}")

    def close(self) -> None:
        self._connection.close()
        for stream in (*self._streams.values(), *self._asked.values()):
            if not stream.over:
                self._run.account(stream.tally, None)
