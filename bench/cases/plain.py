"""How many requests a second, without streaming?"""

from bench.cases.case import Case, Metric, milliseconds

CASE = Case(
    name="plain",
    question="How many requests a second, without streaming?",
    load="plain",
    variants={"16 connections": {"connections": 16}},
    quick={"warm": 0.4, "seconds": 1.3},
    full={"warm": 0.7, "seconds": 2.5},
    glance={"16 connections": "plain requests"},
    metrics=(
        Metric(
            key="requests_per_s",
            label="requests",
            unit="/s",
            definition="Whole replies a second over 16 kept-alive connections, each asking again once answered.",
            better="higher",
            chart=True,
        ),
        Metric(
            key="cpu_us_per_request",
            label="CPU per request",
            unit="µs",
            definition="CPU time of the target with all its processes in the window, by replies received in it.",
        ),
        milliseconds("p50_ms", "p50", "Time from sending a request to having its whole reply: median."),
        milliseconds("p99_ms", "p99", "The same: p99."),
    ),
)
