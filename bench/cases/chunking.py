"""What does the default chunking cost clients that keep up?"""

from bench.cases.case import Case, Metric, milliseconds

_TURNS = "median of windows that take turns with as many of passthrough on the same target"


def _cpu(key: str, label: str, definition: str, *, chart: bool = False) -> Metric:
    return Metric(key=key, label=label, unit="µs", definition=definition, chart=chart)


CASE = Case(
    name="chunking",
    question="What does the default chunking cost clients that keep up?",
    load="chunking",
    variants={
        "100 × 50/s": {"strategy": "adaptive", "streams": 100, "rate": 50},
        "200 × 50/s": {"strategy": "adaptive", "streams": 200, "rate": 50},
    },
    quick={"seconds": 0.8, "turns": 2},
    full={"seconds": 1.5, "turns": 9},
    quick_variants=("100 × 50/s",),
    metrics=(
        _cpu(
            "added_us_per_chunk",
            "added CPU per chunk",
            "CPU time of the target by chunks received, less that of the passthrough window beside it; median.",
            chart=True,
        ),
        _cpu("cpu_us_per_chunk", "CPU per chunk", f"CPU time of the target by chunks received; {_TURNS}."),
        _cpu("passthrough_cpu_us_per_chunk", "passthrough", "The same with passthrough."),
        milliseconds("p50_ms", "p50", f"Age of a chunk when the client has read it, median; {_TURNS}."),
        milliseconds("passthrough_p50_ms", "passthrough p50", "The same with passthrough."),
        milliseconds("p99_ms", "p99", f"Age of a chunk when the client has read it, p99; {_TURNS}."),
        milliseconds("passthrough_p99_ms", "passthrough p99", "The same with passthrough."),
    ),
    needs="chunking",
    of_a_process=True,
    deadline=90.0,
)
