"""What do others feel of clients that read slowly?"""

from bench.cases.case import Case, milliseconds

_AGE = "Age of a chunk when a client that is not slow has read it"

CASE = Case(
    name="slow-readers",
    question="One client in ten reads 2 KB/s: what do the others feel?",
    load="slow",
    variants={
        "none slow": {"one_in": 0},
        "one in ten": {"one_in": 10},
    },
    quick={"streams": 100, "rate": 20, "size": 2_000, "seconds": 1.5},
    full={"streams": 100, "rate": 20, "size": 2_000, "seconds": 3.0},
    quick_variants=("one in ten",),
    glance={"one in ten": "beside slow readers"},
    metrics=(
        milliseconds("p99_ms", "others p99", f"{_AGE}: p99.", chart=True),
        milliseconds("p50_ms", "others p50", f"{_AGE}: median."),
        milliseconds("p999_ms", "others p99.9", f"{_AGE}: p99.9."),
    ),
    latency="chunk latency of the others",
)
