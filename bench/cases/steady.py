"""What does a chunk cost, and how late does it arrive, at the pace of real models?"""

from bench.cases.case import Case, Metric, milliseconds

_AGE = "Age of a chunk when the client has read it, by the send time it carries, over all chunks of the window"

CASE = Case(
    name="steady",
    question="What does a chunk cost, and how late does it arrive, at the pace of real models?",
    load="steady",
    variants={
        "100 × 50/s": {"streams": 100, "rate": 50},
        "500 × 20/s": {"streams": 500, "rate": 20},
    },
    quick={"ramp": 0.8, "settle": 0.4, "seconds": 2.0},
    full={"ramp": 1.0, "settle": 0.5, "seconds": 4.0},
    glance={"100 × 50/s": "steady, a chunk"},
    metrics=(
        Metric(
            key="cpu_us_per_chunk",
            label="CPU per chunk",
            unit="µs",
            definition="CPU time of the target with all its processes in the window, by chunks received in it.",
            chart=True,
        ),
        milliseconds("p50_ms", "latency p50", f"{_AGE}: median.", chart=True),
        milliseconds("p99_ms", "latency p99", f"{_AGE}: p99."),
        milliseconds("p999_ms", "latency p99.9", f"{_AGE}: p99.9."),
        Metric(
            key="delivered",
            label="delivered",
            unit="%",
            definition="Chunks received in the window, by those offered; less than all means saturated.",
            better="higher",
        ),
    ),
    latency="chunk latency",
)
