"""One table of cases, which the JavaScript client's port of these machines has to pass as well.

A case makes a machine and takes steps on it: a method, its arguments, and what it gives (null where that says nothing).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stream_protocols.cursor import Gap
from stream_protocols.reconnect import (
    Backoff,
    Blame,
    Ladder,
    Patience,
    Probe,
    Rhythm,
    Silence,
    Trail,
    on_close,
    on_status,
)
from stream_protocols.reconnect.silence import Look

CASES = json.loads(Path(__file__).with_name("cases.json").read_text(encoding="utf-8"))
LOOKS = {Look.WAIT: "wait", Look.ASK: "ask", Look.DEAD: "dead"}


class Link(Silence):
    """A link with a rhythm of its own, as the table means it."""

    def __init__(self, now: float) -> None:
        self._own = Rhythm()
        super().__init__(self._own, now)

    def announce(self, text: str | None) -> None:
        self._own.announce(text)


def take(machine: str, make: Mapping[str, Any], steps: list[Any]) -> list[Any]:
    """The results of all steps, in the table's words."""
    if machine in ("on_status", "on_close"):
        return [_verdict(machine, *arguments) for _, arguments, _ in steps]
    made = _make(machine, make)
    return [_step(made, method, arguments) for method, arguments, _ in steps]


def _make(machine: str, make: Mapping[str, Any]) -> Any:
    if machine == "backoff":
        backoff = Backoff(lambda: make["chance"], base=make["base"], cap=make["cap"])
        backoff.floor, backoff.attempts = make.get("floor", 0), make.get("attempts", 0)
        return backoff
    if machine == "patience":
        return Patience(make["limit"], make["now"])
    if machine == "ladder":
        return Ladder(["websocket", "sse", "poll"], retry_better=make["retry_better"])
    if machine == "silence":
        return Link(make["now"])
    return Probe(make["after"], make["now"]) if machine == "probe" else Trail(make.get("cursor"))


def _step(made: Any, method: str, arguments: list[Any]) -> Any:
    if method == "cursor":
        return made.cursor
    if method == "heard" and isinstance(made, Silence):
        return made.heard(arguments[0], keepalive=arguments[1])
    if method == "announce" and isinstance(made, Trail):
        return made.announce(None if arguments[0] is None else Gap(**arguments[0]))
    if method == "failed" and isinstance(made, Ladder):
        made.failed(arguments[0], Blame[arguments[1].upper()], arguments[2])
        return None
    given = getattr(made, method)(*arguments)
    if method == "admit" and given is not None:
        return {"gap": None if given.gap is None else dataclasses.asdict(given.gap)}
    return LOOKS.get(given, given) if isinstance(given, Look) else given


def _verdict(machine: str, what: int, said: str | None) -> Any:
    verdict = on_status(what, retry_after=said) if machine == "on_status" else on_close(what, said or "")
    return {"come_back": verdict.come_back, "after": verdict.after}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['machine']}: {case['case']}" for case in CASES])
def test_as_the_table_says(case: dict[str, Any]) -> None:
    results = take(case["machine"], case["make"], case["steps"])
    for step, result in zip(case["steps"], results, strict=True):
        expected = step[2]
        assert result == (pytest.approx(expected) if isinstance(expected, float) else expected), step
