"""What does a stream weigh on which nothing happens?"""

from bench.cases.case import Case, Metric

CASE = Case(
    name="idle",
    question="What does a stream weigh on which nothing happens?",
    load="idle",
    variants={"streams": {}},
    quick={"streams": 300, "settle": 0.5},
    full={"streams": 1_000, "settle": 1.0},
    glance={"streams": "idle stream"},
    metrics=(
        Metric(
            key="pss_kib",
            label="per stream",
            unit="KiB",
            definition="Growth of the PSS of all processes of the target while that many streams wait, by streams; "
            "what the kernel keeps for sockets is not in it.",
            chart=True,
        ),
        Metric(
            key="before_mib",
            label="before",
            unit="MiB",
            definition="PSS of all processes of the target, warm, before these streams.",
        ),
    ),
    of_a_process=True,
    fresh=True,
)
