"""One stream over an emulated network: what goes over the wire, and how old each character is when it is there."""

import json
import os
import re
import sys
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.ask import ask
from bench.client import Client, request_bytes
from bench.histogram import Histogram
from bench.loads.run import Run
from bench.loop import now_ns
from bench.network import ADDRESSES, Network, inside
from bench.processes import Household
from bench.targets.own import start_gateway
from bench.targets.target import Site
from bench.wire import Script

_PORT = 8080
_UPSTREAM_PORT = 8081
_DELTA = re.compile(r"\[(\d{8}):(\d{19})\][^\[]*")
_TEXT_EVENT = b'"content":"'
_GRACE = 30.0
"""Seconds after its planned end in which a stream may still arrive."""


def network(
    run: Run, *, chunking: str, rate: float, seconds: float, down: tuple[float, float] | None = None, **link: float
) -> None:
    """`seconds` of `rate` deltas/s, from a gateway behind a link (see `bench.link.Conditions`), `down` from … to …"""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    with TemporaryDirectory() as name, Network() as emulated, Household(Path(name)) as household:
        _stand_up(emulated, household)
        emulated.become(**link)
        reading = Reading(run, emulated, chunking, Script(n=int(rate * seconds), gap=int(1e6 / rate), size=270))
        before = emulated.sent()
        reading.start()
        for after, is_down in zip(down or (), (True, False), strict=False):
            run.loop.after(after, lambda is_down=is_down: emulated.become(**link, down=is_down))  # type: ignore[misc]
        run.drive(until=now_ns() + int((seconds + _GRACE) * 1e9))
        run.result.values["wire_kib"] = (emulated.sent() - before) / 1024
    reading.report()


def _stand_up(emulated: Network, household: Household) -> None:
    """The upstream and the gateway, in the near namespace."""
    within = ["ip", "netns", "exec", emulated.near]
    site = Site(_PORT, _UPSTREAM_PORT, household.folder, ADDRESSES[0])
    upstream = [sys.executable, "-m", "bench.upstream", "--port", str(_UPSTREAM_PORT)]
    household.start("upstream", [*within, *upstream], [])
    start = start_gateway(site)
    gateway = household.start("gateway", [*within, *start.command], [], start.env)

    def answers() -> bool:
        try:
            with inside(emulated.near):
                return bool(ask(_PORT, "GET", "/v1/models", host=ADDRESSES[0]))
        except OSError:
            return False

    gateway.wait_until(answers, 20)


class Reading:
    """A client in the far namespace, which notes when what has come."""

    def __init__(self, run: Run, emulated: Network, chunking: str, script: Script) -> None:
        self._run = run
        self._script = script
        self._pieces: list[tuple[int, bytes]] = []
        self._began = self._ended = 0
        self._problem = "the stream did not arrive in time"
        with inside(emulated.far):
            self._client = Client(run.loop, _PORT, host=ADDRESSES[0])
        self._chunking = chunking

    def start(self) -> None:
        self._began = now_ns()
        headers = {"stream-chunking": self._chunking}
        body = self._run.body(self._script)
        request = request_bytes("POST", "/v1/chat/completions", headers, {**body, "model": "bench"})
        self._client.send(request, lambda data, now: self._pieces.append((now, data)), self._end)

    def _end(self, problem: str) -> None:
        self._ended = now_ns()
        self._problem = problem
        self._run.loop.stop()

    def report(self) -> None:
        """Account for the text, and for the age of each of its characters."""
        result = self._run.result
        if self._problem:
            self._run.broken(self._problem)
        arrivals, starts, text = self._arrived()
        ages = Histogram()
        expected = 0
        for delta in _DELTA.finditer(text):
            if int(delta[1]) != expected:
                result.disordered += 1
            expected = int(delta[1]) + 1
            for at in range(*delta.span()):
                ages.record(arrivals[bisect_right(starts, at) - 1] - int(delta[2]))
        result.chunks = len(arrivals)
        result.lost = self._script.n - expected
        result.latency = ages.to_json()
        result.tell(ages, p50_ms=50, p99_ms=99)
        result.window_s = (self._ended - self._began) / 1e9
        result.values |= {"frames": len(arrivals), "complete_s": result.window_s}

    def _arrived(self) -> tuple[list[int], list[int], str]:
        """When each frame with text was there, where its text begins, and all the text."""
        arrivals: list[int] = []
        texts: list[str] = []
        ends = list(accumulate(len(data) for _, data in self._pieces))
        body = b"".join(data for _, data in self._pieces)
        at = 0
        while (end := body.find(b"\n\n", at)) >= 0:
            event, at = body[at:end], end + 2
            if _TEXT_EVENT in event:
                data = event[event.index(b"data: ") + 6 :]
                texts.append(json.loads(data)["choices"][0]["delta"]["content"])
                arrivals.append(self._pieces[bisect_right(ends, at - 1)][0])
        starts = [0, *accumulate(map(len, texts))][: len(texts)]
        return arrivals, starts, "".join(texts)
