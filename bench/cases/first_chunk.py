"""How long until the first chunk is there?"""

from bench.cases.case import Case, milliseconds

_WAIT = (
    "Time from the moment the plan says a request is sent, over a kept-alive connection, until its first chunk "
    "has been read; requests arrive by plan, whatever became of earlier ones"
)

CASE = Case(
    name="first-chunk",
    question="How long until the first chunk is there, and how much of that is the target's?",
    load="first",
    variants={
        "1 stream": {"streams": 1, "chunks": 3, "gap": 12_000},
        "50 streams": {"streams": 50, "chunks": 20, "gap": 50_000},
        "500 streams": {"streams": 500, "chunks": 16, "gap": 200_000},
    },
    quick={"seconds": 1.5},
    full={"seconds": 3.0},
    glance={"1 stream": "first chunk, added"},
    metrics=(
        milliseconds(
            "added_p50_ms", "added p50", f"{_WAIT}: median, less direct's.", minus_direct="p50_ms", chart=True
        ),
        milliseconds("added_p99_ms", "added p99", f"{_WAIT}: p99, less direct's.", minus_direct="p99_ms"),
        milliseconds("p50_ms", "p50", f"{_WAIT}: median."),
        milliseconds("p99_ms", "p99", f"{_WAIT}: p99."),
    ),
    latency="time to the first chunk",
)
