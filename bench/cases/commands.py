"""How many commands a second does one core carry out?"""

from bench.cases.case import Case, Metric, milliseconds

_WAIT = "Time from saying a command until its reply has been read, while fifteen others of its socket are under way"

CASE = Case(
    name="commands",
    question="How many commands a second come in over WebSockets, on one core?",
    load="commands",
    variants={
        "subscribe, unsubscribe": {"way": "websocket", "command": "subscribe"},
        "cancel, unknown stream": {"way": "websocket", "command": "cancel"},
    },
    quick={"sockets": 8, "depth": 16, "warm": 0.4, "seconds": 1.5},
    full={"sockets": 8, "depth": 16, "warm": 0.5, "seconds": 2.0},
    quick_variants=("subscribe, unsubscribe",),
    glance={"subscribe, unsubscribe": "commands"},
    metrics=(
        Metric(
            key="commands_per_s",
            label="commands",
            unit="/s",
            definition="Replies a second over 8 sockets with 16 commands under way on each. A command is a message of "
            "a client, and has one reply: in turn subscribing to a stream that is silent, from its newest event on, "
            "and unsubscribing; or cancelling a stream that there is not, which is refused. With Socket.IO: joining "
            "and leaving a room, acknowledged.",
            better="higher",
            chart=True,
        ),
        Metric(
            key="cpu_us_per_command",
            label="CPU per command",
            unit="µs",
            definition="CPU time of the target with all its processes in the window, by replies received in it.",
        ),
        milliseconds("p50_ms", "p50", f"{_WAIT}: median."),
        milliseconds("p99_ms", "p99", f"{_WAIT}: p99."),
    ),
    of_a_process=True,
)
