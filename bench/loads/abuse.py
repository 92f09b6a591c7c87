"""Attacks, and a client that means no harm: what it feels before and during each."""

import itertools
import socket
from collections.abc import Callable
from functools import partial

from bench import proc
from bench.client import Client, request_bytes
from bench.histogram import Histogram
from bench.loads.run import Run
from bench.loop import now_ns
from bench.targets.keys import ABUSER_KEY
from bench.wire import Script

_APART = 5_000_000
"""Nanoseconds between two requests of the good client."""
_TICK = 0.01
_ADDRESSES = 8
"""The attackers come from 127.0.0.2 and its neighbours, so that limits of addresses do not meet the good client."""
_CRUMB = 0.1
"""Seconds between two bytes of a slow writer."""


class Attack:
    """`count` connections that do one kind of harm; or `rate` times a second, on connections made for it."""

    def __init__(self, run: Run, count: int, rate: float) -> None:
        self._run = run
        self._count = count
        self._rate = rate
        self._sockets: list[socket.socket] = []
        self._numbers = itertools.count()
        self._begun = now_ns()
        self._over = False
        self.done = 0

    def idle(self) -> None:
        """Connects, and says nothing."""
        while len(self._sockets) < self._count and self._connect():
            self.done += 1
            if self.done % 100 == 0:
                break
        self._again(self.idle)

    def slow_writers(self) -> None:
        """Sends requests a byte at a time."""
        if len(self._sockets) < self._count:
            for _ in range(50):
                self._connect()
        for each in self._sockets:
            self._say(each, b"x" if self.done else b"GET /v1/models HTTP/1.1\r\nX: ")
        self.done += 1
        self._again(self.slow_writers, _CRUMB)

    def slow_readers(self) -> None:
        """Asks for long answers with a key of its own, and reads nothing of them."""
        key = {"authorization": f"Bearer {ABUSER_KEY}"}
        request = self._run.chat(Script(n=100_000, size=2_000, gap=10_000), True, **key)
        for _ in range(20):
            if len(self._sockets) >= self._count:
                break
            if (fresh := self._connect(4_096)) is not None:
                self._say(fresh, request)
                self.done += 1
        self._again(self.slow_readers)

    def churn(self) -> None:
        """Connects and leaves."""
        for _ in self._due():
            self._connect()
            self._sockets.pop().close()
        self._again(self.churn)

    def guessing(self) -> None:
        """Tries keys."""
        for _ in self._due():
            wrong = request_bytes("GET", "/v1/models", {"authorization": f"Bearer sgk_{self.done:012x}_guess"})
            client = Client(self._run.loop, self._run.place.port, source=self._source())
            client.send(wrong, _nothing, partial(_leave, client))
        self._again(self.guessing)

    def _due(self) -> range:
        owed = int((now_ns() - self._begun) / 1e9 * self._rate) - self.done
        self.done += owed
        return range(owed)

    def _again(self, attack: Callable[[], None], after: float = _TICK) -> None:
        if not self._over:
            self._run.loop.after(after, attack)

    def _source(self) -> str:
        return f"127.0.0.{2 + next(self._numbers) % _ADDRESSES}"

    def _connect(self, receive_buffer: int = 0) -> socket.socket | None:
        fresh = socket.socket()
        if receive_buffer:
            fresh.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        fresh.bind((self._source(), 0))
        try:
            fresh.connect(("127.0.0.1", self._run.place.port))
        except OSError:
            fresh.close()
            return None
        fresh.setblocking(False)
        self._sockets.append(fresh)
        return fresh

    @staticmethod
    def _say(to: socket.socket, data: bytes) -> None:
        try:
            to.send(data)
        except OSError:
            return  # it was let go, or takes nothing: as it should be

    def end(self) -> None:
        """Leaves."""
        self._over = True
        for each in self._sockets:
            each.close()


def _nothing(data: bytes, now: int) -> None:
    """What is answered to a guess."""


def _leave(client: Client, problem: str) -> None:
    client.close()


def abuse(run: Run, *, attack: str, count: int, rate: float, seconds: float) -> None:
    """A good client asks all the time, alone for `seconds`, and for as long while an attack goes on."""
    start = run.soon()
    middle, end = start + int(seconds * 1e9), start + int(2 * seconds * 1e9)
    before: list[int] = []
    during: list[int] = []
    request = run.chat(Script(n=1), stream=False)
    attacker = Attack(run, count, rate)
    pids = proc.family(run.place.target_pid)
    memory = proc.pss_bytes(pids)

    def ask(client: Client) -> None:
        began = now_ns()
        if began >= end:
            client.close()
            return

        def ended(problem: str) -> None:
            if problem:
                run.broken(problem)
            else:
                (before if began < middle else during).append(now_ns() - began)
            run.loop.at(max(now_ns(), began + _APART), lambda: ask(client if client.usable else run.pool.take()))

        client.send(request, lambda data, now: None, ended)

    ask(run.pool.take())
    run.loop.at(middle, getattr(attacker, attack))
    run.loop.at(middle, run.meter.start)
    run.loop.at(end, run.meter.stop)
    run.drive(until=end + 50_000_000)
    grown = proc.pss_bytes(pids) - memory
    attacker.end()
    result = run.result
    latency = Histogram.of(during)
    result.latency = latency.to_json()
    result.tell(Histogram.of(before), before_p50_ms=50, before_p99_ms=99)
    result.tell(latency, p50_ms=50, p99_ms=99)
    result.values["grown_mib"] = max(0, grown) / 2**20
    result.values["attacks"] = attacker.done
