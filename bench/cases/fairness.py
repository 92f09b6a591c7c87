"""On a socket with many streams, does one that bursts hold up the others?"""

from bench.cases.case import Case, Metric, milliseconds

_WAIT = (
    "Time from the moment the plan says a stream is created, by a command on a socket that carries about a hundred "
    "of 2 to 50 chunks a second, until its first chunk has been read"
)

CASE = Case(
    name="fairness",
    question="A hundred streams share a WebSocket and one of them bursts: how long does another's first chunk take?",
    load="fairness",
    variants={
        "no burst": {"way": "websocket", "burst": 0},
        "one bursts": {"way": "websocket", "burst": 5_000},
    },
    quick={"streams": 100, "every": 0.3, "probes": 8, "seconds": 2.1},
    full={"streams": 100, "every": 0.3, "probes": 8, "seconds": 3.0},
    glance={"one bursts": "beside burst"},
    metrics=(
        milliseconds("p50_ms", "first chunk p50", f"{_WAIT}: median.", chart=True),
        milliseconds("p99_ms", "first chunk p99", f"{_WAIT}: p99."),
        milliseconds(
            "others_p99_ms",
            "others p99",
            "Age of a chunk of one of the streams that go on all the time when the client has read it: p99.",
        ),
        Metric(
            key="burst_ms",
            label="burst",
            unit="ms",
            definition="Time that 5,000 chunks take that come at once, on the same socket: median. The first chunks "
            "above are asked for in 5 to 40 ms of it.",
        ),
    ),
    needs="multiplex",
    of_a_process=True,
    latency="time to the first chunk",
)
