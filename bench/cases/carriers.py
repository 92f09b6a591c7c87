"""What does a delivery cost by each protocol, and over TLS?"""

from bench.cases.case import Case, Metric, milliseconds

_AGE = "Age of a chunk when a client has read it, over all clients"
_EACH = {"streams": 1, "connections": 100, "rate": 50}

CASE = Case(
    name="carriers",
    question="Many watch one generation: what does a delivery cost by each protocol, in the clear and over TLS?",
    load="carriers",
    variants={
        "HTTP/1.1, 1 a connection": {"carrier": "sse", **_EACH},
        "WebSocket, 1 a connection": {"carrier": "websocket", **_EACH},
        "HTTP/2, 1 a connection": {"carrier": "http2", **_EACH},
        "HTTP/2, 100 a connection": {"carrier": "http2", "streams": 100, "connections": 3, "rate": 20},
    },
    quick={"seconds": 2.5},
    full={"seconds": 5.0},
    quick_variants=("HTTP/2, 100 a connection",),
    metrics=(
        Metric(
            key="cpu_us_per_chunk",
            label="CPU per delivery",
            unit="µs",
            definition="CPU time of the target with all its processes in the window, by chunks all clients received.",
            chart=True,
        ),
        milliseconds("p50_ms", "latency p50", f"{_AGE}: median."),
        milliseconds("p99_ms", "latency p99", f"{_AGE}: p99."),
        Metric(
            key="delivered",
            label="delivered",
            unit="%",
            definition="Chunks received in the window, by those due; less than all means saturated.",
            better="higher",
        ),
    ),
    needs="carriers",
    of_a_process=True,
    latency="chunk latency",
)
