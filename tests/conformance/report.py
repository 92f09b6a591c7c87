"""What the suite found, as a page for docs."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version

from tests.conformance.autobahn import SUITE, Results

SECTIONS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Closing",
    9: "Limits and performance",
    10: "Fragmented output",
    12: "Compression, different payloads",
    13: "Compression, different parameters",
}

COLUMNS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "FAILED")

INTRODUCTION = """\
# Conformance

The [Autobahn testsuite](https://github.com/crossbario/autobahn-testsuite) plays a client that breaks every rule of
RFC 6455 and RFC 7692, against an echo server on the gateway's own code: its listener, its opening handshake, its
sockets. Only what is said on a socket differs. `make conformance` runs it where Python 2.7 is found, because the suite
needs that, and writes this page, in a quarter of an hour; `make conformance ARGS=--quick` runs a minute's worth of it.

*Informational* cases have no right answer in the standard. A case counts as OK when both what was said and how the
connection was closed are.
"""


def behaviors(result: Mapping[str, object]) -> str:
    """What became of a case: the worse of its two verdicts."""
    verdicts = [str(result["behavior"]), str(result["behaviorClose"])]
    unknown = [verdict for verdict in verdicts if verdict not in COLUMNS]
    return "FAILED" if unknown else max(verdicts, key=COLUMNS.index)


def section(case: str) -> int:
    """The section that a case is in."""
    return int(case.split(".")[0])


def failed(results: Results) -> list[str]:
    """The cases that failed, in order."""
    return sorted((case for case, result in results.items() if behaviors(result) == "FAILED"), key=_order)


def page(runs: Sequence[tuple[str, Results]]) -> str:
    """The whole page; each run is a table, under what it ran with."""
    tables = [part for title, results in runs for part in (f"## {title}", "", *_table(results), "")]
    return "\n".join([INTRODUCTION, _versions(), "", *tables])


def _versions() -> str:
    ours = [f"{name} {version(name)}" for name in ("stream-gateway", "trio-websocket", "wsproto", "trio")]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"Last run: {SUITE.replace('==', ' ')}, against {', '.join(ours)} on {python}."


def _table(results: Results) -> Iterable[str]:
    yield "| section | | cases | OK | informational | non-strict | failed |"
    yield "|---|---|---|---|---|---|---|"
    total: Counter[str] = Counter()
    for number, name in SECTIONS.items():
        counts = Counter(behaviors(result) for case, result in results.items() if section(case) == number)
        if counts:
            total += counts
            yield _row(str(number), name, counts)
    yield _row("", "**all**", total)
    for case in failed(results):
        yield f"\nFailed: {case}"


def _row(number: str, name: str, counts: Counter[str]) -> str:
    bad = counts["FAILED"] + counts["UNIMPLEMENTED"]
    cells = [number, name, counts.total(), counts["OK"], counts["INFORMATIONAL"], counts["NON-STRICT"], bad]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _order(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]
