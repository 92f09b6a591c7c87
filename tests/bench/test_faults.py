"""The harness against relays with a known fault: each is reported as exactly that, and nothing else."""

import dataclasses
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.processes import Household
from bench.result import Result
from bench.runner import Runner
from bench.targets import TARGETS, Target
from bench.watching import Command

Measure = Callable[..., Result]

_STEADY = {"streams": 2, "rate": 100, "ramp": 0.1, "settle": 0.1, "seconds": 0.6}
_BURST = {"streams": 2, "chunks": 2_500, "block": 0, "most": 10.0}


@pytest.fixture(scope="module")
def measure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measure]:
    folder: Path = tmp_path_factory.mktemp("bench")
    with Household(folder) as household:
        runner = Runner(household)

        def run(target: str | Target, load: str, arguments: dict[str, Any]) -> Result:
            standing = runner.stand_up(TARGETS[target] if isinstance(target, str) else target)
            try:
                return runner.order(standing, load, arguments, deadline=20.0)
            finally:
                standing.stop()

        yield run


def counts(result: Result) -> tuple[int, int, int, int]:
    return result.lost, result.repeated, result.disordered, result.broken


@pytest.mark.parametrize("target", ["direct", "floor"])
@pytest.mark.parametrize(("load", "arguments"), [("steady", _STEADY), ("burst", _BURST)])
def test_without_a_fault_nothing_is_reported(measure, target, load, arguments):
    result = measure(target, load, arguments)
    assert not result.failed
    assert result.verdict == ""
    assert result.chunks > 100


def test_sleeping_5_ms_a_chunk_shows_as_5_ms_a_chunk(measure):
    result = measure("faulty-sleep", "steady", {**_STEADY, "rate": 20})
    assert not result.failed
    assert result.values["p50_ms"] >= 5.0
    assert (
        measure("faulty-sleep", "first", {"streams": 1, "chunks": 2, "gap": 40_000, "seconds": 0.5}).values["p50_ms"]
        >= 5.0
    )


def test_dropping_each_thousandth_shows_as_lost(measure):
    result = measure("faulty-drop", "burst", _BURST)
    assert counts(result) == (2 * 2, 0, 0, 0)
    assert result.verdict == "4 lost"


def test_repeating_one_shows_as_twice(measure):
    assert counts(measure("faulty-repeat", "steady", _STEADY)) == (0, 2, 0, 0)


def test_swapping_two_shows_as_out_of_order(measure):
    assert counts(measure("faulty-swap", "steady", _STEADY)) == (0, 0, 2, 0)


def test_a_clean_end_before_the_end_shows_as_lost(measure):
    result = measure("faulty-cut", "burst", {**_BURST, "chunks": 50})
    assert counts(result) == (2 * 30, 0, 0, 0)


def test_buffering_ten_shows_as_latency_and_nothing_else(measure):
    result = measure("faulty-buffer", "steady", _STEADY)
    assert counts(result) == (0, 0, 0, 0)
    # A chunk waits for up to nine more, 10 ms apart; the first for all nine.
    assert result.values["p50_ms"] >= 25.0
    first = measure("faulty-buffer", "first", {"streams": 1, "chunks": 12, "gap": 10_000, "seconds": 0.5})
    assert first.values["p50_ms"] >= 75.0


def test_a_client_that_leaves_is_seen_to_leave(measure):
    for gap in (20_000, 0):
        result = measure("floor", "leave", {"clients": 10, "gap": gap, "every": 0.01})
        assert result.values["seen"] == 100


@pytest.mark.parametrize(
    ("target", "way", "connections", "streams"),
    [
        ("floor", "sse", 20, 1),
        ("floor", "websocket", 20, 1),
        ("gateway", "sse", 20, 1),
        ("gateway", "websocket", 20, 1),
        ("gateway", "websocket-deflate", 20, 1),
        ("gateway", "http2", 2, 10),
        ("gateway-tls", "http2", 2, 10),
        ("gateway-tls", "websocket", 20, 1),
    ],
)
def test_fan_out_reaches_every_client(measure, target, way, connections, streams):
    arguments = {"way": way, "connections": connections, "streams": streams, "rate": 50, "seconds": 0.5}
    result = measure(target, "fan_out", arguments)
    assert not result.failed
    assert result.chunks == 20 * 50
    assert result.unfinished == 0


def test_the_floor_takes_a_request_in_pieces(tmp_path):
    body = b'{"stream":true,"messages":[{"content":"bench;n=3;"}]}'
    head = b"POST /v1/streams HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with Household(tmp_path) as household:
        standing = Runner(household).stand_up(TARGETS["floor"])
        with socket.create_connection(("127.0.0.1", standing.port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in (head, body):
                # The floor answers another meanwhile, so it has read the piece before this one.
                assert standing.answers()
                connection.sendall(piece)
            assert b'{"id": "0"}' in connection.recv(4096)
        with socket.create_connection(("127.0.0.1", standing.port), timeout=10) as events:
            events.sendall(b"GET /v1/streams/0/events HTTP/1.1\r\n\r\n")
            said = b""
            while b"[DONE]" not in said:
                said += events.recv(65_536)
        assert said.count(b"[0000000") == 3


@pytest.mark.parametrize(
    ("load", "arguments", "value"),
    [
        ("plain", {"connections": 2, "warm": 0.1, "seconds": 0.3}, "requests_per_s"),
        ("churn", {"clients": 2, "warm": 0.1, "seconds": 0.3}, "connections_per_s"),
        ("idle", {"streams": 5, "settle": 0.1}, "before_mib"),
        ("idle_sockets", {"way": "websocket", "sockets": 5, "settle": 0.1}, "before_mib"),
        ("slow", {"streams": 4, "rate": 20, "size": 2000, "one_in": 2, "seconds": 0.5}, "p99_ms"),
    ],
)
def test_every_load_has_an_answer_of_the_floor(measure, load, arguments, value):
    result = measure("floor", load, arguments)
    assert not result.failed
    assert result.values[value] > 0


_TALK = {"way": "websocket", "sockets": 2, "depth": 4, "warm": 0.1, "seconds": 0.3}
_SHARED = {"way": "websocket", "streams": 20, "every": 0.2, "probes": 4, "seconds": 0.4}


@pytest.mark.parametrize(
    ("load", "arguments", "value"),
    [
        ("idle_sockets", {"way": "websocket-deflate", "sockets": 5, "settle": 0.1}, "before_mib"),
        ("commands", {"command": "subscribe", **_TALK}, "commands_per_s"),
        ("commands", {"command": "cancel", **_TALK}, "commands_per_s"),
        ("fairness", {"burst": 500, **_SHARED}, "burst_ms"),
        ("fairness", {"burst": 0, **_SHARED}, "p50_ms"),
    ],
)
def test_loads_that_need_more_than_a_relay_have_an_answer_of_the_gateway(measure, load, arguments, value):
    result = measure("gateway", load, arguments)
    assert not result.failed
    assert result.notes == []
    assert result.values[value] > 0


def test_a_reply_that_is_not_the_commands_own_shows_as_broken(measure):
    gateway = TARGETS["gateway"]
    ping = Command('{"type":"ping","ref":{ref}}', '{"type":"pong","ref":{ref}')
    fan_out = dataclasses.replace(gateway.fan_out, commands={"ping": (ping,)})
    result = measure(dataclasses.replace(gateway, fan_out=fan_out), "commands", {"command": "ping", **_TALK})
    assert result.broken == 2
    assert result.problem == 'a reply was {"type":"ok","ref":1000000}'
