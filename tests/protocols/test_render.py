"""Renderers: each record once, with the cursor after it, in the words of the client's dialect."""

import json
from collections.abc import Sequence

import pytest

from stream_protocols.cursor import parse_cursor
from stream_protocols.dialects import Encoder, Source
from stream_protocols.dialects.native import NativeEncoder
from stream_protocols.dialects.openai_chat import OpenAIChatDecoder, OpenAIChatEncoder
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from stream_protocols.render import NdjsonRenderer, SseRenderer, rest_of, uncovered
from stream_protocols.sse import SseDecoder, SseEvent

SOURCE = Source("s", "demo", 1)

STARTED: Record = (StreamStarted("demo", 1), COVERED)
ROLE: Record = (Opaque(), b'{"role":1}')
TWO_IN_ONE: list[Record] = [(TextDelta("abc"), COVERED), (ReasoningDelta("why"), b'{"frame":2}')]
FINISH: Record = (StreamFinished("stop"), b"[DONE]")
LOG: list[Record] = [STARTED, ROLE, *TWO_IN_ONE, FINISH]


def openai() -> OpenAIChatEncoder:
    return OpenAIChatEncoder(SOURCE)


def render(encoder: Encoder, dialect: str | None, records: Sequence[Record], first: int = 1) -> list[SseEvent]:
    return SseDecoder().feed(SseRenderer("s", "e", encoder, dialect).render(first, records))


def test_native_clients_get_every_event_but_the_opaque_ones() -> None:
    events = render(NativeEncoder(), "openai_chat", LOG)
    assert [event.id for event in events] == ["s.e.1", "s.e.3", "s.e.4", "s.e.5"]
    assert [json.loads(event.data)["type"] for event in events] == [
        "stream.started",
        "text.delta",
        "reasoning.delta",
        "stream.finished",
    ]


def test_a_client_of_the_same_dialect_gets_each_frame_once_and_untouched() -> None:
    events = render(openai(), "openai_chat", LOG)
    assert [(event.id, event.data) for event in events] == [
        ("s.e.2", b'{"role":1}'),
        ("s.e.4", b'{"frame":2}'),
        ("s.e.5", b"[DONE]"),
    ]


@pytest.mark.parametrize("dialect", [None, "anthropic"])
def test_what_another_dialect_said_is_encoded(dialect: str | None) -> None:
    records: list[Record] = [(event, raw and b"not ours") for event, raw in LOG]
    events = render(openai(), dialect, records)
    assert [event.id for event in events] == ["s.e.1", "s.e.3", "s.e.4", "s.e.5"]
    assert json.loads(events[1].data)["choices"][0]["delta"] == {"content": "abc"}
    assert events[3].data == b"[DONE]"


def test_a_record_without_a_frame_is_encoded_beside_those_that_have_one() -> None:
    events = render(openai(), "openai_chat", [ROLE, (TextDelta("x"), None)])
    assert events[0].data == ROLE[1]
    assert json.loads(events[1].data)["choices"][0]["delta"] == {"content": "x"}


def test_what_a_dialect_has_no_words_for_keeps_its_number_and_is_not_sent() -> None:
    events = render(openai(), None, [(Notice("a", "b"), None), (Usage(1, 2), None), (TextDelta("x"), None)], 41)
    assert [event.id for event in events] == ["s.e.43"]


def test_nothing_to_say_is_no_bytes() -> None:
    assert SseRenderer("s", "e", NativeEncoder(), None).render(1, [(Opaque(), b"{}")]) == b""
    assert NdjsonRenderer("s", "e", NativeEncoder(), None).render(1, []) == b""


def test_every_id_is_a_cursor_after_its_event() -> None:
    for event in render(NativeEncoder(), None, [(TextDelta(str(n)), None) for n in range(7, 30)], 7):
        assert event.id is not None
        assert parse_cursor(event.id).position.seq == int(json.loads(event.data)["text"])


def test_ndjson_is_one_object_a_line_with_the_same_ids() -> None:
    body = NdjsonRenderer("s", "e", NativeEncoder(), "openai_chat").render(1, LOG)
    lines = [json.loads(line) for line in body.splitlines()]
    sse = render(NativeEncoder(), "openai_chat", LOG)
    assert [line["id"] for line in lines] == [event.id for event in sse]
    assert [line["event"] for line in lines] == [json.loads(event.data) for event in sse]
    assert body.endswith(b"\n")


@pytest.mark.parametrize("text", ["a\nb", "\r\n\r\ndata: forged", "\u2028\x85", "𝄞", "\0"])
def test_text_cannot_break_out_of_its_line(text: str) -> None:
    for encoder in (NativeEncoder(), openai()):
        (event,) = render(encoder, None, [(TextDelta(text), None)])
        assert text in (json.loads(event.data).get("text"), *_contents(event.data))
    line = NdjsonRenderer("s", "e", NativeEncoder(), None).render(1, [(TextDelta(text), None)])
    assert line.count(b"\n") == 1
    assert json.loads(line)["event"]["text"] == text


def _contents(payload: bytes) -> list[str]:
    return [choice["delta"]["content"] for choice in json.loads(payload).get("choices", ())]


def test_a_notice_to_one_client_has_no_id() -> None:
    notice = Notice("gap", "Some events are gone.", {"missed": 3})
    (event,) = SseDecoder().feed(SseRenderer("s", "e", NativeEncoder(), None).notice(notice))
    assert event.id is None
    assert json.loads(event.data)["data"] == {"missed": 3}
    line = json.loads(NdjsonRenderer("s", "e", NativeEncoder(), None).notice(notice))
    assert line == {"event": {"type": "notice", "code": "gap", "message": notice.message, "data": {"missed": 3}}}
    assert SseRenderer("s", "e", openai(), None).notice(notice) == b""


def test_keepalives_are_no_events() -> None:
    renderer = SseRenderer("s", "e", NativeEncoder(), None)
    body = renderer.keepalive + renderer.render(1, LOG[:1]) + renderer.keepalive * 2 + renderer.render(2, LOG[2:])
    assert SseDecoder().feed(body) == SseDecoder().feed(renderer.render(1, LOG[:1]) + renderer.render(2, LOG[2:]))
    assert NdjsonRenderer.keepalive.strip() == b""


# Beginning in the middle


@pytest.mark.parametrize("event", [TextDelta("añ𝄞d", 2), ReasoningDelta("añ𝄞d"), RefusalDelta("añ𝄞d")])
def test_the_rest_of_a_text_is_counted_in_characters_and_encoded_anew(
    event: TextDelta | ReasoningDelta | RefusalDelta,
) -> None:
    for offset in range(1, 4):
        rest, raw = rest_of((event, b"whole frame"), offset)
        assert type(rest) is type(event)
        assert rest.text == "añ𝄞d"[offset:]
        assert rest.choice == event.choice
        assert raw is None


def test_what_was_not_begun_stays_as_it_is() -> None:
    record: Record = (TextDelta("abc"), b"frame")
    assert rest_of(record, 0) == record
    call: Record = (ToolCallDelta(0, "a", "b"), b"frame")
    assert rest_of(call, 5) == call


FRAME: list[Record] = [
    (TextDelta("ab"), COVERED),
    (ToolCallDelta(0, "c", "f", "{"), COVERED),
    (ChoiceFinished("stop"), b"F"),
]
NEXT: list[Record] = [(TextDelta("x"), COVERED), (TextDelta("y", 1), b"G"), (TextDelta("z"), None)]


def raws(records: Sequence[Record]) -> list[bytes | None]:
    return [raw for _, raw in records]


@pytest.mark.parametrize("before", [None, ROLE, STARTED, (TextDelta("x"), None), FRAME[-1]])
def test_at_the_beginning_of_a_frame_it_stays_untouched(before: Record | None) -> None:
    assert uncovered(before, [*FRAME, *NEXT]) == [*FRAME, *NEXT]


@pytest.mark.parametrize("seen", [1, 2])
def test_inside_a_frame_only_the_rest_of_it_is_encoded_anew(seen: int) -> None:
    records = uncovered(FRAME[seen - 1], [*FRAME[seen:], *NEXT])
    assert raws(records) == [None] * (3 - seen) + raws(NEXT)
    assert [event for event, _ in records] == [event for event, _ in [*FRAME[seen:], *NEXT]]


@pytest.mark.parametrize("before", [None, ROLE, STARTED])
def test_inside_the_text_of_a_frame_all_of_it_is_encoded_anew(before: Record | None) -> None:
    # Its first event was seen in part: the frame's bytes, which stand at its last event, would repeat that.
    assert raws(uncovered(before, [*FRAME, *NEXT], offset=1)) == [None] * 3 + raws(NEXT)


def test_inside_a_text_that_is_a_frame_of_its_own() -> None:
    assert raws(uncovered(ROLE, [(TextDelta("ab"), b"F"), *NEXT], offset=1)) == [None, *raws(NEXT)]


def test_nothing_left_is_nothing() -> None:
    assert uncovered(FRAME[0], []) == []


def test_wherever_a_client_begins_it_hears_the_rest_and_only_that() -> None:
    records = [*FRAME, *NEXT]
    bodies = [
        b'{"choices":[{"index":0,"delta":{"content":"ab","tool_calls":[{"index":0,"id":"c","function":{"name":"f",'
        b'"arguments":"{"}}]},"finish_reason":"stop"}]}',
        b'{"choices":[{"index":0,"delta":{"content":"x"}},{"index":1,"delta":{"content":"y"}}]}',
    ]
    log: list[Record] = [
        (event, bodies[0] if raw == b"F" else bodies[1] if raw == b"G" else raw) for event, raw in records
    ]
    for start in range(len(log) + 1):
        rest = uncovered(log[start - 1] if start else None, log[start:])
        heard = [event for frame in render(openai(), "openai_chat", rest, start + 1) for event in said(frame.data)]
        assert heard == [event for event, _ in log[start:]]


def said(payload: bytes) -> list[Event]:
    return [event for event, _ in OpenAIChatDecoder().feed(b"data: " + payload + b"\n\n")]
