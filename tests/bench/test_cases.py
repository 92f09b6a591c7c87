"""The tables fit together: what a case asks for, its load takes, and what it reports is defined."""

import inspect

import pytest

from bench.cases import CASES
from bench.load import LOADS
from bench.loads.run import Place, Run
from bench.runner import Plan
from bench.targets import FULL, QUICK, TARGETS


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
@pytest.mark.parametrize("full", [False, True])
def test_a_load_takes_what_its_case_gives(case, full):
    run = Run(Place(port=1, target_pid=0, upstream_port=1, upstream_pid=0), deadline=1.0)
    for variant in case.chosen(full):
        inspect.signature(LOADS[case.load]).bind(run, **case.arguments(variant, full))


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_a_case_is_whole(case):
    keys = [metric.key for metric in case.metrics]
    assert len(keys) == len(set(keys))
    assert all(metric.minus_direct in ("", *keys) for metric in case.metrics)
    assert all(metric.definition.endswith(".") for metric in case.metrics)
    assert set(case.glance) <= set(case.variants)
    assert set(case.quick_variants or ()) <= set(case.variants)
    assert case.question.endswith("?")


def test_targets_are_told_apart():
    assert set(QUICK) <= set(FULL) <= set(TARGETS)
    assert all(TARGETS[name].kind == "faulty" for name in TARGETS if name not in FULL)
    assert all(target.about for target in TARGETS.values())


def test_a_plan_counts_its_steps():
    plan = Plan([CASES["steady"], CASES["idle"]], [TARGETS["direct"], TARGETS["floor"]], repeats=2, full=True)
    steps = [step for target in plan.targets for repeat in range(2) for step in plan.steps_of(target, repeat)]
    assert len(steps) == plan.count == 12
