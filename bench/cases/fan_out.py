"""What does it cost that many watch one generation, by each protocol, in the clear and over TLS?"""

from bench.cases.case import Case, Metric, milliseconds

_AGE = "Age of a chunk when a client has read it, over all clients"
_EACH = {"streams": 1, "rate": 20}

CASE = Case(
    name="fan-out",
    question="Many watch one generation: what does a delivery cost by each protocol, and how late is it?",
    load="fan_out",
    variants={
        "1 → 1, SSE": {"way": "sse", "connections": 1, "streams": 1, "rate": 50},
        "1 → 50, SSE": {"way": "sse", "connections": 50, **_EACH},
        "1 → 500, SSE": {"way": "sse", "connections": 500, **_EACH},
        "1 → 500, WebSocket": {"way": "websocket", "connections": 500, **_EACH},
        "1 → 500, HTTP/2": {"way": "http2", "connections": 500, **_EACH},
        "1 → 500, HTTP/2, 100 a connection": {"way": "http2", "connections": 5, "streams": 100, "rate": 20},
    },
    quick={"seconds": 1.2},
    full={"seconds": 3.0},
    quick_variants=("1 → 500, SSE", "1 → 500, WebSocket", "1 → 500, HTTP/2"),
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
    of_a_process=True,
    latency="chunk latency",
)
