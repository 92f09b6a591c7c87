"""The harness itself, and as much of the suite as takes a few seconds, where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.trio.client import connect

from stream_gateway.config import SocketSettings
from tests.conformance import autobahn, report
from tests.conformance.autobahn import Results
from tests.conformance.echo_server import MESSAGE_BYTES, echo_server

RULES = ("1.1.*", "2.*", "3.*", "4.*", "5.*", "6.2.*", "6.3.*", "7.*", "9.1.1", "9.2.1", "10.*", "12.1.1", "13.3.1")


def result(behavior: str, closing: str = "OK") -> dict[str, object]:
    return {"behavior": behavior, "behaviorClose": closing, "duration": 1}


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_the_echo(compression: str | None) -> None:
    """Whatever is sent comes back as it came, however large, and in order."""
    async with echo_server() as url, connect(url, compression=compression, proxy=None, max_size=None) as socket:
        for message in ("hello", b"\x00\xff", "", b"", "ä" * 100_000, bytes(2_000_000)):
            await socket.send(message)
            assert await socket.recv() == message
        for number in range(500):
            await socket.send(str(number))
        assert [await socket.recv() for _ in range(500)] == [str(number) for number in range(500)]


def test_verdicts() -> None:
    assert report.behaviors(result("OK")) == "OK"
    assert report.behaviors(result("INFORMATIONAL")) == "INFORMATIONAL"
    assert report.behaviors(result("OK", "FAILED")) == "FAILED"
    assert report.behaviors(result("OK", "WRONG CODE")) == "FAILED"
    assert report.behaviors(result("NON-STRICT", "INFORMATIONAL")) == "NON-STRICT"


def test_the_page() -> None:
    results: Results = {
        "1.1.1": result("OK"),
        "1.1.10": result("FAILED"),
        "1.1.2": result("FAILED"),
        "7.13.1": result("INFORMATIONAL", "INFORMATIONAL"),
        "13.1.1": result("NON-STRICT"),
    }
    page = report.page([("Title", results)])
    assert "autobahntestsuite 25.10.1, against stream-gateway " in page
    assert "## Title" in page
    assert "| 1 | Framing | 3 | 1 | 0 | 0 | 2 |" in page
    assert "| 7 | Closing | 1 | 0 | 1 | 0 | 0 |" in page
    assert "|  | **all** | 5 | 1 | 1 | 1 | 2 |" in page
    assert report.failed(results) == ["1.1.2", "1.1.10"]
    assert page.index("Failed: 1.1.2\n") < page.index("Failed: 1.1.10")


@pytest.mark.deadline(120)
@pytest.mark.parametrize("mode", ["context", "shared", "off"])
async def test_some_of_the_suite(tmp_path: Path, mode: str) -> None:
    command = autobahn.installed()
    if command is None:
        pytest.skip("needs the Autobahn testsuite; `make conformance` installs it where Python 2.7 is found")
    settings = SocketSettings(message_bytes=MESSAGE_BYTES, compression=mode)  # type: ignore[arg-type]
    async with echo_server(settings) as url:
        results = await autobahn.fuzz(command, url, RULES, tmp_path, timeout=100)
    assert len(results) > 100
    bad = {case: report.behaviors(found) for case, found in results.items()}
    allowed = {"OK", "INFORMATIONAL"} | ({"UNIMPLEMENTED"} if mode == "off" else set())
    assert {case: verdict for case, verdict in bad.items() if verdict not in allowed} == {}
