"""Which chunking is best over a network that is far, lossy, or gone for a while?"""

from typing import Any, Final

from bench.cases.case import Case, Metric, milliseconds
from bench.network import obstacle

NETWORKS: Final[dict[str, dict[str, Any]]] = {
    "300 ms, 400 kbit/s": {"delay": 0.15, "bandwidth": 50_000.0, "seconds": 4.0},
    "80 ms, 2 % loss": {"delay": 0.04, "bandwidth": 1_250_000.0, "loss": 0.02, "seconds": 12.0},
    "80 ms, gone for 1.5 s": {"delay": 0.04, "bandwidth": 250_000.0, "down": (1.5, 3.0), "seconds": 4.0},
}
STRATEGIES: Final = ("adaptive", "passthrough", "bytes:64", "bytes:1024", "interval:40", "words")

CASE = Case(
    name="network",
    question="Which chunking is best over a network that is far, lossy, or gone for a while?",
    load="network",
    variants={
        f"{network}: {strategy}": {"chunking": strategy, "rate": 200.0, **conditions}
        for network, conditions in NETWORKS.items()
        for strategy in STRATEGIES
    },
    quick={"seconds": 2.0},
    quick_variants=tuple(f"300 ms, 400 kbit/s: {strategy}" for strategy in STRATEGIES[:2]),
    metrics=(
        milliseconds("p50_ms", "character p50", "Age of a character when it is there: median over all characters."),
        milliseconds("p99_ms", "character p99", "Age of a character when it is there: p99 over all characters."),
        Metric(
            key="complete_s",
            label="complete",
            unit="s",
            definition="From the request to the end of the stream.",
        ),
        Metric(
            key="wire_kib",
            label="on the wire",
            unit="KiB",
            definition="Bytes of IP that the gateway's side sent, headers and retransmissions included.",
        ),
        Metric(key="frames", label="frames", unit="", definition="Events with text that the client got."),
    ),
    needs="chunking",
    obstacle=obstacle,
    latency="age of characters",
)
