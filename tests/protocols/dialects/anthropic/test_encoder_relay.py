"""Frames of the provider's own beside ours: clients are given one message, wherever they come in."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Frame, Source
from stream_protocols.dialects.anthropic import AnthropicDecoder, AnthropicEncoder
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
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
from stream_protocols.render import SequenceRenderer, rest_of, uncovered
from stream_protocols.sse import SseDecoder
from tests.protocols.dialects.anthropic.frames import (
    PING,
    STOP,
    Json,
    arguments,
    block,
    call,
    delta,
    end,
    payload,
    sse,
    start,
    stop,
    text,
    thinking,
)
from tests.protocols.dialects.anthropic.message import Reader, read
from tests.protocols.dialects.anthropic.test_encoder import deltas, reasons, usages

SOURCE = Source("s1", "m", 7)
STARTED: Record = (StreamStarted("m", 7), COVERED)
BODY = [
    start(), PING,
    block(0, "thinking", thinking="", signature=""), thinking("Hm."), delta(0, "signature_delta", signature="Eq=="),
    stop(0),
    block(1, text="Let "), text("me see.", 1), stop(1),
    call(2, "toolu_1", "weather"), arguments('{"city":', 2), arguments('"Oslo"}', 2), stop(2),
    call(3, "toolu_2", "time"), stop(3),
    end("tool_use", 9), STOP,
]  # fmt: skip


def log_of(frames: Iterable[Json]) -> list[Record]:
    return [STARTED, *AnthropicDecoder().feed(sse(*frames))]


LOG = log_of(BODY)


def renderer(dialect: str | None = "anthropic") -> SequenceRenderer:
    return SequenceRenderer("s", "e", AnthropicEncoder(SOURCE), dialect)


def frames_of(data: bytes) -> list[Frame]:
    return [Frame((event.event or "").encode(), event.data) for event in SseDecoder().feed(data)]


def shown(reader: Reader) -> list[str]:
    """What the blocks of a message say, whatever they are."""
    return [block.get("text", "") + block.get("thinking", "") + block["json"] for block in reader.content]


SHOWN = ["Hm.", "Let me see.", '{"city":"Oslo"}', ""]


def test_the_providers_own_frames_go_through_under_their_names() -> None:
    frames = frames_of(renderer().render(1, LOG))
    assert [frame.payload for frame in frames] == list(map(payload, BODY))
    assert [frame.name.decode() for frame in frames] == [frame["type"] for frame in BODY]
    assert shown(read(frames)) == SHOWN


def test_another_dialects_bytes_do_not() -> None:
    reader = read(frames_of(renderer().render(1, [(TextDelta("a"), None)])))
    assert shown(reader) == ["a"]
    whole = read(frames_of(renderer("openai_chat").render(1, LOG)))
    assert whole.message is not None
    assert whole.message["id"] == "msg_s1"
    assert shown(whole) == [*SHOWN[:3], "{}"]  # what the provider left out is told where it speaks for us


# Whoever comes in the middle


@given(st.integers(0, len(LOG)))
def test_at_every_record_the_rest_is_the_same(after: int) -> None:
    whole, late = renderer(), renderer()
    before = whole.render(1, LOG[:after])
    late.recall(LOG[:after], 0)
    rest = whole.render(after + 1, LOG[after:])
    assert late.render(after + 1, LOG[after:]) == rest
    assert shown(read(frames_of(before + rest))) == SHOWN


@given(st.lists(deltas, max_size=10), usages, reasons, st.integers(0, 14))
def test_at_every_record_of_another_vendors_the_rest_is_the_same(
    events: list[TextDelta], usage: Usage, reason: str, after: int
) -> None:
    told = [StreamStarted("m", 7), *events, ChoiceFinished(reason), usage, StreamFinished(reason)]
    log: list[Record] = [(event, None) for event in told]
    whole, late = renderer(None), renderer(None)
    before = whole.render(1, log[:after])
    late.recall(log[:after], 0)
    rest = whole.render(after + 1, log[after:])
    assert late.render(after + 1, log[after:]) == rest
    assert read(frames_of(before + rest)).stopped


@pytest.mark.parametrize("after", range(len(LOG) + 1))
def test_at_every_record_as_a_follower_hands_it_on(after: int) -> None:
    """A client that read the beginning in another dialect may stand inside a frame: the rest of that is encoded."""
    first, second = renderer(), renderer()
    second.recall(LOG[:after], 0)
    records = uncovered(LOG[after - 1] if after else None, LOG[after:])
    frames = frames_of(first.render(1, LOG[:after]) + second.render(after + 1, records))
    reader = read(frames)
    assert reader.stopped
    assert reader.message is not None
    assert (reader.message["stop_reason"], reader.message["usage"]["output_tokens"]) == ("tool_use", 9)
    assert shown(reader) == SHOWN


TEXTUAL = [number for number, (event, _) in enumerate(LOG) if len(getattr(event, "text", "")) > 1]


@pytest.mark.parametrize("number", TEXTUAL)
def test_in_the_middle_of_a_text(number: int) -> None:
    """A client has seen the first letter of a record, whose frame is then encoded from there on."""
    (event, _), late = LOG[number], renderer()
    late.recall(LOG[: number + 1], 1)
    records = uncovered(LOG[number - 1], LOG[number:], 1)
    records[0] = rest_of(records[0], 1)
    early = renderer()
    before = early.render(1, LOG[:number]) + early.render(
        number + 1, [(type(event)(getattr(event, "text", "")[:1]), None)]
    )
    reader = read(frames_of(before + late.render(number + 1, records)))
    assert reader.stopped
    assert shown(reader) == SHOWN


# Another provider goes on


@pytest.mark.parametrize("broken", [1, 3, 8, 9])
def test_a_splice_goes_on_in_the_open_block(broken: int) -> None:
    head = log_of(BODY[:broken])
    tail: list[Record] = [
        (Notice("continued", "x"), None),
        (TextDelta("on"), None),
        (TextDelta("ward"), None),
        (ChoiceFinished("length"), None),
        (Usage(1, 2), None),
        (StreamFinished("length"), None),
    ]
    reader = read(frames_of(renderer().render(1, [*head, *tail])))
    assert reader.stopped
    assert reader.message is not None
    assert reader.message["stop_reason"] == "max_tokens"
    assert "".join(shown(reader)).endswith("onward")


def test_a_splice_goes_on_in_the_same_block_of_text() -> None:
    head = log_of([start(), block(text=""), text("Hel")])
    tail: list[Record] = [(TextDelta("lo"), None), (ChoiceFinished("stop"), None), (StreamFinished("stop"), None)]
    assert shown(read(frames_of(renderer().render(1, [*head, *tail])))) == ["Hello"]


def test_a_splice_calls_a_tool() -> None:
    head = log_of([start(), block(text=""), text("Hm"), stop(), call(1, "a"), arguments("{}", 1), stop(1)])
    tail: list[Record] = [
        (ToolCallDelta(0, "b", "g", "[]"), None),
        (ChoiceFinished("tool_calls"), None),
        (StreamFinished("tool_calls"), None),
    ]
    reader = read(frames_of(renderer().render(1, [*head, *tail])))
    assert [block.get("id") for block in reader.content] == [None, "a", "b"]
    assert shown(reader) == ["Hm", "{}", "[]"]


# Providers that do not keep to the rules


def test_a_stop_without_an_end_gets_one() -> None:
    reader = read(frames_of(renderer().render(1, log_of([start(), block(text=""), text("a"), stop(), STOP]))))
    assert reader.stopped
    assert reader.message is not None
    assert reader.message["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"type":"from_the_future","x":1}', "from_the_future"),
        (b'{"type":"ping","index":"x"}', "ping"),
        (b'{"type":"ping\\ndata: forged"}', None),
        (b'{"type":"ping\\ndata: forged","index":"x"}', None),
        (b'{"type":5}', None),
        (b"[]", None),
        (b'{"x":1}', None),
    ],
)
def test_names_are_words_or_left_out(raw: bytes, name: str | None) -> None:
    (event,) = SseDecoder().feed(renderer().render(1, [(Opaque(), raw)]))
    assert (event.event, event.data) == (name, raw)


def test_an_error_is_always_named_one() -> None:
    """A client skips what has no name, and would take the end of the body for the end of the answer."""
    for beside in ({}, text("x")):
        body = json.dumps({**beside, "error": {"message": "Oops."}}, separators=(",", ":"))
        ((failed, raw),) = AnthropicDecoder().feed(b"data: %b\n\n" % body.encode())
        assert isinstance(failed, StreamFailed)
        (event,) = SseDecoder().feed(renderer().render(1, [(failed, raw)]))
        assert (event.event, event.data) == ("error", body.encode())
