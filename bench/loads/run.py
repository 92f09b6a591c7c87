"""What all loads share: the target's place, the loop, the CPU meter, and the account of every stream."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from bench import machine, proc
from bench.ask import ask
from bench.client import Client, Pool, request_bytes
from bench.loop import Loop, now_ns
from bench.result import Result
from bench.tally import Recorder, Tally
from bench.watching import FanOut
from bench.wire import Script

_LATE_STARTS = 5_000_000
"""A first request this far ahead leaves time to prepare; nanoseconds."""
_LOOKS_APART = 20_000_000


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the load goes, and which processes are to be metered."""

    port: int
    target_pid: int
    """0: there is no target, the upstream is asked directly."""
    upstream_port: int
    upstream_pid: int
    path: str = "/v1/chat/completions"
    model: str = "bench"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tls: bool = False
    fan_out: Mapping[str, Any] | None = None
    """A `bench.watching.FanOut` as JSON."""


class Run:
    """One load against one target. A load fills `result`."""

    def __init__(self, place: Place, deadline: float) -> None:
        self.place = place
        self.loop = Loop()
        self.pool = Pool(self.loop, place.port)
        self.recorder = Recorder()
        self.result = Result()
        self.meter = Meter(place, self.result)
        self.deadline = now_ns() + int(deadline * 1e9)
        self._drives = 0

    @property
    def fan_out(self) -> FanOut:
        assert self.place.fan_out is not None
        return FanOut.from_json(self.place.fan_out)

    def soon(self) -> int:
        return now_ns() + _LATE_STARTS

    def chat(self, script: Script, stream: bool = True, **headers: str) -> bytes:
        return request_bytes("POST", self.place.path, {**self.place.headers, **headers}, self.body(script, stream))

    def body(self, script: Script, stream: bool = True) -> dict[str, Any]:
        return {
            "model": self.place.model,
            "stream": stream,
            "messages": [{"role": "user", "content": script.text()}],
        }

    def drive(self, until: int | None = None) -> None:
        """Runs the loop until a load stops it, but not beyond `until` or the deadline."""
        self._drives += 1
        this = self._drives

        def stop() -> None:
            # One that is left over from an earlier drive is not meant for this one.
            if this == self._drives:
                self.loop.stop()

        self.loop.at(min(self.deadline, until or self.deadline), stop)
        self.loop.run()

    def stop_when(self, done: Callable[[], bool], since: int = 0) -> None:
        """Has the loop stop as soon as `done` says so; from `since` on it is asked, again and again."""

        def look() -> None:
            if done():
                self.loop.stop()
            else:
                self.loop.at(now_ns() + _LOOKS_APART, look)

        self.loop.at(max(since, now_ns() + _LOOKS_APART), look)

    def broken(self, sentence: str) -> None:
        self.result.broken += 1
        self.result.problem = self.result.problem or sentence

    def account(self, tally: Tally, expected: int | None) -> None:
        """Adds one stream to the result; `expected` chunks if it ended by itself, None if we cut it."""
        order = tally.order
        self.result.chunks += order.next - order.lost
        self.result.lost += order.lost
        self.result.repeated += order.repeated
        self.result.disordered += order.disordered
        if expected is not None and order.next < expected:
            self.result.lost += expected - order.next

    def upstream(self, path: str) -> dict[str, Any]:
        """Asks the upstream about itself; blocks, so only before or after the load."""
        answer: dict[str, Any] = json.loads(ask(self.place.upstream_port, "GET", path))
        return answer


class Streamed:
    """One streamed request from its start to its end."""

    __slots__ = ("_done", "_run", "client", "due", "over", "script", "tally")

    def __init__(
        self, run: Run, script: Script, done: Callable[["Streamed"], None], recorder: Recorder | None = None
    ) -> None:
        self._run = run
        self._done = done
        self.script = script
        self.tally = Tally(recorder)
        self.client: Client | None = None
        self.over = False
        self.due = 0

    def start_at(self, due: int) -> None:
        self.due = due
        self._run.loop.at(due, self._start)

    def _start(self) -> None:
        if self.client is None:
            self.client = self._run.pool.take()
        self.client.send(self._run.chat(self.script), self.tally.body, self._ended)

    def _ended(self, problem: str) -> None:
        assert self.client is not None
        self.over = True
        if problem:
            self._run.broken(problem)
        self._run.account(self.tally, None if problem else self.script.n)
        self._run.pool.give_back(self.client)
        self._done(self)

    def cut(self) -> None:
        """Ends it because time is up."""
        if self.over:
            return
        self.over = True
        if self.client is not None:
            self.client.close()
        self._run.account(self.tally, None)
        self._run.result.unfinished += 1


class Meter:
    """CPU time of target, upstream and this process between `start` and `stop`."""

    def __init__(self, place: Place, result: Result) -> None:
        self._result = result
        self._target = proc.family(place.target_pid) if place.target_pid else []
        self._groups = (self._target, [place.upstream_pid], [os.getpid()])
        self._before = (0, 0, 0, 0)
        self._ticks = machine.ticks()
        self.started = 0
        self.stopped = 0

    def _sample(self) -> tuple[int, int, int, int]:
        target, upstream, load = (proc.family_cpu_ns(group) for group in self._groups)
        return now_ns(), target, upstream, load

    def start(self) -> None:
        self._ticks = machine.ticks()
        self._before = self._sample()
        self.started = self._before[0]

    def stop(self) -> None:
        """Fills the result's shares."""
        after = self._sample()
        self.stopped = after[0]
        wall, target, upstream, load = (b - a for a, b in zip(self._before, after, strict=True))
        self.target_ns = target
        wall = max(1, wall)
        self._result.window_s = wall / 1e9
        self._result.target_cpu = target / wall
        self._result.upstream_cpu = upstream / wall
        self._result.load_cpu = load / wall
        self._see_others(wall, target + upstream + load)

    def _see_others(self, wall: int, ours: int) -> None:
        """How much of all cores' time others took: processes of this machine, and its hypervisor."""
        after = machine.ticks()
        all_ticks = after.all - self._ticks.all
        if all_ticks < 20:
            return
        busy = (after.busy - self._ticks.busy) / all_ticks
        cores = os.cpu_count() or 1
        self._result.others = max(0.0, busy - ours / wall / cores)
        self._result.stolen = (after.stolen - self._ticks.stolen) / all_ticks

    def cpu_us_per(self, count: int) -> float | None:
        """Microseconds of the target's CPU for each of `count` things done in the window."""
        return self.target_ns / 1000 / count if count and self._target else None
