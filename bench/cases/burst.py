"""How many chunks a second get through when the upstream does not pause?"""

from bench.cases.case import Case, Metric

CASE = Case(
    name="burst",
    question="How many chunks a second get through when the upstream does not pause?",
    load="burst",
    variants={
        "a write a chunk": {"block": 0},
        "16 KiB writes": {"block": 16_384},
    },
    quick={"streams": 20, "chunks": 5_000, "most": 5.0},
    full={"streams": 20, "chunks": 5_000, "most": 5.0},
    glance={"16 KiB writes": "burst"},
    metrics=(
        Metric(
            key="chunks_per_s",
            label="chunks",
            unit="/s",
            definition="20 streams × 5,000 chunks, over the time from the requests to the last stream's end.",
            better="higher",
            chart=True,
        ),
        Metric(
            key="cpu_us_per_chunk",
            label="CPU per chunk",
            unit="µs",
            definition="CPU time of the target with all its processes, by chunks received.",
        ),
    ),
)
