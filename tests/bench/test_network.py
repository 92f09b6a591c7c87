"""The emulated network: it delays, limits, loses and stalls as told, and leaves nothing behind."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import network
from bench.cases import CASES
from bench.cases.network import NETWORKS
from bench.link import Conditions, Direction
from bench.loads.network import network as load
from bench.loads.run import Place, Run
from bench.network import ADDRESSES, Network, inside, obstacle
from bench.processes import Household
from bench.runner import Plan, Runner
from bench.targets import TARGETS

emulated = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "there is none")

PORT = 7000
Ends = tuple[Network, socket.socket, socket.socket]


def namespaces() -> set[str]:
    return {path.name for path in Path("/run/netns").glob(f"bench-{os.getpid()}-*")}


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A connection from the near to the far end."""
    with Network() as link:
        with inside(link.near):
            listener = socket.create_server((ADDRESSES[0], PORT))
        with inside(link.far):
            far = socket.socket()
        far.settimeout(10)
        far.connect((ADDRESSES[0], PORT))
        near, _ = listener.accept()
        with listener, near, far:
            yield link, near, far


def take(sock: socket.socket, size: int) -> float:
    """Receive so much; the seconds that took."""
    began = time.monotonic()
    while size > 0:
        size -= len(sock.recv(65_536))
    return time.monotonic() - began


@emulated
def test_delay_and_bandwidth(ends: Ends) -> None:
    link, near, far = ends
    link.become(delay=0.1)
    near.sendall(b"x")
    assert take(far, 1) >= 0.09
    link.become(bandwidth=100_000.0)
    before = link.sent()
    near.sendall(b"x" * 30_000)
    assert take(far, 30_000) >= 0.2
    assert 30_000 < link.sent() - before < 40_000


@emulated
def test_what_is_lost_is_sent_again(ends: Ends) -> None:
    link, near, far = ends
    link.become(loss=0.2, delay=0.001)
    before = link.sent()
    for _ in range(200):
        near.sendall(b"x" * 1000)
    take(far, 200_000)
    assert link.sent() - before > 220_000


@emulated
def test_down_and_up_again(ends: Ends) -> None:
    link, near, far = ends
    link.become(down=True)
    near.sendall(b"x")
    far.settimeout(0.3)
    with pytest.raises(TimeoutError):
        far.recv(1)
    link.become()
    far.settimeout(10)
    assert far.recv(1) == b"x"


def test_a_queue_that_is_full_drops() -> None:
    source, feed = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink, drain = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with source, feed, sink, drain:
        for sock in (source, feed, sink, drain):
            sock.setblocking(False)
        direction = Direction(source.fileno(), sink.fileno(), 1)
        conditions = Conditions(bandwidth=1000.0, queue=250, delay=1.0)
        for number in range(5):
            feed.send(bytes([number]) * 100)
        direction.take(conditions)
        assert direction.move(conditions, 10.0) == pytest.approx(10.1, abs=0.01)
        assert direction.move(conditions, 10.11) == pytest.approx(11.1, abs=0.02)
        direction.move(conditions, 13.0)
        assert [drain.recv(200)[0] for _ in range(2)] == [0, 1]
        with pytest.raises(BlockingIOError):
            drain.recv(200)


@emulated
def test_nothing_is_left_behind() -> None:
    with pytest.raises(RuntimeError), Network():
        assert len(namespaces()) == 2
        raise RuntimeError
    assert namespaces() == set()


@emulated
def test_whoever_is_terminated_leaves_nothing_behind() -> None:
    program = "from bench.network import Network\nwith Network():\n print('up', flush=True)\n input()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.terminate()
    assert not list(Path("/run/netns").glob(f"bench-{child.pid}-*"))


@emulated
def test_what_a_killed_process_left_goes_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    subprocess.run(["ip", "netns", "add", f"bench-{gone.pid}-near"], check=True)
    with Network():
        assert not Path(f"/run/netns/bench-{gone.pid}-near").exists()


@emulated
@pytest.mark.parametrize("strategy", ["adaptive", "bytes:64"])
def test_a_stream_over_it(strategy: str) -> None:
    """Every character is there, in order, and none is younger than the way is long."""
    run = Run(Place(port=1, target_pid=0, upstream_port=1, upstream_pid=0), deadline=30.0)
    conditions = {**NETWORKS["300 ms, 400 kbit/s"], "seconds": 0.5}
    load(run, chunking=strategy, rate=200.0, **conditions)
    result = run.result
    assert not result.failed, result.problem
    assert result.values["p50_ms"] >= 150
    assert result.values["complete_s"] > 0.5
    assert 0 < result.values["frames"] <= 101
    assert result.values["wire_kib"] > 3


def test_where_it_cannot_be_it_is_skipped_with_the_reason(tmp_path: Path) -> None:
    case = replace(CASES["network"], obstacle=lambda: "there is no network here")
    found = []
    with Household(tmp_path) as household:
        plan = Plan([case], [TARGETS["gateway"]], repeats=1, full=False)
        Runner(household).carry_out(plan, lambda step: None, lambda step, result: found.append(result))
    assert found == ["skipped: there is no network here"] * len(case.chosen(False))


def test_why_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.os, "geteuid", lambda: 1000)
    assert obstacle.__wrapped__() == "network namespaces need root"
