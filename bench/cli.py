"""The command line: which cases, which targets, how often, and where the results go."""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench import machine, profile
from bench.book import Book
from bench.cases import CASES
from bench.interrupts import INTERRUPTS
from bench.processes import ROOT, Household, ProcessFailed, scratch
from bench.report.page import page
from bench.report.terminal import print_book
from bench.result import Result
from bench.runner import Plan, Runner, Step
from bench.targets import FULL, QUICK, TARGETS, Target, Unavailable

FOLDER = ROOT / ".bench"


def main(arguments: Sequence[str] | None = None) -> int:
    console = Console()
    words = sys.argv[1:] if arguments is None else list(arguments)
    if sys.platform != "linux":
        console.print("The benchmark needs Linux: it uses epoll, /proc and one clock for all processes.")
        return 2
    INTERRUPTS.install()
    try:
        if words[:1] == ["profile"]:
            return profile.run(words[1:], console, FOLDER)
        if words[:1] == ["report"]:
            return _rewrite(words[1:], console)
        return _run(_parser().parse_args(words), console)
    except KeyboardInterrupt:
        console.print("Interrupted; no process of the benchmark runs any more.")
        return 130
    except ProcessFailed as error:
        console.print(f"The benchmark cannot go on: {error}", style="red")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures what the gateway costs, beside no gateway, beside the floor, and beside its peers.",
        epilog="Also: `python -m bench profile CASE` and `python -m bench report RESULTS.json`.",
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of: {', '.join(CASES)}; default: all")
    parser.add_argument("--target", action="append", metavar="NAME", help=f"any of: {', '.join(TARGETS)}")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="no peers, short runs (the default)")
    size.add_argument("--full", action="store_true", help="all targets and variants, longer runs, three repeats")
    parser.add_argument("--repeat", type=int, metavar="N", help="runs of each; medians are reported")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: results.json in the folder")
    parser.add_argument("--html", type=Path, metavar="FILE", help="default: report.html in the folder")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for results and logs; default: .bench")
    return parser


def _run(options: argparse.Namespace, console: Console) -> int:
    plan, book = _plan(options, console)
    started = time.monotonic()
    with Household(scratch(options.folder)) as household:
        book.settings |= {
            "placement": str(household.cores),
            "harness_shares_a_core": household.cores.upstream == household.cores.load,
        }
        try:
            _measure(Runner(household), plan, book, console)
        except KeyboardInterrupt:
            book.settings["interrupted"] = True
    book.settings["seconds"] = round(time.monotonic() - started)
    console.print()
    print_book(book, console)
    _write(book, options, console)
    if book.settings.get("interrupted"):
        console.print("Interrupted; this is what was measured until then. No process of the benchmark runs any more.")
        return 130
    ours = [cell for (_, _, target), cell in book.cells.items() if book.kinds[target] != "peer"]
    return 1 if any(cell.verdict for cell in ours) else 0


def _rewrite(words: Sequence[str], console: Console) -> int:
    """Prints the table and writes the page again, from results that were kept."""
    parser = argparse.ArgumentParser(prog="python -m bench report", description=_rewrite.__doc__)
    parser.add_argument("results", type=Path, help="a JSON file that a benchmark has written")
    parser.add_argument("--html", type=Path, default=FOLDER / "report.html")
    options = parser.parse_args(words)
    book = Book.from_json(json.loads(options.results.read_text()))
    print_book(book, console)
    options.html.write_text(page(book))
    return 0


def _plan(options: argparse.Namespace, console: Console) -> tuple[Plan, Book]:
    cases = [CASES[name] for name in _known(options.cases or list(CASES), CASES, "case")]
    names = options.target or (FULL if options.full else QUICK)
    targets = [TARGETS[name] for name in _known(names, TARGETS, "target")]
    book = Book(
        created=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        machine=machine.describe(),
        settings={},
        about={target.name: target.about for target in targets},
        kinds={target.name: target.kind for target in targets},
    )
    for target in targets:
        try:
            book.versions[target.name] = target.install(lambda text: console.print(f"  {text}", style="dim"))
        except Unavailable as error:
            book.skipped[target.name] = str(error)
            console.print(f"{target.name} is skipped: {error}", style="yellow")
    there: list[Target] = [target for target in targets if target.name not in book.skipped]
    repeats = options.repeat or (3 if options.full else 1)
    book.settings |= {"mode": "full" if options.full else "quick", "repeats": repeats}
    return Plan(cases, there, repeats, options.full), book


def _known(names: Sequence[str], table: Mapping[str, object], what: str) -> Sequence[str]:
    for name in names:
        if name not in table:
            sys.exit(f"There is no {what} {name!r}; there are {', '.join(table)}.")
    return names


def _measure(runner: Runner, plan: Plan, book: Book, console: Console) -> None:
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, refresh_per_second=4) as bar:
        task = bar.add_task("", total=plan.count)

        def starting(step: Step) -> None:
            again = f" · {step.repeat + 1} of {plan.repeats}" if plan.repeats > 1 else ""
            bar.update(task, description=f"{step.target.name} · {step.case.name} · {step.variant}{again}")

        def found(step: Step, result: Result | str) -> None:
            cell = book.cell(step.case.name, step.variant, step.target.name)
            if isinstance(result, Result):
                cell.repeats.append(result)
            else:
                cell.reason = result
            bar.advance(task)

        runner.carry_out(plan, starting, found)


def _write(book: Book, options: argparse.Namespace, console: Console) -> None:
    results = options.json or options.folder / "results.json"
    results.write_text(json.dumps(book.to_json(), indent=1))
    report = options.html or options.folder / "report.html"
    report.write_text(page(book))
    console.print(f"Results: {os.path.relpath(results)}   Report: {os.path.relpath(report)}", soft_wrap=True)
