"""What does compressing a stream cost, and save?"""

from bench.cases.case import Case, Metric, milliseconds

CASE = Case(
    name="compression",
    question="What does compressing a stream cost, and what does it save?",
    load="compression",
    variants={coding: {"coding": coding} for coding in ("gzip", "zstd", "br", "deflate")},
    quick={"streams": 50, "rate": 50, "seconds": 1.5, "turns": 1, "firsts": 30, "silent": 100},
    full={"streams": 50, "rate": 50, "seconds": 1.5, "turns": 8, "firsts": 150, "silent": 150},
    quick_variants=("gzip", "zstd", "br"),
    metrics=(
        Metric(
            key="added_us_per_chunk",
            label="added CPU per chunk",
            unit="µs",
            definition="CPU time of the target by chunks received, less the same without a coding, in windows that "
            "take turns.",
            chart=True,
        ),
        Metric(
            key="cpu_us_per_chunk",
            label="CPU per chunk",
            unit="µs",
            definition="CPU time of the target by chunks received, compressed.",
        ),
        Metric(
            key="saved",
            label="saved",
            unit="%",
            definition="Bytes of an OpenAI stream of 500 words, each flushed, that were not sent, by all its bytes.",
            better="higher",
        ),
        milliseconds(
            "first_added_ms",
            "first chunk, added",
            "Time until a first chunk has been read and decoded, median, less the same without a coding; in turns.",
        ),
        Metric(
            key="memory_kib",
            label="memory per stream",
            unit="KiB",
            definition="Growth of the target's PSS while streams wait after 20 chunks, by streams, less the same "
            "without a coding.",
        ),
    ),
    needs="compression",
    of_a_process=True,
    fresh=True,
    deadline=90.0,
)
