"""The storms of `tests.chaos.cluster` and `tests.chaos.restarts`, small: what is lost or told twice shows here, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.cluster import storm
from tests.chaos.restarts import restarts

pytestmark = pytest.mark.deadline(170)  # half a minute, unless the machine is busy with something else


@pytest.mark.parametrize("sync", ["behind", "strict"])
async def test_a_cluster_that_suffers(tmp_path: Path, capsys: pytest.CaptureFixture[str], sync: str) -> None:
    tally = await storm(24, 5, tmp_path, sync=sync)
    with capsys.disabled():
        print("\n" + tally.line())
    assert (tally.errors, tally.lost, tally.twice) == ([], 0, 0)
    assert tally.whole + sum(tally.failed.values()) + tally.forgotten == tally.streams == 24
    assert set(tally.failed) <= {"interrupted"}


async def test_a_gateway_that_is_killed_again_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tally = await restarts(4, 3, tmp_path, sync="strict", patience=150)
    with capsys.disabled():
        print("\n" + tally.line())
    assert (tally.errors, tally.lost, tally.twice, tally.voided) == ([], 0, 0, 0)
    assert tally.whole + sum(tally.failed.values()) + tally.forgotten == tally.streams
    assert set(tally.failed) <= {"interrupted"}
