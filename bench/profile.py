"""Where the target's time goes under one case: a flame graph by py-spy, and the functions that take most.

python -m bench profile steady
"""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import flame
from bench.cases import CASES, Case
from bench.processes import Child, Household, ProcessFailed, scratch
from bench.report.format import figure
from bench.result import Result
from bench.runner import Runner
from bench.targets import TARGETS, Unavailable

_RATE = "400"
_SHOWN = 25
_WRITING_SECONDS = 30.0


def run(arguments: Sequence[str], console: Console, folder: Path) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench profile", description=__doc__)
    parser.add_argument("case", choices=CASES, metavar="CASE", help=f"one of: {', '.join(CASES)}")
    parser.add_argument("--variant", help="default: the case's first")
    parser.add_argument("--target", default="gateway", choices=TARGETS, metavar="NAME")
    parser.add_argument("--lines", action="store_true", help="tell the lines of a function apart")
    parser.add_argument("--native", action="store_true", help="show C functions too")
    options = parser.parse_args(arguments)
    case = CASES[options.case]
    variant = options.variant or next(iter(case.variants))
    if variant not in case.variants:
        sys.exit(f"There is no variant {variant!r} of {case.name}; there are {', '.join(case.variants)}.")
    output = folder / f"profile-{case.name}.svg"
    result = record(case, variant, options.target, output, folder, _watching(options))
    _print(result, case, variant, output, console)
    return 0


def record(case: Case, variant: str, target: str, output: Path, folder: Path, watching: list[str]) -> Result:
    """Runs the case once, as in a full run, with py-spy watching the target."""
    py_spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if py_spy is None:
        raise ProcessFailed("py-spy is not installed: `pip install py-spy`")
    try:
        TARGETS[target].install(print)
    except Unavailable as error:
        raise ProcessFailed(str(error)) from None
    output.unlink(missing_ok=True)
    with Household(scratch(folder)) as household:
        runner = Runner(household)
        standing = runner.stand_up(TARGETS[target])
        if standing.child is None:
            raise ProcessFailed(f"{target} has no process to profile")
        options = ["--rate", _RATE, "--output", str(output), *watching]
        watcher = household.start(
            "py-spy",
            [py_spy, "record", "--subprocesses", "--pid", str(standing.child.pid), *options],
            household.cores.load,
        )
        watcher.wait_until(lambda: "Sampling" in watcher.log.read_text(errors="replace"), 20)
        result = runner.measure(standing, case, variant, full=True)
        _stop(watcher, output)
    return result


def _watching(options: argparse.Namespace) -> list[str]:
    """py-spy's own options for what the user asked for."""
    return [*([] if options.lines else ["--function"]), *(["--native"] if options.native else [])]


def _stop(watcher: Child, output: Path) -> None:
    """py-spy writes what it has when it is interrupted."""
    watcher.signal(signal.SIGINT)
    watcher.wait(_WRITING_SECONDS)
    if not output.exists():
        raise ProcessFailed(
            f"py-spy wrote nothing ({watcher.last_words()}); reading another process may need root, "
            "or `sysctl kernel.yama.ptrace_scope=0`"
        )


def _print(result: Result, case: Case, variant: str, output: Path, console: Console) -> None:
    functions = flame.functions(output.read_text())
    table = Table(title=f"{case.name} · {variant}: where the time goes", title_justify="left", box=None, pad_edge=False)
    table.add_column("own", justify="right")
    table.add_column("total", justify="right")
    table.add_column("function")
    table.add_column("where", style="dim")
    for function in functions[:_SHOWN]:
        own, total = f"{function.own:.1%}", f"{function.total:.1%}"
        table.add_row(own, total, Text(function.name), Text(function.place))
    console.print(table)
    found = ", ".join(
        f"{metric.label} {figure(result.values[metric.key])} {metric.unit}"
        for metric in case.metrics
        if metric.key in result.values
    )
    console.print(f"Found while watched, which slows it: {found}")
    console.print(f"Flame graph: {output}", soft_wrap=True)
