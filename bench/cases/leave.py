"""When a client leaves, how soon does the provider know?"""

from bench.cases.case import Case, Metric, milliseconds

_TIME = "Time from the client's close() until the upstream sees its own connection closed"

CASE = Case(
    name="leave",
    question="When a client leaves, how soon does the provider know, and stop?",
    load="leave",
    variants={"chunks flowing": {"gap": 20_000}, "upstream silent": {"gap": 0}},
    quick={"clients": 40, "every": 0.025},
    full={"clients": 70, "every": 0.04},
    glance={"chunks flowing": "leaving seen"},
    metrics=(
        milliseconds("p50_ms", "seen after, p50", f"{_TIME}: median of those it saw.", chart=True),
        milliseconds("p99_ms", "seen after, p99", f"{_TIME}: p99 of those it saw."),
        Metric(
            key="seen",
            label="seen",
            unit="%",
            definition="Leaving clients of whom the upstream saw anything within two seconds.",
            better="higher",
        ),
    ),
    latency="time until the upstream sees it",
)
