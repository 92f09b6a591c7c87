"""Logs: one JSON object a line for machines, something readable for people."""

import io
import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import structlog

from stream_gateway.config import LogSettings
from stream_gateway.observe.logging import configure_logging


class Terminal(io.StringIO):
    """A standard error that people look at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Logging is set up for the whole process; afterwards it is as it was."""
    yield
    structlog.reset_defaults()


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    *lines, rest = stream.getvalue().split("\n")
    assert rest == ""
    return [json.loads(line) for line in lines]


def standard_error(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> io.StringIO:
    """Take what is written to standard error. Not a fixture, because pytest has its own for the test itself."""
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_one_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = standard_error(monkeypatch, io.StringIO())
    configure_logging(LogSettings())
    log = structlog.get_logger()
    log.info("listening", port=8080, text="two\nlines, é and \u2028")
    log.bind(stream="s1").warning("slow", seconds=1.5)
    first, second = lines_of(stderr)
    stamp = datetime.fromisoformat(str(first.pop("timestamp")))
    assert first == {"event": "listening", "level": "info", "port": 8080, "text": "two\nlines, é and \u2028"}
    assert stamp.utcoffset() == timedelta(0)
    assert (second["level"], second["stream"], second["seconds"]) == ("warning", "s1", 1.5)


def test_an_exception_stays_on_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = standard_error(monkeypatch, io.StringIO())
    configure_logging(LogSettings(format="json"))
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    (line,) = lines_of(stderr)
    assert line["level"] == "error"
    assert "ZeroDivisionError: division by zero" in str(line["exception"])
    assert "test_logging.py" in str(line["exception"])


def test_whatever_is_logged_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = standard_error(monkeypatch, io.StringIO())
    configure_logging(LogSettings())
    structlog.get_logger().info("odd", error=ValueError("x"), kind=int, data={1, 2}, raw=b"\xff", number=10**30)
    (line,) = lines_of(stderr)
    assert line["error"] == "x"
    assert "int" in str(line["kind"])


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(monkeypatch: pytest.MonkeyPatch, level: str, heard: list[str]) -> None:
    stderr = standard_error(monkeypatch, io.StringIO())
    configure_logging(LogSettings(level=level))  # type: ignore[arg-type]
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)("said")
    assert [line["level"] for line in lines_of(stderr)] == heard


@pytest.mark.parametrize(("settings", "readable"), [("auto", True), ("console", True), ("json", False)])
def test_on_a_terminal_it_is_for_people(monkeypatch: pytest.MonkeyPatch, settings: str, readable: bool) -> None:
    terminal = standard_error(monkeypatch, Terminal())
    configure_logging(LogSettings(format=settings))  # type: ignore[arg-type]
    structlog.get_logger().info("listening", port=8080)
    assert terminal.getvalue().startswith("{") is not readable
    assert "listening" in terminal.getvalue()
    assert "8080" in terminal.getvalue()


def test_elsewhere_console_means_console(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = standard_error(monkeypatch, io.StringIO())
    configure_logging(LogSettings(format="console"))
    structlog.get_logger().info("listening", port=8080)
    assert not stderr.getvalue().startswith("{")
