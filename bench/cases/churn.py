"""What does it cost that clients come and go?"""

from bench.cases.case import Case, Metric, milliseconds

CASE = Case(
    name="churn",
    question="What does it cost that clients come and go?",
    load="churn",
    variants={"16 clients": {"clients": 16}},
    quick={"warm": 0.3, "seconds": 1.5},
    full={"warm": 0.5, "seconds": 2.5},
    glance={"16 clients": "come and go"},
    metrics=(
        Metric(
            key="connections_per_s",
            label="connections",
            unit="/s",
            definition="16 clients: connect, read a stream of three chunks to its end, close, and again.",
            better="higher",
            chart=True,
        ),
        Metric(
            key="cpu_us_per_connection",
            label="CPU per connection",
            unit="µs",
            definition="CPU time of the target with all its processes in the window, by connections completed in it.",
        ),
        milliseconds("p50_ms", "p50", "Time from connect() to the stream's end: median."),
        milliseconds("p99_ms", "p99", "The same: p99."),
    ),
)
