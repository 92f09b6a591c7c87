"""Commands on WebSockets, as fast as they are replied to: commands a second."""

import dataclasses
import itertools
import re

from bench.carriers import Connection, carrier
from bench.histogram import Histogram
from bench.loads.fan_out import create
from bench.loads.run import Run
from bench.loop import now_ns
from bench.watching import Command, Way
from bench.websocket import client_text
from bench.wire import MARK, Script

_FIRST_REF = 1_000_000
"""All refs of a run are equally long, so that none is the beginning of another."""
_CURSOR = re.compile(rb'"id":"([^"]+)"')
_FIRST_CHUNK = 200_000
"""Microseconds: whoever has no history must be there before it."""


def commands(run: Run, *, way: str, command: str, sockets: int, depth: int, warm: float, seconds: float) -> None:
    """On each of `sockets` there are `depth` commands under way: a reply is followed by the next (a closed loop)."""
    kind = run.fan_out.ways[way]
    stream = create(run, Script(n=1, hold=1, first=_FIRST_CHUNK))
    places = {"{id}": stream, "{cursor}": _cursor(run, kind, stream)}
    start = run.soon()
    opens, closes = start + int(warm * 1e9), start + int((warm + seconds) * 1e9)
    todo = [_filled(each, places) for each in run.fan_out.commands[command]]
    group = [Talker(run, kind, todo, depth, closes) for _ in range(sockets)]
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    run.drive(until=closes + 50_000_000)
    for talker in group:
        talker.close()
    took = Histogram.of(took for talker in group for sent, took in talker.replied if opens <= sent + took < closes)
    result = run.result
    result.latency = took.to_json()
    result.values["commands_per_s"] = took.total / result.window_s if result.window_s else 0.0
    result.tell(took, p50_ms=50, p99_ms=99)
    cost = run.meter.cpu_us_per(took.total)
    if cost is not None:
        result.values["cpu_us_per_command"] = cost


def _filled(command: Command, places: dict[str, str]) -> Command:
    said = command.says
    for name, value in places.items():
        said = said.replace(name, value)
    return dataclasses.replace(command, says=said)


def _cursor(run: Run, way: Way, stream: str) -> str:
    """The id of the stream's newest event, once it has had its chunk; empty if it tells none."""
    found = [""]

    def said(_: int, message: bytes, over: bool, now: int) -> None:
        if identity := _CURSOR.search(message):
            found[0] = identity[1].decode()
        if MARK.search(message):
            run.loop.stop()

    spoken = carrier(way, stream, run.place.headers)
    connection = Connection(run.loop, run.place.port, spoken, said, run.broken)
    run.drive(until=run.soon() + 5_000_000_000)
    connection.close()
    return found[0]


class Talker:
    """One socket: says the commands in turn, and checks each reply."""

    def __init__(self, run: Run, way: Way, todo: list[Command], depth: int, until: int) -> None:
        self._run = run
        self._depth = depth
        self._until = until
        # The last that a way says is to watch.
        self._ahead = len(way.says[:-1])
        self._todo = itertools.cycle(todo)
        self._refs = itertools.count(_FIRST_REF)
        self._under_way: list[tuple[bytes, int]] = []
        self.replied: list[tuple[int, int]] = []
        """(when it was said, how long its reply took) of each command, in nanoseconds."""
        spoken = carrier(dataclasses.replace(way, says=way.says[:-1]), "", run.place.headers)
        self._connection = Connection(run.loop, run.place.port, spoken, self._said, run.broken)

    def _said(self, _: int, message: bytes, over: bool, now: int) -> None:
        if self._ahead >= 0:
            self._ahead -= 1
            if self._ahead < 0:
                self._connection.say(b"".join(self._next(now) for _ in range(self._depth)))
            return
        hears, sent = self._under_way.pop(0)
        if not message.startswith(hears):
            self._connection.close()
            self._run.broken(f"a reply was {message[:120].decode(errors='replace')}")
            return
        self.replied.append((sent, now - sent))
        if now < self._until:
            self._connection.say(self._next(now_ns()))

    def _next(self, now: int) -> bytes:
        command, ref = next(self._todo), str(next(self._refs))
        self._under_way.append((command.hears.replace("{ref}", ref).encode(), now))
        return client_text(command.says.replace("{ref}", ref))

    def close(self) -> None:
        self._connection.close()
