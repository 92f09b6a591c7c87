"""The full storm, 500 streams on each transport, against the real console script: `python -m tests.chaos`.

With `--client js` the JavaScript client reads them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.chaos.node import TRANSPORTS, node_storm
from tests.chaos.storm import CARRIAGES, GATEWAY, Outcome, storm
from tests.doubles.gateway_config import KEY_VARIABLE, gateway_toml
from tests.doubles.gateway_process import gateway_process
from tests.doubles.js import npm

MODEL = "demo-n100-gap100"
UPTIME = 0.999


Storm = Callable[[str, int], Awaitable[Outcome]]


async def run(through: Storm) -> Outcome:
    """One storm on a gateway of its own."""
    config = gateway_toml("http://127.0.0.1:9/v1", log={"level": "info"}, **GATEWAY)
    with tempfile.TemporaryDirectory() as folder:
        async with gateway_process(config, Path(folder)) as gateway:
            return await through(gateway.host, gateway.port)


def storms(client: str, **how: Any) -> dict[str, Storm]:
    """The storms that a client has to go through, by the names of its transports."""
    if client == "js":
        npm.built()
        return {name: partial(node_storm, transport=name, **how) for name in TRANSPORTS}
    return {carriage.name: partial(storm, carriage=carriage, **how) for carriage in CARRIAGES}


def main() -> int:
    """Returns the process's exit status: 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--streams", type=int, default=500, help="streams on each transport [500]")
    parser.add_argument("--model", default=MODEL, help=f"what they are [{MODEL}]")
    parser.add_argument("--seed", type=int, default=1, help="of the faults [1]")
    parser.add_argument("--only", help="a transport, such as 'long poll'")
    parser.add_argument("--client", choices=("python", "js"), default="python", help="who reads [python]")
    options = parser.parse_args()
    os.environ.setdefault(KEY_VARIABLE, "unused")  # the configuration names a provider, too
    bad = 0
    how = {"streams": options.streams, "model": options.model, "seed": options.seed}
    for name, through in storms(options.client, **how).items():
        if options.only in (None, name):
            outcome = trio.run(run, through)
            print(outcome.line(name), flush=True)
            for error in outcome.errors[:5]:
                print(f"    {error}")
            bad += bool(outcome.lost or outcome.twice or outcome.uptime < UPTIME)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
