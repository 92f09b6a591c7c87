"""What does it cost that many watch one generation?"""

from bench.cases.case import Case, Metric, milliseconds

_AGE = "Age of a chunk when a client has read it, over all clients"

CASE = Case(
    name="fan-out",
    question="Many watch one generation: what does a delivery cost, and how late is it?",
    load="fan_out",
    variants={
        "1 → 1, SSE": {"clients": 1, "rate": 50, "way": "sse"},
        "1 → 50, SSE": {"clients": 50, "rate": 20, "way": "sse"},
        "1 → 500, SSE": {"clients": 500, "rate": 20, "way": "sse"},
        "1 → 500, WebSocket": {"clients": 500, "rate": 20, "way": "websocket"},
    },
    quick={"seconds": 2.5},
    full={"seconds": 5.0},
    quick_variants=("1 → 500, SSE",),
    glance={"1 → 500, SSE": "fan-out, a delivery"},
    metrics=(
        Metric(
            key="cpu_us_per_chunk",
            label="CPU per delivery",
            unit="µs",
            definition="CPU time of the target with all its processes in the window, by chunks all clients received.",
            chart=True,
        ),
        milliseconds("p50_ms", "latency p50", f"{_AGE}: median.", chart=True),
        milliseconds("p99_ms", "latency p99", f"{_AGE}: p99."),
        Metric(
            key="delivered",
            label="delivered",
            unit="%",
            definition="Chunks received in the window, by those due; less than all means saturated.",
            better="higher",
        ),
    ),
    needs="",
    of_a_process=True,
    latency="chunk latency",
)
