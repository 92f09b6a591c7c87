"""Gateways on one Redis, everything of which fails all the time: what clients that wander among them get.

`python -m tests.chaos.cluster` does this with 200 streams; the suite with fewer.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from stream_protocols.cursor import Cursor, parse_cursor
from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import GatewayClient
from tests.doubles.gateway_config import KEY_VARIABLE, gateway_toml
from tests.doubles.gateway_process import GatewayProcess, gateway_process
from tests.doubles.http_reader import Truncated
from tests.doubles.http_requests import Request
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.redis_server import RedisServer, redis_server

KEY = "sk-cluster"
LEASE = 2.0
WHOLE = "".join(words(150))
STEP = 8
"""Characters in a delta."""

_LOST = (OSError, Truncated, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, AssertionError)


@dataclasses.dataclass
class Tally:
    """What became of all streams.

    Attributes:
        whole: finished, and exactly their text.
        failed: ended with an explicit failure, after exactly the beginning of their text; by their codes.
        forgotten: were promised to clients, and never stored before their node died: 404.
        continued: had a notice that they were continued.
        voided: events that were seen, and of which clients were told that they are void.
        lost, twice: what must not be.
        errors: what else must not be.
    """

    streams: int = 0
    whole: int = 0
    failed: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    forgotten: int = 0
    continued: int = 0
    voided: int = 0
    events: int = 0
    lost: int = 0
    twice: int = 0
    connects: int = 0
    faults: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    errors: list[str] = dataclasses.field(default_factory=list)

    def line(self) -> str:
        """For people."""
        failed = ", ".join(f"{count} {code}" for code, count in sorted(self.failed.items())) or "none"
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.streams} streams: {self.whole} whole ({self.continued} of all continued), failed: {failed}; "
            f"{self.forgotten} forgotten; {self.events} events, {self.lost} lost, {self.twice} twice, "
            f"{self.voided} void; {self.connects} connections; faults: {faults}"
        )


class Reader:
    """A client that wanders, and keeps what it has been shown and not been told to forget."""

    def __init__(self, tally: Tally) -> None:
        self.ended = False
        self._tally = tally
        self._seen: list[tuple[int, str]] = []
        self._last: Cursor | None = None
        self.cursor: str | None = None
        self._continued = False

    def take(self, identifier: str | None, event: dict[str, Any]) -> None:
        """One event."""
        if event["type"] == "notice" and event["code"] == "gap":
            self._forget(event["data"]["resumes_after"], event["data"]["reason"])
            return
        assert identifier is not None
        cursor = parse_cursor(identifier)
        if self._last is not None and cursor.position.seq <= self._last.position.seq:
            self._tally.twice += 1
        self._last, self.cursor = cursor, identifier
        self._tally.events += 1
        if event["type"] == "text.delta":
            self._seen.append((cursor.position.seq, event["text"]))
        elif event["type"] == "notice" and event["code"] == "continued" and not self._continued:
            self._continued = True
            self._tally.continued += 1
        elif event["type"] in ("stream.finished", "stream.failed", "stream.cancelled"):
            self._end(event)

    def _forget(self, after: str, reason: str) -> None:
        stands = parse_cursor(after)
        if reason != "epoch":
            self._tally.errors.append(f"gap of {reason} at {after}")
        void = [text for seq, text in self._seen if seq > stands.position.seq]
        self._tally.voided += len(void)
        self._seen = [(seq, text) for seq, text in self._seen if seq <= stands.position.seq]
        self._last, self.cursor = stands, after

    def _end(self, event: dict[str, Any]) -> None:
        self.ended = True
        text = "".join(text for _, text in self._seen)
        if event["type"] == "stream.finished":
            self._tally.whole += text == WHOLE
            self._tally.lost += text != WHOLE
        else:
            self._tally.failed[event.get("code") or event.get("reason", "")] += 1
            self._tally.lost += not WHOLE.startswith(text)


class Node:
    """A gateway that is killed and started again, behind a proxy for its clients and perhaps one for its Redis."""

    log: list[dict[str, Any]]

    def __init__(self, front: ChaosProxy, redis: ChaosProxy | None = None) -> None:
        self.front = front
        self.redis = redis
        self.running: GatewayProcess | None = None
        self.log = []
        self.ready = trio.Event()

    async def run(self, config: str, folder: Path) -> None:
        """Start it whenever it has ended."""
        while True:
            try:
                async with gateway_process(config, folder) as process:
                    self.front.target = (process.host, process.port)
                    self.running = process
                    self.ready.set()
                    await process.exited.wait()
                    self.ready = trio.Event()
                    self.log += process.log
                    if await process.process.wait() != -signal.SIGKILL:
                        said = "\n".join(str(line["event"]) for line in process.log[-40:])
                        self.log.append({"exception": f"ended by itself:\n{said}"})
            except* (AssertionError, trio.TooSlowError):  # Redis was not there for too long
                pass
            finally:
                self.running = None

    def kill(self, number: signal.Signals) -> None:
        if self.running is not None:
            self.running.process.send_signal(number)


class Cluster:
    """Everything, and what happens to it."""

    def __init__(self, nodes: list[Node], server: RedisServer | None, tally: Tally, seed: int) -> None:
        self.nodes = nodes
        self._server = server
        self.tally = tally
        self.chance = random.Random(seed)

    @property
    def server(self) -> RedisServer:
        assert self._server is not None
        return self._server

    async def rage(self) -> None:
        """One fault after the other, until cancelled."""
        faults: list[Callable[[], Any]] = [self._kill, self._kill, self._sleep, self._cut, self._cut_clients]
        faults += [self._stop_redis, self._restart_redis]
        while True:
            await trio.sleep(self.chance.uniform(0.3, 1.5))
            fault = self.chance.choice(faults)
            self.tally.faults[fault.__name__.strip("_")] += 1
            await fault()

    async def _kill(self) -> None:
        self.chance.choice(self.nodes).kill(signal.SIGKILL)

    async def _sleep(self) -> None:
        node = self.chance.choice(self.nodes)
        node.kill(signal.SIGSTOP)
        try:
            await trio.sleep(self.chance.uniform(0.5, 2.5) * LEASE)
        finally:
            node.kill(signal.SIGCONT)

    async def _cut(self) -> None:
        redis = self.chance.choice(self.nodes).redis
        assert redis is not None
        redis.strike(Fault.CUT)

    async def _cut_clients(self) -> None:
        self.chance.choice(self.nodes).front.strike(Fault.CUT)

    async def _stop_redis(self) -> None:
        self.server.suspend()
        try:
            await trio.sleep(self.chance.uniform(0.2, 2.0))
        finally:
            self.server.resume()

    async def _restart_redis(self) -> None:
        await self.server.kill()
        await trio.sleep(self.chance.uniform(0, 0.5))
        with trio.CancelScope(shield=True):
            await self.server.start()

    # ---- clients

    async def client(self, model: str) -> None:
        """Create a stream and follow it to its end, from node to node."""
        self.tally.streams += 1
        name = await self._create(model)
        reader = Reader(self.tally)
        unknown = 0
        while not reader.ended:
            try:
                status = await self._follow(name, reader)
            except _LOST as error:
                if isinstance(error, AssertionError) and str(error):
                    raise
                status = 0
            unknown = unknown + 1 if status == 404 else 0
            if unknown > 3 * len(self.nodes):
                self.tally.forgotten += 1
                return
            if status not in (0, 200, 404, 503):
                self.tally.errors.append(f"{name}: {status} for {reader.cursor}")
                return
            await trio.sleep(self.chance.uniform(0, 0.1 if status == 200 else 0.5))

    async def _create(self, model: str) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": "go"}], "lease": "finish"}
        key = {"Idempotency-Key": f"{self.chance.getrandbits(64):x}"}
        while True:
            try:
                with trio.fail_after(15):
                    async with self._gateway() as gateway:
                        response = await gateway.request("POST", "/v1/streams", payload=body, headers=key)
                        if response.status in (200, 201):
                            return str((await response.json())["id"])
            except _LOST:
                pass
            await trio.sleep(self.chance.uniform(0, 0.5))

    def _gateway(self) -> GatewayClient:
        self.tally.connects += 1
        return GatewayClient("127.0.0.1", self.chance.choice(self.nodes).front.port)

    async def _follow(self, name: str, reader: Reader) -> int:
        """Read for a while, on some node."""
        async with self._gateway() as gateway:
            with trio.move_on_after(15):
                response = await gateway.subscribe(name, last=reader.cursor)
            if response.status != 200:
                return response.status
            with trio.move_on_after(self.chance.uniform(0.3, 4.0)):
                events = response.events()
                while not reader.ended and (event := await events.next()) is not None:
                    reader.take(event.id, json.loads(event.data))
        return 200


async def provide(tally: Tally, nursery: trio.Nursery, pace: float = 0.1) -> OpenAIServer:
    """A provider that tells the whole text in steps, from wherever it is asked to go on."""
    os.environ[KEY_VARIABLE] = KEY
    gates: list[Gate] = []

    def script(request: Request) -> Script:
        last = request.json["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else ""
        if not WHOLE.startswith(said):
            tally.errors.append(f"continued after {said[-40:]!r}, which nobody said")
        rest = WHOLE[len(said) :]
        gates.append(Gate(0))
        return Script(deltas=tuple(rest[at : at + STEP] for at in range(0, len(rest), STEP)), gate=gates[-1])

    async def tick() -> None:
        while True:
            await trio.sleep(pace)
            for gate in gates:
                gate.release()

    upstream = OpenAIServer(key=KEY)
    upstream.scripts |= {"ends": script, "goes-on": script}
    await nursery.start(upstream.run)
    nursery.start_soon(tick)
    return upstream


def configured(upstream: OpenAIServer, **engine: Any) -> str:
    """A gateway's configuration: one route fails when its gateway dies, the other goes on."""
    targets = [{"provider": "mock", "model": "goes-on", "capabilities": ["continue"]}]
    sections: dict[str, Any] = {
        "log": {"level": "info"},
        "engine": {"lease": LEASE, **engine},
        'routes."goes-on"': {"after_first_token": "continue", "targets": targets},
    }
    return gateway_toml(upstream.base_url, **sections)


@asynccontextmanager
async def cluster(
    seed: int, tally: Tally, folder: Path, size: int = 3, pace: float = 0.1, **engine: Any
) -> AsyncIterator[Cluster]:
    """Some gateways, their Redis and their provider."""
    (folder / "redis").mkdir()
    async with redis_server(folder / "redis") as server, trio.open_nursery() as nursery:
        upstream = await provide(tally, nursery, pace)
        nodes = []
        for number in range(size):
            front, redis = ChaosProxy("127.0.0.1", 9), ChaosProxy("127.0.0.1", server.port)
            await nursery.start(front.run)
            await nursery.start(redis.run)
            config = configured(upstream, kind="redis", url=f"redis://127.0.0.1:{redis.port}/0", **engine)
            nodes.append(Node(front, redis))
            place = folder / f"node{number}"
            place.mkdir()
            nursery.start_soon(nodes[-1].run, config, place)
        for node in nodes:
            await node.ready.wait()
        yield Cluster(nodes, server, tally, seed)
        for node in nodes:
            logged = node.log + (node.running.log if node.running is not None else [])
            tally.errors += [line["exception"][-6000:] for line in logged if "exception" in line]
        nursery.cancel_scope.cancel()


async def storm(streams: int, seed: int, folder: Path, *, patience: float = 120.0, **engine: Any) -> Tally:
    """Streams on a cluster that suffers until all have ended."""
    tally = Tally()
    async with cluster(seed, tally, folder, **engine) as everything:
        with trio.move_on_after(patience) as limit:
            async with trio.open_nursery() as raging:
                raging.start_soon(everything.rage)
                async with trio.open_nursery() as clients:
                    for number in range(streams):
                        clients.start_soon(everything.client, ("ends", "goes-on")[number % 2])
                        await trio.sleep(10 / streams)
                raging.cancel_scope.cancel()
        if limit.cancelled_caught:
            tally.errors.append(f"not all had ended after {patience:.0f} s")
    return tally


def main() -> int:
    """Returns the process's exit status: 1 when something was lost, told twice, or never ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cluster")
    parser.add_argument("--streams", type=int, default=200, help="[200]")
    parser.add_argument("--seed", type=int, default=1, help="of the faults [1]")
    parser.add_argument("--sync", choices=["behind", "strict"], default="behind", help="[behind]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = trio.run(lambda: storm(options.streams, options.seed, Path(folder), patience=300, sync=options.sync))
    print(tally.line())
    for error in tally.errors[:10]:
        print(f"    {error}")
    return 1 if tally.lost or tally.twice or tally.errors else 0


if __name__ == "__main__":
    sys.exit(main())
