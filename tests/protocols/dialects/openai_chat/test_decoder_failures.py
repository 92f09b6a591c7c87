"""A provider that fails in the middle, or breaks its dialect: always one failure, never an exception, never an end."""

import json

import pytest

from stream_protocols.dialects.openai_chat import OpenAIChatDecoder
from stream_protocols.events import StreamFailed, TextDelta
from stream_protocols.sse import MAX_EVENT_BYTES
from tests.protocols.dialects.openai_chat.frames import DONE, choice, chunk, decode, events, payload, sse, text

DEEP = "[" * 200_000 + "]" * 200_000


def failure(body: bytes) -> tuple[StreamFailed, bytes | None]:
    """The failure that ends a body, wherever it is cut; and that nothing follows it."""
    records = decode(body)
    event, raw = records[-1]
    assert isinstance(event, StreamFailed)
    assert not any(isinstance(event, StreamFailed) for event in events(records[:-1]))
    return event, raw


def test_an_error_object_is_kept_whole() -> None:
    error = {"message": "Too many.", "type": "rate_limit_error", "code": "slow_down", "param": None, "extra": [1]}
    event, raw = failure(sse(text("a"), {"error": error}, text("b")) + DONE)
    assert event == StreamFailed("slow_down", "Too many.", 502, "rate_limit_error", error=error)
    assert raw == payload({"error": error})


def test_an_error_that_is_a_string() -> None:
    event, raw = failure(sse({"error": "out of memory"}))
    assert event == StreamFailed("upstream_error", "out of memory")
    assert raw == b'{"error": "out of memory"}'


@pytest.mark.parametrize(
    ("error", "code", "message", "kind"),
    [
        ({}, "upstream_error", "The provider reported an error.", "server_error"),
        ("", "upstream_error", "The provider reported an error.", "server_error"),
        ([], "upstream_error", "The provider reported an error.", "server_error"),
        ({"message": 5, "type": 6, "code": None}, "upstream_error", "The provider reported an error.", "server_error"),
        ({"message": "x", "type": "overloaded"}, "overloaded", "x", "overloaded"),
        ({"message": "x", "code": 429}, "429", "x", "server_error"),
        ({"message": "", "code": 10**40}, "1" + "0" * 40, "The provider reported an error.", "server_error"),
    ],
)
def test_errors_with_less_in_them(error: object, code: str, message: str, kind: str) -> None:
    event, _ = failure(sse({"error": error}))
    assert (event.code, event.message, event.error_type) == (code, message, kind)


@pytest.mark.parametrize(
    "beside",
    [
        text("x"),
        chunk(choice({"content": "x"}, finish="error")),
        chunk(choice({"content": "x", "reasoning": "y"})),
        {"choices": []},
        {"choices": "none", "usage": 5},
    ],
    ids=["text", "finish reason", "two events", "no choices", "another shape"],
)
def test_an_error_counts_whatever_stands_beside_it(beside: dict[str, object]) -> None:
    for frame in ({**beside, "error": {"message": "no"}}, {"error": {"message": "no"}, **beside}):
        event, raw = failure(sse(text("a"), frame) + DONE)
        assert event.message == "no"
        assert raw == payload(frame)


def test_an_error_that_is_null_is_none() -> None:
    assert events(decode(sse({**text("a"), "error": None})))[0] == TextDelta("a")


@pytest.mark.parametrize(
    "frame",
    [
        b"{",
        b"nonsense",
        b'"not ended',
        b"5 and more",
        b"[1,",
        b'{"choices":"x",',
        b'{"choices":[{"delta":{"content":"a"}}]} trailing',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud800"}}]}',
        b'{"error":"\xff"}',
        b"\0",
        DEEP.encode(),
        b'{"unknown":%b}' % DEEP.encode(),
        b'{"error":%b}' % DEEP.encode(),
        b'{"choices":5,"x":%b}' % DEEP.encode(),
    ],
    ids=lambda frame: frame[:24],
)
def test_what_is_no_json_ends_the_stream(frame: bytes) -> None:
    event, raw = failure(sse(text("a")) + b"data: " + frame + b"\n\n" + sse(text("b")) + DONE)
    assert event.code == "upstream_invalid"
    assert "not JSON" in event.message
    assert raw is None


def test_a_frame_that_the_end_cut_off() -> None:
    whole = sse(text("abc"))
    for size in range(len(sse(text("a"))), len(whole) + len(whole) - 2):
        event, raw = failure((whole + whole)[:size])
        assert event.code in ("upstream_truncated", "upstream_invalid")
        assert raw is None


def test_an_html_page_instead_of_a_stream() -> None:
    event, _ = failure(b"<html>\n<body>Bad gateway</body>\n</html>\n")
    assert event.code == "upstream_truncated"


def test_a_frame_that_never_ends_is_given_up() -> None:
    decoder = OpenAIChatDecoder()
    assert decoder.feed(sse(text("a"))) == [(TextDelta("a"), payload(text("a")))]
    fed, records = 0, []
    while not records:
        records = decoder.feed(b"x" * 1_000_000)
        fed += 1_000_000
        assert fed <= MAX_EVENT_BYTES + 1_000_000
    ((event, raw),) = records
    assert isinstance(event, StreamFailed)
    assert event.code == "upstream_invalid"
    assert raw is None
    assert decoder.feed(DONE) == []
    assert decoder.close() == []


def test_numbers_that_no_machine_has() -> None:
    huge = json.loads("1" + "0" * 60)
    records = decode(sse(chunk(usage={"prompt_tokens": huge, "completion_tokens": -1}), text("a", huge)))
    assert events(records)[1] == TextDelta("a", huge)
