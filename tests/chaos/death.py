"""A gateway dies with many clients, who all come to another one at once: `python -m tests.chaos.death`."""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
from pathlib import Path

import trio

from tests.chaos.cluster import LEASE, Cluster, Reader, Tally, cluster
from tests.doubles.gateway_client import GatewayClient
from tests.doubles.http_reader import Truncated

_LOST = (OSError, Truncated, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


class _Death:
    """When it was, and how long each client was without its stream after that."""

    def __init__(self) -> None:
        self.at = float("inf")
        self.waits: list[float] = []


async def _client(everything: Cluster, name: str, death: _Death) -> None:
    reader = Reader(everything.tally)
    back = False
    while not reader.ended:
        node = everything.nodes[death.at < trio.current_time()]
        host, port = node.front.target
        try:
            async with GatewayClient(host, port) as gateway:
                response = await gateway.subscribe(name, last=reader.cursor)
                if response.status == 200:
                    events = response.events()
                    while not reader.ended and (event := await events.next()) is not None:
                        reader.take(event.id, json.loads(event.data))
                        if not back and trio.current_time() > death.at and node is everything.nodes[1]:
                            back = True
                            death.waits.append(trio.current_time() - death.at)
        except _LOST:
            pass
        await trio.sleep(everything.chance.uniform(0, 0.2))


async def die(clients: int, streams: int, seed: int, folder: Path) -> tuple[Tally, _Death]:
    """What became of all streams, and how long it took."""
    tally, death = Tally(streams=clients), _Death()
    async with cluster(seed, tally, folder, size=2, pace=0.3) as everything:
        await trio.sleep(2 * LEASE)  # who has just come takes nothing yet
        host, port = everything.nodes[0].front.target
        async with GatewayClient(host, port) as gateway:
            names = [(await gateway.create("goes-on", lease="finish"))["id"] for _ in range(streams)]
        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(_client, everything, names[number % streams], death)
                await trio.sleep(2 / clients)
            await trio.sleep(1)
            death.at = trio.current_time()
            everything.nodes[0].kill(signal.SIGKILL)
    return tally, death


def main() -> int:
    """Returns the process's exit status: 1 when something was lost or told twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.death")
    parser.add_argument("--clients", type=int, default=1000, help="[1000]")
    parser.add_argument("--streams", type=int, default=20, help="[20]")
    parser.add_argument("--seed", type=int, default=1, help="[1]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally, death = trio.run(die, options.clients, options.streams, options.seed, Path(folder))
    waits = death.waits or [0.0]
    print(tally.line())
    print(
        f"{len(death.waits)} clients back, without their streams for {statistics.median(waits):.2f} s (median), "
        f"{max(waits):.2f} s (all); the lease was {LEASE:g} s"
    )
    return 1 if tally.lost or tally.twice or tally.errors else 0


if __name__ == "__main__":
    sys.exit(main())
