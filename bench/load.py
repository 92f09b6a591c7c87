"""The load generator: plays the clients, in a process of its own.

    python -m bench.load ORDER.json RESULT.json

An order is `{"load": "plain", "place": {…}, "deadline": 30, "arguments": {…}}`; the result is a
`bench.result.Result`.
"""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.loads.abuse import abuse
from bench.loads.burst import burst
from bench.loads.chunking import chunking
from bench.loads.churn import churn
from bench.loads.commands import commands
from bench.loads.compression import compression
from bench.loads.fairness import fairness
from bench.loads.fan_out import fan_out
from bench.loads.first import first
from bench.loads.idle import idle, idle_sockets
from bench.loads.leave import leave
from bench.loads.network import network
from bench.loads.plain import plain
from bench.loads.run import Place, Run
from bench.loads.slow import slow
from bench.loads.steady import steady
from bench.loads.storm import storm
from bench.loop import sharpen_timers
from bench.result import Result

LOADS: dict[str, Callable[..., None]] = {
    load.__name__: load
    for load in (
        abuse,
        burst,
        chunking,
        churn,
        commands,
        compression,
        fairness,
        fan_out,
        first,
        idle,
        idle_sockets,
        leave,
        network,
        plain,
        slow,
        steady,
        storm,
    )
}


def carry_out(order: dict[str, Any]) -> Result:
    run = Run(Place(**order["place"]), order["deadline"])
    run.upstream("/bench/reset")
    LOADS[order["load"]](run, **order["arguments"])
    run.result.upstream_late_us = run.upstream("/bench/stats")["late_us"]["p99"]
    return run.result


def allow_many_sockets() -> None:
    """Raises the limit of open files as far as this user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    order_file, result_file = map(Path, sys.argv[1:])
    order = json.loads(order_file.read_text())
    allow_many_sockets()
    sharpen_timers()
    result_file.write_text(json.dumps(carry_out(order).to_json()))


if __name__ == "__main__":
    main()
