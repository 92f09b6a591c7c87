"""Run the suite, print a line for each part, and write docs/conformance.md: `python -m tests.conformance [--quick]`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.conformance import autobahn, report
from tests.conformance.autobahn import NotHere, Results

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


@dataclass
class Part:
    """Cases that run one after another, on a server with this compression."""

    mode: str
    cases: tuple[str, ...]
    timeout: float
    results: Results = field(default_factory=dict)


def parts(quick: bool) -> list[Part]:
    """The long ones first, so that two processors are done at about the same time; no part takes longer than it may."""
    rules = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
    if quick:
        return [
            Part("context", (*rules, "12.1.1", "12.1.2", "13.1.1", "13.3.1", "13.7.1"), 300),
            Part("shared", ("12.1.1", "12.1.2", "13.1.1", "13.3.1", "13.7.1"), 300),
        ]
    return [
        Part("context", ("13.*",), 3600),
        Part("context", ("12.*",), 3600),
        Part("context", (*rules, "9.*"), 1200),
        Part("shared", ("12.1.*", "13.1.*"), 1800),
    ]


async def run(part: Part, command: Path, folder: Path, limit: trio.CapacityLimiter) -> None:
    """Run one part when its turn has come."""
    async with limit:
        began = time.monotonic()
        async with autobahn.echo_process(part.mode) as url:
            part.results = await autobahn.fuzz(command, url, part.cases, folder, timeout=part.timeout)
        bad = report.failed(part.results)
        took = f"{time.monotonic() - began:.0f} s"
        print(f"{part.mode}: {', '.join(part.cases)}: {len(part.results)} cases, {len(bad)} failed, {took}", flush=True)


async def run_all(todo: list[Part], command: Path, folder: Path) -> None:
    """Run all parts, as many at once as there are pairs of processors for: client and server are busy in turn."""
    limit = trio.CapacityLimiter(max(1, (os.cpu_count() or 1)))
    async with trio.open_nursery() as nursery:
        for number, part in enumerate(todo):
            nursery.start_soon(run, part, command, folder / str(number), limit)
            await trio.lowlevel.checkpoint()


def merged(todo: list[Part], mode: str) -> Results:
    """The results of all parts with that compression."""
    return {case: result for part in todo if part.mode == mode for case, result in part.results.items()}


def main() -> int:
    """Returns the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("--quick", action="store_true", help="a minute's worth; does not write the page")
    quick: bool = parser.parse_args().quick
    try:
        command = autobahn.install()
    except NotHere as reason:
        print(f"The Autobahn testsuite cannot run here: {reason}", file=sys.stderr)
        return 2
    todo = parts(quick)
    with tempfile.TemporaryDirectory() as folder:
        trio.run(run_all, todo, command, Path(folder))
    runs = [
        ('Compression with context (`sockets.compression = "context"`, the default)', merged(todo, "context")),
        ('Compression without (`sockets.compression = "shared"`)', merged(todo, "shared")),
    ]
    if not quick:
        PAGE.write_text(report.page(runs))
    bad = [case for _, results in runs for case in report.failed(results)]
    for case in bad:
        print(f"FAILED {case}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
