"""In which order targets are visited, when they are started anew, and what is not repeated."""

import dataclasses

import pytest

from bench.cases import CASES, Case
from bench.processes import ProcessFailed
from bench.result import Result
from bench.runner import ONCE, Plan, Runner, Standing, Step
from bench.targets import TARGETS, Target

STEADY = dataclasses.replace(CASES["steady"], variants={"v": {}})
IDLE = dataclasses.replace(CASES["idle"], variants={"v": {}, "w": {}})


class Paper(Runner):
    """Starts and measures nothing."""

    def __init__(self) -> None:
        self._saturated = set()
        self.log: list[str] = []
        self.starts = True

    def stand_up(self, target: Target) -> Standing:
        if not self.starts:
            raise ProcessFailed("it does not start")
        self.log.append("start")
        return PaperStanding(target)

    def measure(self, standing: Standing, case: Case, variant: str, full: bool) -> Result:
        self.log.append(f"{case.name} {variant}")
        return Result(saturated=case is STEADY)


class PaperStanding(Standing):
    def __init__(self, target: Target) -> None:
        self.target = target

    def answers(self, within: float = 10.0) -> bool:
        return True

    def stop(self) -> None:
        pass


def carry_out(runner: Runner, target: str, repeats: int) -> list[tuple[str, Result | str]]:
    found: list[tuple[str, Result | str]] = []

    def note(step: Step, result: Result | str) -> None:
        found.append((step.case.name, result))

    plan = Plan([IDLE, STEADY], [TARGETS[target]], repeats, full=True)
    runner.carry_out(plan, lambda _: None, note)
    assert len(found) == plan.count
    return found


def test_what_wants_a_fresh_target_gets_one_and_comes_last():
    runner = Paper()
    carry_out(runner, "floor", 1)
    assert runner.log == ["start", "steady v", "start", "idle v", "start", "idle w"]


@pytest.mark.parametrize(("target", "times"), [("nginx", 1), ("gateway", 3)])
def test_a_saturated_peer_is_measured_once(target, times):
    found = carry_out(Paper(), target, 3)
    steady = [result for case, result in found if case == "steady"]
    assert [isinstance(result, Result) for result in steady] == [place < times for place in range(3)]
    assert all(result == ONCE for result in steady[times:])


def test_a_target_that_does_not_start_is_tried_once_a_repeat():
    runner = Paper()
    runner.starts = False
    assert [result for _, result in carry_out(runner, "nginx", 1)] == ["it does not start"] * 3
