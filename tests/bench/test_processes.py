"""Nothing is left behind, however a benchmark ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from bench.processes import ROOT, Household, ProcessFailed, Ready, free_port

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone_soon(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not running(pid)


def test_leaving_the_household_ends_its_processes(tmp_path):
    with Household(tmp_path) as household:
        child = household.start("sleeper", SLEEP, [])
        assert child.running
    assert not running(child.pid)


def test_what_a_process_started_ends_with_it(tmp_path):
    script = (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
    )
    with Household(tmp_path) as household:
        child = household.start("parent", [sys.executable, "-c", script], [])
        child.wait_until(lambda: bool(child.log.read_text().strip()), 10)
        grandchild = int(child.log.read_text())
        assert running(grandchild)
    assert gone_soon(grandchild)


def test_a_process_that_fails_is_one_clear_sentence(tmp_path):
    with Household(tmp_path) as household:
        child = household.start("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], [])
        with pytest.raises(ProcessFailed, match="broken ended instead of starting: no such thing"):
            child.wait_until(Ready(free_port()), 10)


def test_a_wait_has_an_end(tmp_path):
    with Household(tmp_path) as household:
        child = household.start("sleeper", SLEEP, [])
        with pytest.raises(ProcessFailed, match="was not ready after 0 s"):
            child.wait_until(lambda: False, 0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_benchmark_leaves_nothing(tmp_path, number):
    files = ["--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html"), "--folder", str(tmp_path)]
    bench = subprocess.Popen(
        [sys.executable, "-m", "bench", "steady", "--target", "floor", *files],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        children = wait_for_children(bench.pid, 3)
        bench.send_signal(number)
        output, _ = bench.communicate(timeout=20)
    finally:
        bench.kill()
        bench.wait()
    assert all(gone_soon(child) for child in children)
    if number != signal.SIGKILL:
        assert bench.returncode == 130
        assert "Interrupted" in output


def wait_for_children(pid: int, count: int) -> list[int]:
    """The upstream, the target and the load, once all of them run."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        children = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and parent(entry) == pid]
        if len(children) >= count:
            return children
        time.sleep(0.02)
    raise AssertionError("the benchmark never had all its processes")


def parent(entry: str) -> int:
    try:
        with open(f"/proc/{entry}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
