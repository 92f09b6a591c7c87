"""Frames that build on each other: whoever comes in the middle is told as if they had been there from the beginning."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Frame, SequenceEncoder
from stream_protocols.events import COVERED, Event, Notice, Opaque, Record, StreamFinished, StreamStarted, TextDelta
from stream_protocols.render import SequenceRenderer
from stream_protocols.sse import SseDecoder, SseEvent


class Counting(SequenceEncoder):
    """A dialect that numbers its frames, opens before the first text, and tells all of the text at the end."""

    passthrough = "counting"

    def __init__(self) -> None:
        self._count = 0
        self._text = ""

    def encode(self, event: Event) -> Sequence[Frame]:
        if isinstance(event, TextDelta):
            opening = [] if self._text else [self._frame("open")]
            self._text += event.text
            return [*opening, self._frame("text", event.text)]
        if isinstance(event, StreamFinished):
            return [self._frame("all", self._text), self._frame("end")]
        return []

    def relay(self, event: Event, raw: bytes) -> Sequence[Frame]:
        self._count += 1
        if isinstance(event, TextDelta):
            self._text += event.text
        return [Frame(b"theirs", raw)] if raw else []

    def _frame(self, name: str, text: str = "") -> Frame:
        self._count += 1
        return Frame(name.encode(), json.dumps([self._count, text]).encode())


LOG: list[Record] = [
    (StreamStarted("m", 1), COVERED),
    (TextDelta("Hel"), None),
    (Notice("n", "m"), None),
    (TextDelta("lo"), None),
    (StreamFinished("stop"), None),
]


def renderer(dialect: str | None = None) -> SequenceRenderer:
    return SequenceRenderer("s", "e", Counting(), dialect)


def decoded(data: bytes) -> list[SseEvent]:
    return SseDecoder().feed(data)


def said(events: Sequence[SseEvent]) -> list[Any]:
    return [(event.event, *json.loads(event.data)) for event in events]


def test_the_last_frame_of_an_event_has_its_cursor() -> None:
    events = decoded(renderer().render(1, LOG))
    assert said(events) == [("open", 1, ""), ("text", 2, "Hel"), ("text", 3, "lo"), ("all", 4, "Hello"), ("end", 5, "")]
    assert [event.id for event in events] == [None, "s.e.2", "s.e.4", "s.e.4", "s.e.5"]  # an id holds until the next


@given(st.integers(0, 5))
def test_whoever_comes_in_the_middle_is_told_the_same(after: int) -> None:
    whole, late = renderer(), renderer()
    whole.render(1, LOG[:after])
    late.recall(LOG[:after], 0)
    assert late.render(after + 1, LOG[after:]) == whole.render(after + 1, LOG[after:])


def test_whoever_comes_in_the_middle_of_an_event() -> None:
    late = renderer()
    late.recall(LOG[:4], 1)
    events = decoded(late.render(4, [(TextDelta("o"), None), LOG[4]]))
    assert said(events) == [("text", 4, "o"), ("all", 5, "Hello"), ("end", 6, "")]


def test_the_vendors_own_frames_go_through_and_are_remembered() -> None:
    records: list[Record] = [
        (TextDelta("Hel"), COVERED),
        (Opaque(), b'{"x":1}'),
        (TextDelta("lo"), None),
        (StreamFinished("stop"), None),
    ]
    events = decoded(renderer("counting").render(1, records))
    assert [event.event for event in events] == ["theirs", "text", "all", "end"]
    assert (events[0].id, events[0].data) == ("s.e.2", b'{"x":1}')
    assert json.loads(events[2].data) == [4, "Hello"]


def test_what_another_vendor_said_is_encoded() -> None:
    records: list[Record] = [(TextDelta("Hi"), b"not ours")]
    assert [event.event for event in decoded(renderer("openai_chat").render(1, records))] == ["open", "text"]


def test_frames_without_a_name() -> None:
    class Unnamed(Counting):
        def encode(self, event: Event) -> Sequence[Frame]:
            return [Frame(b"", frame.payload) for frame in super().encode(event)]

    data = SequenceRenderer("s", "e", Unnamed(), None).render(2, [LOG[1]])
    assert data == b'data: [1, ""]\n\nid: s.e.2\ndata: [2, "Hel"]\n\n'
    assert not SequenceRenderer.shared


@given(st.integers(0, 7))
def test_frames_that_the_client_has_seen_are_not_told_again(seen: int) -> None:
    whole = decoded(renderer().render(1, LOG))
    late = SequenceRenderer("s", "e", Counting(), None, skip=seen)
    told = decoded(b"".join(late.render(number, [record]) for number, record in enumerate(LOG, 1)))
    assert said(told) == said(whole)[seen:]
