"""Attempts: what is held back until somebody is bound to an answer, and what never reaches it."""

from collections.abc import Sequence
from typing import Any

import pytest

from stream_gateway.config import BreakerSettings, TargetSettings
from stream_gateway.upstream.attempt import MAX_HELD, Attempt, AttemptStatus
from stream_gateway.upstream.continuation import Splice, Transcript
from stream_gateway.upstream.demo import DemoProvider
from stream_gateway.upstream.provider import Valve
from stream_gateway.upstream.routing.target import Place, Target
from stream_gateway.upstream.sink import Silence
from stream_protocols.dialects import Source
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Opaque,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)

STARTED: Record = (StreamStarted("m"), COVERED)
ROLE: Record = (Opaque(), b'{"role"}')
TEXT: Record = (TextDelta("a"), b'{"a"}')
FAILED: Record = (StreamFailed("c", "m"), b'{"error"}')
FINISHED: Record = (StreamFinished("stop"), b"[DONE]")


class Log:
    """An answer that keeps what it is given, one list an append."""

    def __init__(self) -> None:
        self.source = Source("s", "m", 0)
        self.over = False
        self.valve: Valve | None = None
        self.silence: Silence | None = None
        self.appends: list[list[Record]] = []

    def extend(self, records: Sequence[Record]) -> None:
        if records:
            self.appends.append(list(records))

    async def flowing(self) -> None:
        """There is always room."""


class Rig:
    """An attempt in front of a log."""

    def __init__(self, **options: Any) -> None:
        target = Target("r", DemoProvider(), TargetSettings(provider="p", model="m"), BreakerSettings())
        target.admission.take()
        self.log = Log()
        self.began = 0
        defaults: dict[str, Any] = {
            "deadline": float("inf"),
            "raw": True,
            "hold": True,
            "silence": None,
            "transcript": None,
            "splice": None,
        }
        place, status = Place(target, "first", 0), AttemptStatus("p/m", "first", 0)
        self.attempt = Attempt(self.log, place, status, began=self._begin, **{**defaults, **options})

    def _begin(self, attempt: Attempt) -> None:
        assert attempt is self.attempt
        self.began += 1

    def feed(self, *records: Record) -> list[list[Record]]:
        """What the log gets when the provider appends these."""
        self.log.appends.clear()
        self.attempt.extend(list(records))
        return list(self.log.appends)


@pytest.mark.parametrize("event", [TextDelta("a"), ReasoningDelta("a"), RefusalDelta("a"), ToolCallDelta(0)])
def test_the_beginning_is_held_back_until_there_is_content(event: Any) -> None:
    rig = Rig()
    assert rig.feed(STARTED) == rig.feed(ROLE, (Usage(1, 0), b"{}")) == []
    assert not rig.attempt.shown
    content = (event, b"{}")
    assert rig.feed(content) == [[STARTED, ROLE, (Usage(1, 0), b"{}"), content]]  # in one append
    assert (rig.attempt.shown, rig.began) == (True, 1)
    assert rig.feed(content) == [[content]]
    assert rig.began == 1


def test_an_empty_answer_is_one() -> None:
    rig = Rig()
    rig.feed(STARTED)
    assert rig.feed((ChoiceFinished("stop"), b"{}"), FINISHED) == [[STARTED, (ChoiceFinished("stop"), b"{}"), FINISHED]]
    assert (rig.attempt.finished, rig.attempt.over, rig.began) == (True, True, 1)


def test_a_failure_before_content_leaves_no_trace() -> None:
    rig = Rig()
    assert rig.feed(STARTED, ROLE) == rig.feed(FAILED) == rig.feed(TEXT) == []
    assert (rig.attempt.failed, rig.attempt.shown, rig.attempt.over) == (FAILED, False, True)
    assert rig.attempt.scope.cancel_called


def test_a_failure_after_content_is_the_generations_business() -> None:
    rig = Rig()
    rig.feed(STARTED, TEXT)
    assert rig.feed(TEXT, FAILED, TEXT) == [[TEXT]]
    assert rig.feed(TEXT) == []
    assert rig.attempt.failed == FAILED


def test_content_and_failure_in_one_read() -> None:
    rig = Rig()
    assert rig.feed(STARTED, TEXT, FAILED) == [[STARTED, TEXT]]
    assert (rig.attempt.shown, rig.attempt.failed, rig.feed(TEXT)) == (True, FAILED, [])


def test_a_beginning_without_end_is_shown_some_time() -> None:
    rig = Rig()
    frame = (Opaque(), b"x" * 10_000)
    shown: list[list[Record]] = []
    while not shown:
        shown = rig.feed(frame)
    assert MAX_HELD / 10_000 - 1 < len(shown[0]) <= MAX_HELD / 10_000 + 1
    assert (rig.attempt.shown, rig.began) == (True, 1)  # and a rival can no longer win
    assert rig.feed(TEXT) == [[TEXT]]
    assert rig.began == 1


def test_where_nobody_can_take_over_the_beginning_is_shown_at_once() -> None:
    rig = Rig(hold=False)
    assert rig.feed(STARTED) == []  # nobody would see anything of it
    assert rig.feed(ROLE) == [[STARTED, ROLE]]
    assert (rig.attempt.opened, rig.attempt.shown, rig.began) == (True, False, 0)
    assert rig.feed(TEXT) == [[TEXT]]
    assert (rig.attempt.shown, rig.began) == (True, 1)


def test_bytes_of_another_dialect_are_left_out() -> None:
    rig = Rig(raw=False)
    assert rig.feed(STARTED, TEXT) == [[(STARTED[0], None), (TEXT[0], None)]]
    assert rig.feed(TEXT, FAILED) == [[(TEXT[0], None)]]
    assert rig.attempt.failed == (FAILED[0], None)


def test_the_valve_is_the_one_of_whom_clients_see() -> None:
    class Tap:
        def pause(self) -> None: ...
        def resume(self) -> None: ...

    rig = Rig()
    rig.attempt.valve = tap = Tap()
    rig.feed(STARTED)
    assert rig.log.valve is None
    rig.feed(TEXT)
    assert rig.log.valve is tap


def test_who_was_given_up_is_not_heard() -> None:
    rig = Rig()
    rig.feed(STARTED)
    rig.attempt.give_up()
    assert rig.feed(TEXT) == []
    assert (rig.attempt.over, rig.attempt.failed, rig.attempt.scope.cancel_called) == (True, None, True)


def test_usage_is_noted_in_any_company() -> None:
    rig = Rig()
    rig.feed(STARTED, (Usage(3, 1), COVERED), TEXT)
    assert rig.attempt.usage == Usage(3, 1)
    rig.feed(TEXT, (Usage(3, 2), COVERED), TEXT)
    assert rig.attempt.usage == Usage(3, 2)


def test_a_continuation_begins_with_its_mark() -> None:
    transcript = Transcript()
    transcript.note([(TextDelta("Once upon a time"), None)])
    rig = Rig(transcript=transcript, splice=Splice(transcript.text, None, "upstream_error"))
    assert rig.feed(STARTED, ROLE) == []
    assert rig.feed((TextDelta("Once upon"), b"{}")) == []
    assert (rig.began, rig.attempt.shown) == (1, False)  # it speaks, and repeats what is known
    ((notice, text),) = rig.feed((TextDelta(" a time there was"), b"{}"))
    assert (notice[1], text) == (None, (TextDelta(" there was"), None))
    assert rig.feed((TextDelta(" a"), b"{}"), ROLE) == [[(TextDelta(" a"), None)]]
    assert transcript.text == "Once upon a time there was a"
    assert rig.began == 1
