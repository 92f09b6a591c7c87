"""The full storm, 500 streams on each transport, against the real console script: `python -m tests.chaos`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import trio

from tests.chaos.storm import CARRIAGES, GATEWAY, Carriage, Outcome, storm
from tests.doubles.gateway_config import KEY_VARIABLE, gateway_toml
from tests.doubles.gateway_process import gateway_process

MODEL = "demo-n100-gap100"
UPTIME = 0.999


async def run(carriage: Carriage, streams: int, model: str, seed: int) -> Outcome:
    """One storm on a gateway of its own."""
    config = gateway_toml("http://127.0.0.1:9/v1", log={"level": "info"}, **GATEWAY)
    with tempfile.TemporaryDirectory() as folder:
        async with gateway_process(config, Path(folder)) as gateway:
            return await storm(gateway.host, gateway.port, carriage, streams=streams, model=model, seed=seed)


def main() -> int:
    """Returns the process's exit status: 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--streams", type=int, default=500, help="streams on each transport [500]")
    parser.add_argument("--model", default=MODEL, help=f"what they are [{MODEL}]")
    parser.add_argument("--seed", type=int, default=1, help="of the faults [1]")
    parser.add_argument("--only", help="a transport, such as 'long poll'")
    options = parser.parse_args()
    os.environ.setdefault(KEY_VARIABLE, "unused")  # the configuration names a provider, too
    bad = 0
    for carriage in CARRIAGES:
        if options.only in (None, carriage.name):
            outcome = trio.run(run, carriage, options.streams, options.model, options.seed)
            print(outcome.line(carriage.name), flush=True)
            for error in outcome.errors[:5]:
                print(f"    {error}")
            bad += bool(outcome.lost or outcome.twice or outcome.uptime < UPTIME)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
