"""All connections are cut at once: how soon is everyone back, and what was lost?"""

from bench.cases.case import Case, Metric, milliseconds

CASE = Case(
    name="reconnect-storm",
    question="All connections are cut at once: how soon is everyone back, and what was lost?",
    load="storm",
    variants={"1,000 clients, SSE": {"clients": 1_000, "streams": 20, "rate": 10, "way": "sse"}},
    quick={"after": 1.5},
    full={"after": 2.5},
    glance={"1,000 clients, SSE": "storm, all back"},
    metrics=(
        milliseconds(
            "all_live_ms",
            "all live",
            "Time from the cut until the last of 1,000 clients, all resuming at once with Last-Event-ID, has its next "
            "chunk. Chunks come each 100 ms on average, so about 100 ms of it is waiting for one.",
            chart=True,
        ),
        milliseconds("answered_p50_ms", "answered p50", "Time from the cut until a client has its first bytes."),
        milliseconds("live_p50_ms", "live p50", "Time from the cut until a client has its next chunk: median."),
        milliseconds("live_p99_ms", "live p99", "The same: p99."),
        Metric(key="lost", label="lost", unit="chunks", definition="Chunks that a client never got."),
        Metric(key="twice", label="twice", unit="chunks", definition="Chunks that a client got more than once."),
    ),
    needs="resume",
    latency="time until live again",
)
