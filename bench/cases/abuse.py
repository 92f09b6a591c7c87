"""What does a client that means no harm feel of those who do?"""

from bench.cases.case import Case, Metric, milliseconds

_TIME = "Time from a request that is not streamed to its reply, one client asking every 5 ms"

CASE = Case(
    name="abuse",
    question="What does a good client feel of idle connections, slow ones, churn, and guessed keys?",
    load="abuse",
    variants={
        "5,000 idle connections": {"attack": "idle", "count": 5_000, "rate": 0.0},
        "200 slow readers": {"attack": "slow_readers", "count": 200, "rate": 0.0},
        "500 slow writers": {"attack": "slow_writers", "count": 500, "rate": 0.0},
        "500 connections a second": {"attack": "churn", "count": 0, "rate": 500.0},
        "500 guesses a second": {"attack": "guessing", "count": 0, "rate": 500.0},
    },
    quick={"seconds": 2.0},
    full={"seconds": 4.0},
    quick_variants=("5,000 idle connections", "500 guesses a second"),
    needs="keys",
    fresh=True,
    metrics=(
        milliseconds("p99_ms", "p99", f"{_TIME}: p99 during the attack.", chart=True),
        milliseconds("before_p99_ms", "p99 before", f"{_TIME}: p99 before the attack, in the same run."),
        milliseconds("p50_ms", "p50", f"{_TIME}: median during the attack."),
        milliseconds("before_p50_ms", "p50 before", f"{_TIME}: median before the attack."),
        Metric(
            key="grown_mib",
            label="memory",
            unit="MiB",
            definition="By how much the PSS of the target's processes has grown at the end of the attack.",
        ),
        Metric(
            key="attacks",
            label="attacks",
            unit="",
            definition="Connections, rounds or guesses that the attack has made; all of them from other addresses.",
            better="higher",
        ),
    ),
    latency="replies during the attack",
)
