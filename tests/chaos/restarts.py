"""A gateway on a SQLite file that is killed at random moments, again and again, while its clients come back each time.

`python -m tests.chaos.restarts` kills it 100 times; the suite less often.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import trio

from tests.chaos.cluster import Cluster, Node, Tally, configured, provide
from tests.doubles.chaos_proxy import ChaosProxy
from tests.doubles.waiting import until

CLIENTS = 12
"""Streams that are read at a time."""


async def restarts(kills: int, seed: int, folder: Path, *, sync: str, patience: float) -> Tally:
    """Kill it so often, and then let all streams come to their ends."""
    tally = Tally()
    with trio.move_on_after(patience) as limit:
        async with trio.open_nursery() as nursery:
            front = ChaosProxy("127.0.0.1", 9)
            await nursery.start(front.run)
            config = configured(await provide(tally, nursery), kind="sqlite", path=str(folder / "s.db"), sync=sync)
            node = Node(front)
            nursery.start_soon(node.run, config, folder)
            await _suffer(Cluster([node], None, tally, seed), node, kills)
            nursery.cancel_scope.cancel()
    if limit.cancelled_caught:
        tally.errors.append(f"not all had ended after {patience:.0f} s")
    return tally


async def _suffer(everything: Cluster, node: Node, kills: int) -> None:
    over = trio.Event()

    async def one_after_the_other(number: int) -> None:
        while not over.is_set():
            await everything.client(("ends", "goes-on", "goes-on")[number % 3])
            number += 1

    async with trio.open_nursery() as clients:
        for number in range(CLIENTS):
            clients.start_soon(one_after_the_other, number)
        for _ in range(kills):
            await node.ready.wait()
            await trio.sleep(everything.chance.uniform(0.0, 0.8))
            everything.tally.faults["kill"] += 1
            process = node.running
            node.kill(signal.SIGKILL)
            await until(lambda process=process: node.running is not process)
        over.set()


def main() -> int:
    """Returns the process's exit status: 1 when something was lost, told twice, or never ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.restarts")
    parser.add_argument("--kills", type=int, default=100, help="[100]")
    parser.add_argument("--seed", type=int, default=1, help="of the moments [1]")
    parser.add_argument("--sync", choices=["behind", "strict"], default="strict", help="[strict]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = trio.run(
            lambda: restarts(options.kills, options.seed, Path(folder), sync=options.sync, patience=30 * options.kills)
        )
    print(tally.line())
    for error in tally.errors[:10]:
        print(f"    {error}")
    void = tally.voided if options.sync == "strict" else 0
    return 1 if tally.lost or tally.twice or tally.errors or void else 0


if __name__ == "__main__":
    sys.exit(main())
