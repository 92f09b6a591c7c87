"""Frames of the provider's own beside ours: clients are given one answer, wherever they come in."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Source
from stream_protocols.dialects.gemini import GeminiDecoder, GeminiEncoder
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    Record,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from stream_protocols.render import ArrayRenderer, BareRenderer, SequenceRenderer, rest_of, uncovered
from stream_protocols.sse import SseDecoder
from tests.protocols.dialects.gemini.frames import USAGE, Json, call, decode, end, frame, payload, sse, text, thought
from tests.protocols.dialects.gemini.test_encoder import calls_of, deltas, parts_of, reasons, reasons_of, usages

SOURCE = Source("s1", "m", 7)
STARTED: Record = (StreamStarted("m", 7), COVERED)
BODY = [
    thought("Hm."),
    text("Let ", usageMetadata={"promptTokenCount": 3}),
    frame({"text": "me see."}, {"text": " So:"}),
    frame(call("weather", {"city": "Oslo"}), call("time", identity=None)),
    {"modelVersion": "m"},
    end("MAX_TOKENS"),
]


def log_of(frames: Iterable[Json]) -> list[Record]:
    return [STARTED, *decode(sse(*frames))]


LOG = log_of(BODY)


def renderer(dialect: str | None = "gemini") -> SequenceRenderer:
    return SequenceRenderer("s", "e", GeminiEncoder(SOURCE), dialect)


def frames_of(data: bytes) -> list[Any]:
    return [json.loads(event.data) for event in SseDecoder().feed(data)]


def shown(frames: list[Any]) -> str:
    """What the texts of an answer say, and its calls."""
    texts = [part["text"] for part in parts_of(frames) if "text" in part]
    return "".join(texts) + "".join(f"|{one['name']}{json.dumps(one['args'])}" for one in calls_of(frames))


SHOWN = 'Hm.Let me see. So:|weather{"city": "Oslo"}|time{}'


def test_the_providers_own_frames_go_through() -> None:
    data = renderer().render(1, LOG)
    assert [event.data for event in SseDecoder().feed(data)] == list(map(payload, BODY))
    assert shown(frames_of(data)) == SHOWN


def test_another_dialects_bytes_do_not() -> None:
    frames = frames_of(renderer("openai_chat").render(1, LOG))
    assert {frame["responseId"] for frame in frames} == {"s1"}
    assert shown(frames) == SHOWN
    assert reasons_of(frames) == {0: "MAX_TOKENS"}


# Whoever comes in the middle


@given(st.integers(0, len(LOG)))
def test_at_every_record_the_rest_is_the_same(after: int) -> None:
    whole, late = renderer(), renderer()
    before = whole.render(1, LOG[:after])
    late.recall(LOG[:after], 0)
    rest = whole.render(after + 1, LOG[after:])
    assert late.render(after + 1, LOG[after:]) == rest
    assert shown(frames_of(before + rest)) == SHOWN


@given(st.lists(deltas, max_size=10), usages, reasons, st.integers(0, 14))
def test_at_every_record_of_another_vendors_the_rest_is_the_same(
    events: list[Event], usage: Usage, reason: str, after: int
) -> None:
    told = [StreamStarted("m", 7), *events, ChoiceFinished(reason), usage, StreamFinished(reason)]
    log: list[Record] = [(event, None) for event in told]
    whole, late = renderer(None), renderer(None)
    before = whole.render(1, log[:after])
    late.recall(log[:after], 0)
    rest = whole.render(after + 1, log[after:])
    assert late.render(after + 1, log[after:]) == rest
    assert 0 in reasons_of(frames_of(before + rest))


@pytest.mark.parametrize("after", range(len(LOG) + 1))
def test_at_every_record_as_a_follower_hands_it_on(after: int) -> None:
    """A client that read the beginning in another dialect may stand inside a frame: the rest of that is encoded."""
    seen = [event for event, _ in LOG[:after]]
    late = renderer()
    late.recall(LOG[:after], 0)
    rest = frames_of(late.render(after + 1, uncovered(LOG[after - 1] if after else None, LOG[after:])))
    texts = "".join(getattr(event, "text", "") for event in seen)
    calls = "".join(f"|{one.name}{one.arguments}" for one in seen if isinstance(one, ToolCallDelta))
    before, _, rest_calls = shown(rest).partition("|")
    assert texts + before + calls + ("|" + rest_calls if rest_calls else "") == SHOWN
    told = len(seen) >= len(LOG) - 2
    assert reasons_of(rest) == ({} if told else {0: "MAX_TOKENS"})


TEXTUAL = [number for number, (event, _) in enumerate(LOG) if len(getattr(event, "text", "")) > 1]


@pytest.mark.parametrize("number", TEXTUAL)
def test_in_the_middle_of_a_text(number: int) -> None:
    """A client has seen the first letter of a record, which is then encoded from there on."""
    (event, _), late, early = LOG[number], renderer(), renderer()
    late.recall(LOG[: number + 1], 1)
    records = uncovered(LOG[number - 1], LOG[number:], 1)
    records[0] = rest_of(records[0], 1)
    seen = "".join(getattr(one, "text", "") for one, _ in LOG[:number]) + getattr(event, "text", "")[:1]
    frames = frames_of(late.render(number + 1, records))
    assert seen + shown(frames) == SHOWN
    assert early.render(1, LOG[:number])[:3] in (b"id:", b"")


# Another provider goes on


@pytest.mark.parametrize("broken", [1, 2, 4])
def test_a_splice(broken: int) -> None:
    head = log_of(BODY[:broken])[:-1]
    tail: list[Record] = [
        (Notice("continued", "x"), None),
        (TextDelta("on"), None),
        (TextDelta("ward"), None),
        (ToolCallDelta(7, "b", "g", "{}"), None),
        (ChoiceFinished("length"), None),
        (Usage(1, 2), None),
        (StreamFinished("length"), None),
    ]
    frames = frames_of(renderer().render(1, [*head, *tail]))
    assert "".join(part.get("text", "") for part in parts_of(frames)).endswith("onward")
    assert calls_of(frames)[-1] == {"id": "b", "name": "g", "args": {}}
    assert reasons_of(frames) == {0: "MAX_TOKENS"}
    assert frames[-1]["usageMetadata"]["totalTokenCount"] == 3


def test_a_failure_after_the_providers_frames() -> None:
    (*_, last) = frames_of(renderer().render(1, log_of([text("a")])))
    assert last["error"]["status"] == "UNAVAILABLE"


def test_the_providers_own_error_goes_through() -> None:
    error = {"error": {"code": 503, "message": "Gone.", "status": "UNAVAILABLE", "details": [1]}}
    assert frames_of(renderer().render(1, log_of([text("a"), error])))[-1] == error
    broken = end("MALFORMED_FUNCTION_CALL")
    log = log_of([text("a"), broken])
    assert isinstance(log[-1][0], StreamFailed)
    assert frames_of(renderer().render(1, log)) == [text("a"), broken]
    assert "error" in frames_of(renderer("openai_chat").render(1, log))[-1]


def test_frames_that_say_nothing_go_through() -> None:
    assert frames_of(renderer().render(1, [(Opaque(), b'{"x":1}')])) == [{"x": 1}]


# Other containers


def test_bare_frames_have_no_ids() -> None:
    bare = BareRenderer("s", "e", GeminiEncoder(SOURCE), "gemini")
    assert bare.render(1, LOG) == b"".join(b"data: %b\n\n" % payload(frame) for frame in BODY)
    assert bare.keepalive == b"\n"


@pytest.mark.parametrize("dialect", ["gemini", None])
def test_an_array_is_one_document(dialect: str | None) -> None:
    array = ArrayRenderer("s", "e", GeminiEncoder(SOURCE), dialect)
    pieces = [array.render(number, [record]) for number, record in enumerate(LOG, 1)]
    assert shown(json.loads(array.keepalive.join(pieces))) == SHOWN
    assert array.media_type == "application/json"


def test_an_array_of_nothing() -> None:
    log = [STARTED, *GeminiDecoder().feed(sse({"usageMetadata": USAGE}))][:1]
    array = ArrayRenderer("s", "e", GeminiEncoder(SOURCE), "gemini")
    assert array.render(1, log) == b""
    (error,) = json.loads(array.render(2, [(StreamFailed("c", "m"), None)]))
    assert error["error"]["message"] == "m"
    silent = ArrayRenderer("s", "e", GeminiEncoder(SOURCE), "gemini")
    assert silent.render(1, [(StreamFailed("c", "m"), COVERED)]) == b"[]"
