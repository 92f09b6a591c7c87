"""Runs cases against targets: starts what is needed, orders the load, and collects what was found."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.ask import ask
from bench.cases import Case
from bench.processes import Child, Household, ProcessFailed, Ready, free_port
from bench.result import Result
from bench.targets import Site, Target
from bench.wire import Script


@dataclasses.dataclass(frozen=True)
class Step:
    """One load against one target."""

    case: Case
    variant: str
    target: Target
    repeat: int


@dataclasses.dataclass(frozen=True)
class Plan:
    cases: Sequence[Case]
    targets: Sequence[Target]
    repeats: int
    full: bool

    def steps_of(self, target: Target, repeat: int) -> Iterator[Step]:
        # Those that want a fresh target come last: they leave thousands of dead connections to be cleared away.
        for case in sorted(self.cases, key=lambda case: case.fresh):
            for variant in case.chosen(self.full):
                yield Step(case, variant, target, repeat)

    @property
    def count(self) -> int:
        return self.repeats * sum(len(case.chosen(self.full)) for case in self.cases) * len(self.targets)


ONCE = "saturated, and so measured once only"
"""Why there are no more results of a peer that has had one."""

Found = Callable[[Step, Result | str], None]
"""Told of each step's result, or why there is none."""
Starting = Callable[[Step], None]


class Runner:
    """Owns the upstream, and one target at a time."""

    def __init__(self, household: Household) -> None:
        self._household = household
        self._saturated: set[tuple[str, str, str]] = set()
        """Peers by case, variant and name that did not keep up: they would not the next time either."""
        self._upstream_port = free_port()
        command = [sys.executable, "-m", "bench.upstream", "--port", str(self._upstream_port)]
        self._upstream = household.start("upstream", command, household.cores.upstream)
        self._upstream.wait_until(Ready(self._upstream_port), 10)

    def carry_out(self, plan: Plan, starting: Starting, found: Found) -> None:
        # Repeats are the outer loop, so that what drifts on the machine drifts over all targets alike.
        for repeat in range(plan.repeats):
            for target in plan.targets:
                self._visit(target, list(plan.steps_of(target, repeat)), plan.full, starting, found)

    def _visit(self, target: Target, steps: list[Step], full: bool, starting: Starting, found: Found) -> None:
        standing: Standing | None = None
        hopeless = ""
        try:
            for step in steps:
                starting(step)
                if excuse := self._excuse(step) or hopeless:
                    found(step, excuse)
                    continue
                try:
                    standing = self._ready(standing, target, step.case.fresh)
                except ProcessFailed as error:
                    hopeless = str(error)
                    found(step, hopeless)
                    continue
                found(step, self._tried(standing, step, full))
        finally:
            if standing is not None:
                standing.stop()

    def _excuse(self, step: Step) -> str:
        """Why a step is not carried out; empty if it is to be."""
        if not _possible(step):
            return "n/a"
        if obstacle := step.case.obstacle():
            return f"skipped: {obstacle}"
        return ONCE if (step.case.name, step.variant, step.target.name) in self._saturated else ""

    def _tried(self, standing: "Standing", step: Step, full: bool) -> Result | str:
        try:
            result = self.measure(standing, step.case, step.variant, full)
        except ProcessFailed as error:
            return str(error)
        if result.saturated and step.target.kind == "peer":
            self._saturated.add((step.case.name, step.variant, step.target.name))
        return result

    def _ready(self, standing: "Standing | None", target: Target, fresh: bool) -> "Standing":
        """The target as it stands, or a new one if that is wanted, or it was left dead or swamped."""
        if standing is not None:
            if not fresh and standing.answers(within=5.0):
                return standing
            standing.stop()
        return self.stand_up(target)

    def stand_up(self, target: Target) -> "Standing":
        """Starts a target and waits until it answers a streamed request."""
        if target.start is None:
            return Standing(self._household, target, self._upstream_port, None, self._upstream_port)
        port = free_port()
        start = target.start(Site(port, self._upstream_port, self._household.folder))
        child = self._household.start(target.name, start.command, self._household.cores.target, start.env)
        standing = Standing(self._household, target, port, child, self._upstream_port)
        try:
            if (file := start.port_file) is not None:
                child.wait_until(lambda: file.exists() and file.read_text().isdigit(), target.patience)
                standing.port = int(file.read_text())
            child.wait_until(standing.answers, target.patience)
        except ProcessFailed:
            standing.stop()
            raise
        return standing

    def measure(self, standing: "Standing", case: Case, variant: str, full: bool) -> Result:
        return self.order(standing, case.load, case.arguments(variant, full), case.deadline)

    def order(self, standing: "Standing", load: str, arguments: dict[str, Any], deadline: float) -> Result:
        """Has the load generator do one thing to the target."""
        target = standing.target
        order = {
            "load": load,
            "deadline": deadline,
            "arguments": arguments,
            "place": {
                "port": standing.port,
                "target_pid": standing.child.pid if standing.child else 0,
                "upstream_port": self._upstream_port,
                "upstream_pid": self._upstream.pid,
                "path": target.path,
                "model": target.model,
                "headers": standing.headers,
                "tls": target.tls,
                "fan_out": dataclasses.asdict(target.fan_out) if target.fan_out else None,
            },
        }
        return Result.from_json(self._carry_out(order, deadline + 30))

    def _carry_out(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Runs the load generator once."""
        files = self._household.folder / "order.json", self._household.folder / "result.json"
        files[0].write_text(json.dumps(order))
        files[1].unlink(missing_ok=True)
        command = [sys.executable, "-m", "bench.load", *map(str, files)]
        load = self._household.start("load", command, self._household.cores.load)
        try:
            load.wait(seconds)
        finally:
            self._household.stop(load)
        if not files[1].exists():
            raise ProcessFailed(f"the load generator failed: {load.last_words()}")
        result: dict[str, Any] = json.loads(files[1].read_text())
        return result


class Standing:
    """A target that runs."""

    def __init__(self, household: Household, target: Target, port: int, child: Child | None, upstream: int) -> None:
        self._household = household
        self.target = target
        self.port = port
        self.child = child
        headers = target.headers.items()
        self.headers = {name: value.replace("{upstream}", str(upstream)) for name, value in headers}

    def answers(self, within: float = 10.0) -> bool:
        """Whether a streamed request gets its chunks."""
        body = {
            "model": self.target.model,
            "stream": True,
            "messages": [{"role": "user", "content": Script(n=2).text()}],
        }
        tls = self.target.tls
        try:
            if "chat" not in self.target.can and self.target.fan_out is not None:
                return bool(ask(self.port, "POST", self.target.fan_out.create, body, self.headers, within, tls=tls))
            return b"[00000001:" in ask(self.port, "POST", self.target.path, body, self.headers, within, tls=tls)
        except OSError:
            return False

    def stop(self) -> None:
        if self.child is not None:
            self._household.stop(self.child)


def _possible(step: Step) -> bool:
    if step.case.of_a_process and step.target.start is None:
        return False
    way = step.case.variants[step.variant].get("way")
    if way is not None and (step.target.fan_out is None or way not in step.target.fan_out.ways):
        return False
    command = step.case.variants[step.variant].get("command")
    if command is not None and (step.target.fan_out is None or command not in step.target.fan_out.commands):
        return False
    needs = step.case.needs or ("" if way else "chat")
    return not needs or needs in step.target.can
