"""Faults every 50 to 500 ms, on every transport: each text whole, no event lost, none twice.

`python -m tests.chaos` is the same with 500 streams.
"""

from __future__ import annotations

import pytest

from tests.chaos.storm import CARRIAGES, GATEWAY, Carriage, storm
from tests.doubles.chaos_proxy import FATAL, Fault
from tests.doubles.served_gateway import Serve

pytestmark = pytest.mark.deadline(90)  # a few seconds, unless the machine is busy with something else


@pytest.mark.parametrize("carriage", CARRIAGES, ids=lambda carriage: carriage.name)
async def test_streams_survive_anything(serve: Serve, carriage: Carriage, capsys: pytest.CaptureFixture[str]) -> None:
    gateway = await serve(**GATEWAY)
    outcome = await storm(gateway.host, gateway.port, carriage, streams=25, model="demo-n30-gap60")
    with capsys.disabled():
        print("\n" + outcome.line(carriage.name))
    assert outcome.errors == []
    assert (outcome.lost, outcome.twice, outcome.uptime) == (0, 0, 1.0)
    assert outcome.reconnects > 0
    assert sum(outcome.faults.get(fault, 0) for fault in FATAL) > 0


@pytest.mark.parametrize("fault", [*FATAL, Fault.STALL])
async def test_nothing_but_one_fault(serve: Serve, fault: Fault) -> None:
    gateway = await serve(**GATEWAY)
    outcome = await storm(gateway.host, gateway.port, CARRIAGES[1], streams=5, model="demo-n20-gap40", faults=[fault])
    assert (outcome.errors, outcome.lost, outcome.twice, outcome.uptime) == ([], 0, 0, 1.0)
