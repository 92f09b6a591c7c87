"""A vendor's own frames go through, and whoever goes on after them goes on consistently."""

import json
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects.base import Frame
from stream_protocols.dialects.openai_responses import NAME, OpenAIResponsesEncoder
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    Record,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from stream_protocols.render import SequenceRenderer, rest_of, uncovered
from stream_protocols.sse import SseDecoder
from tests.doubles.openai_script import Script, ToolCall
from tests.doubles.responses_events import ResponseWriter
from tests.protocols.dialects.openai_responses.frames import (
    SOURCE,
    Json,
    call,
    decode,
    delta,
    frame,
    meaning,
    payloads,
    response,
    said,
    sse,
)

CALLS = (ToolCall(id="c1", name="f", fragments=('{"a"', ":1}")), ToolCall(id="c2", name="g", fragments=("{", "}")))
SCRIPTS = {
    "text": Script(deltas=("Hel", "lo ", "world"), reasoning=("a", "b")),
    "calls": Script(tool_calls=CALLS, interleave=True, reasoning=("a",)),
    "refusal": Script(deltas=("No", "."), declines=True),
    "incomplete": Script(deltas=("a", "b"), reason="length"),
}
STARTED: Record = (StreamStarted("m", 7), COVERED)


def records_of(script: Script) -> list[Record]:
    """A log of a stream whose vendor speaks this dialect."""
    writer = ResponseWriter(script, {"model": "m"})
    return [STARTED, *decode(writer.opening() + b"".join(writer.deltas()) + writer.closing())]


LOGS = {name: records_of(script) for name, script in SCRIPTS.items()}


def frames_of(records: list[Record], encoder: OpenAIResponsesEncoder | None = None) -> list[Frame]:
    encoder = encoder or OpenAIResponsesEncoder(SOURCE)
    made = [encoder.encode(e) if raw is None else encoder.relay(e, raw) for e, raw in records]
    return [one for frames in made for one in frames]


def consistent(frames: list[Frame]) -> list[Json]:
    """Numbered without gaps, one end, and every item and part that is begun is also ended: as an SDK insists."""
    told = said(frames)
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    begun = [(one["output_index"], one["item"]["id"]) for one in told if one["type"] == "response.output_item.added"]
    ended = [(one["output_index"], one["item"]["id"]) for one in told if one["type"] == "response.output_item.done"]
    assert len(set(begun)) == len(begun)
    assert sorted(begun) == sorted(ended)
    assert {one["response"]["id"] for one in told if "response" in one} <= {"resp_double"}
    return told


@pytest.mark.parametrize("name", LOGS)
def test_untouched(name: str) -> None:
    frames = frames_of(LOGS[name])
    assert [one.payload for one in frames] == [raw for _, raw in LOGS[name] if raw]
    assert [one.name.decode() for one in frames] == [one["type"] for one in said(frames)]
    consistent(frames)


@pytest.mark.parametrize("name", LOGS)
def test_the_response_is_the_vendors(name: str) -> None:
    encoder = OpenAIResponsesEncoder(SOURCE)
    told = said(frames_of(LOGS[name], encoder))
    assert json.loads(encoder.response()) == told[-1]["response"]


@pytest.mark.parametrize("name", LOGS)
def test_somebody_else_goes_on_after_any_frame(name: str) -> None:
    """As when another provider takes over: its records come without bytes."""
    whole = LOGS[name]
    for place in range(2, len(whole)):
        rest: list[Record] = [(event, None) for event, _ in whole[place:]]
        told = consistent(frames_of(whole[:place] + rest))
        output = [{k: v for k, v in item.items() if k != "id"} for item in told[-1]["response"]["output"]]
        assert _shape(output) == _shape(said(frames_of(whole))[-1]["response"]["output"]), place


def _shape(output: list[Json]) -> Any:
    """What items say, whoever tells it."""
    shape = []
    for item in output:
        parts = [*item.get("content", ()), *item.get("summary", ())]
        said = [part.get("text") or part.get("refusal") for part in parts]
        shape.append((item["type"], item.get("arguments"), item.get("call_id"), item.get("name"), said))
    return shape


@given(st.sampled_from(sorted(LOGS)), st.data())
def test_whoever_comes_at_any_record_is_told_the_same(name: str, data: st.DataObject) -> None:
    log = LOGS[name]
    after = data.draw(st.integers(0, len(log)))
    whole = SequenceRenderer("s", "e", OpenAIResponsesEncoder(SOURCE), NAME)
    late = SequenceRenderer("s", "e", OpenAIResponsesEncoder(SOURCE), NAME)
    whole.render(1, log[:after])
    late.recall(log[:after], 0)
    rest = uncovered(log[after - 1] if after else None, log[after:])
    expected = whole.render(after + 1, log[after:])
    if rest == log[after:]:
        assert late.render(after + 1, rest) == expected
    else:  # inside the vendor's last frame, which is told anew
        told = [json.loads(event.data) for event in SseDecoder().feed(late.render(after + 1, rest))]
        assert [one["type"] for one in told] == [json.loads(SseDecoder().feed(expected)[-1].data)["type"]]


def test_whoever_comes_in_the_middle_of_a_piece() -> None:
    log = LOGS["text"]
    place = next(n for n, (event, _) in enumerate(log) if event == TextDelta("Hel"))
    late = SequenceRenderer("s", "e", OpenAIResponsesEncoder(SOURCE), NAME)
    late.recall(log[: place + 1], 1)
    rest = [rest_of(log[place], 1), *log[place + 1 :]]
    told = [json.loads(event.data) for event in SseDecoder().feed(late.render(place + 1, rest))]
    texts = [one["delta"] for one in told if one["type"] == "response.output_text.delta"]
    assert texts == ["el", "lo ", "world"]
    numbers = [one["sequence_number"] for one in told]
    assert numbers == list(range(numbers[0], numbers[0] + len(told)))
    assert told[-1]["response"]["output"][-1]["content"][0]["text"] == "Hello world"


def test_the_vendors_numbers_are_mended_and_nothing_else() -> None:
    encoder = OpenAIResponsesEncoder(SOURCE)
    (first,) = encoder.relay(Opaque(), b'{"sequence_number":5,"type":"response.x","n":1e3}')
    (second,) = encoder.relay(Opaque(), b'{"type":"response.y"}')
    (third,) = encoder.relay(Opaque(), b'{"type":"response.z", "sequence_number":2}')
    assert first.payload == b'{"sequence_number":0,"type":"response.x","n":1e3}'
    assert json.loads(second.payload) == {"type": "response.y", "sequence_number": 1}
    assert third.payload == b'{"type":"response.z", "sequence_number":2}'


@pytest.mark.parametrize("kind", ['"a\\nid: forged"', "5", "null", '"' + "x" * 200 + '"'])
def test_a_type_that_is_no_name(kind: str) -> None:
    (made,) = OpenAIResponsesEncoder(SOURCE).relay(Opaque(), b'{"type":%b,"sequence_number":0}' % kind.encode())
    assert made.name == b""


def test_what_is_no_object_goes_through_without_a_number() -> None:
    encoder = OpenAIResponsesEncoder(SOURCE)
    assert encoder.relay(Notice("untranslated", "m"), b"[1]") == (Frame(b"", b"[1]"),)
    assert encoder.relay(Opaque(), b'{"type":"x","sequence_number":0}')[0].payload.endswith(b"0}")


def test_built_in_tools_stay_in_the_output() -> None:
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"query": "q"}}
    frames = [
        frame("created", response=response(id="resp_double")),
        frame("output_item.added", output_index=0, item={**search, "status": "in_progress"}),
        frame("output_item.done", output_index=0, item=search),
        frame("output_item.added", output_index=1, item={"type": "message", "id": "msg_9", "content": []}),
        {**delta("Hel"), "item_id": "msg_9", "output_index": 1},
    ]
    before = decode(sse(*frames))[:-1]
    rest: list[Record] = [(TextDelta("lo"), None), (ChoiceFinished("stop"), None), (StreamFinished("stop"), None)]
    told = said(frames_of([STARTED, *before, *rest]))
    output = told[-1]["response"]["output"]
    assert output[0] == search
    assert (output[1]["id"], output[1]["content"][0]["text"]) == ("msg_9", "Hello")


def test_a_vendor_that_never_says_what_begins() -> None:
    before = decode(sse({**delta("Hel"), "output_index": 3}, frame("output_item.done", output_index=4, item=call())))[
        :-1
    ]
    rest: list[Record] = [(TextDelta("lo"), None), (ChoiceFinished("stop"), None), (StreamFinished("stop"), None)]
    output = said(frames_of([STARTED, *before, *rest]))[-1]["response"]["output"]
    assert output[0]["content"][0]["text"] == "Hello"
    assert output[1]["call_id"] == "c1"


@pytest.mark.parametrize(
    ("end", "status"), [(StreamCancelled("client"), "cancelled"), (StreamFailed("c", "m"), "failed")]
)
def test_a_stream_that_is_cut_off(end: Event, status: str) -> None:
    log = list(takewhile(lambda record: record[0] != TextDelta("world"), LOGS["text"]))
    error, failed = said(frames_of([*log, (end, None)]))[-2:]
    assert (error["type"], failed["response"]["status"], failed["response"]["id"]) == ("error", status, "resp_double")
    assert failed["response"]["output"][1]["content"][0]["text"] == "Hello "
    assert failed["response"]["output"][1]["status"] == "incomplete"


def test_the_vendors_own_failure() -> None:
    encoder = OpenAIResponsesEncoder(SOURCE)
    end = {"type": "error", "error": {"code": "c", "message": "M"}}
    log = decode(sse(frame("created", response=response()), delta("a"), end))
    assert [one.name for one in frames_of(log, encoder)][-1] == b"error"
    now = json.loads(encoder.response())
    assert (now["status"], now["error"]) == ("failed", {"code": "c", "message": "M"})


def test_what_is_too_long_to_keep_goes_through_but_cannot_be_gone_on_with() -> None:
    log = decode(sse(*[delta("x" * 100)] * 50))[:-1]
    encoder = OpenAIResponsesEncoder(SOURCE, max_kept=2000)
    assert len(frames_of(log, encoder)) == 50
    assert encoder.encode(Usage(1, 2)) == ()
    error, _ = said(encoder.encode(TextDelta("more")))
    assert error["code"] == "response_too_long"
    assert encoder.encode(StreamFinished("stop")) == ()


def test_usage_that_a_frame_says_besides() -> None:
    """Whoever has seen the usage, told in another dialect, is told the end anew, with it."""
    log = [
        STARTED,
        *decode(sse(delta("a"), frame("completed", response=response("completed", usage={"input_tokens": 7})))),
    ]
    place = next(n for n, (event, _) in enumerate(log) if isinstance(event, Usage)) + 1
    late = SequenceRenderer("s", "e", OpenAIResponsesEncoder(SOURCE), NAME)
    late.recall(log[:place], 0)
    data = late.render(place + 1, uncovered(log[place - 1], log[place:]))
    end = json.loads(SseDecoder().feed(data)[-1].data)
    assert (end["type"], end["response"]["usage"]["input_tokens"]) == ("response.completed", 7)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "type",
    "output_index",
    "content_index",
    "summary_index",
    "item",
    "part",
    "response",
    "sequence_number",
    "item_id",
]
KINDS = [
    "created",
    "output_item.added",
    "output_item.done",
    "content_part.added",
    "output_text.delta",
    "completed",
    "incomplete",
    "failed",
]
payload = st.builds(
    lambda kind, fields: json.dumps({"type": f"response.{kind}", **fields}).encode(),
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), anything),
)
events = st.sampled_from(
    [Opaque(), TextDelta("a"), ToolCallDelta(0, "c", "f", "{"), StreamFailed("c", "m"), StreamFinished("stop")]
)


@given(st.lists(st.tuples(events, payload | st.none() | st.just(b"")), max_size=8))
def test_any_frames_at_all(given_records: list[Record]) -> None:
    encoder = OpenAIResponsesEncoder(SOURCE)
    frames = frames_of(given_records, encoder)
    assert [one["sequence_number"] for one in said(frames)] == list(range(len(frames)))
    json.loads(encoder.response())


def test_meaning_survives_both_ways() -> None:
    for log in LOGS.values():
        events = [event for event, _ in log]
        encoder = OpenAIResponsesEncoder(SOURCE)
        frames = [made for event in events for made in encoder.encode(event)]
        again = decode(b"".join(b"event: %b\ndata: %b\n\n" % made for made in frames))
        assert meaning(event for event, _ in again) == meaning(events)


def test_the_double_itself_says_what_is_expected() -> None:
    assert payloads(delta("a"))[0].startswith(b"{")
    assert {name: log[-1][0] for name, log in LOGS.items()} == {
        "text": StreamFinished("stop"),
        "calls": StreamFinished("tool_calls"),
        "refusal": StreamFinished("stop"),
        "incomplete": StreamFinished("length"),
    }
