"""What does a WebSocket weigh on which nothing happens?"""

from bench.cases.case import Case, Metric

CASE = Case(
    name="idle-sockets",
    question="What does a WebSocket weigh on which nothing happens?",
    load="idle_sockets",
    variants={"uncompressed": {"way": "websocket"}, "permessage-deflate": {"way": "websocket-deflate"}},
    quick={"sockets": 500, "settle": 0.5},
    full={"sockets": 2_000, "settle": 1.0},
    glance={"uncompressed": "idle socket"},
    metrics=(
        Metric(
            key="pss_kib",
            label="per socket",
            unit="KiB",
            definition="Growth of the PSS of all processes of the target while that many sockets wait, by sockets. "
            "Each is subscribed to a stream and has had a chunk of it, so that it has a compressor where there is to "
            "be one; what the kernel keeps for sockets is not in it.",
            chart=True,
        ),
        Metric(
            key="before_mib",
            label="before",
            unit="MiB",
            definition="PSS of all processes of the target, warm, before these sockets.",
        ),
    ),
    of_a_process=True,
    fresh=True,
)
