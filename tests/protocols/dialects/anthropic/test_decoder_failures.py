"""A provider that fails in the middle, or breaks its dialect: always one failure, never an exception, never an end."""

import pytest

from stream_protocols.dialects.anthropic import AnthropicDecoder
from stream_protocols.dialects.anthropic.shapes import MAX_OPEN_CALLS
from stream_protocols.events import StreamFailed, TextDelta
from stream_protocols.sse import MAX_EVENT_BYTES
from tests.protocols.dialects.anthropic.frames import STOP, call, decode, events, payload, sse, start, stop, text

DEEP = "[" * 200_000 + "]" * 200_000


def failure(body: bytes) -> tuple[StreamFailed, bytes | None]:
    """The failure that ends a body; and that nothing follows it."""
    records = decode(body)
    event, raw = records[-1]
    assert isinstance(event, StreamFailed)
    assert not any(isinstance(event, StreamFailed) for event in events(records[:-1]))
    return event, raw


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("billing_error", 402),
        ("permission_error", 403),
        ("not_found_error", 404),
        ("request_too_large", 413),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("overloaded_error", 529),
        ("something_new", 502),
    ],
)
def test_an_error_is_kept_whole_and_its_type_says_the_status(kind: str, status: int) -> None:
    error = {"type": kind, "message": "No.", "details": {"error_code": "x"}}
    frame = {"type": "error", "error": error, "request_id": "req_1"}
    event, raw = failure(sse(text("a"), frame, text("b"), STOP))
    assert event == StreamFailed(kind, "No.", status, kind, error=error)
    assert raw == payload(frame)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({}, "The provider reported an error."),
        (None, "The provider reported an error."),
        ([], "The provider reported an error."),
        ("out of memory", "out of memory"),
        ({"message": 5, "type": 6}, "The provider reported an error."),
    ],
)
def test_errors_with_less_in_them(error: object, message: str) -> None:
    event, _ = failure(sse({"type": "error", "error": error}))
    assert (event.code, event.message, event.status) == ("upstream_error", message, 502)


@pytest.mark.parametrize("beside", [{}, text("x"), STOP, start(), {"type": 5}, {"index": "x"}], ids=str)
def test_an_error_counts_whatever_stands_beside_it(beside: dict[str, object]) -> None:
    for frame in ({**beside, "error": {"message": "no"}}, {"error": {"message": "no"}, **beside}):
        event, raw = failure(sse(text("a"), frame, STOP))
        assert event.message == "no"
        assert raw == payload(frame)


@pytest.mark.parametrize(
    "frame",
    [
        b"{",
        b"nonsense",
        b"[DONE]",
        b'{"type":"content_block_delta",',
        b'{"type":"ping"} trailing',
        b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"\xff"}}',
        b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"\\ud800"}}',
        b"\0",
        DEEP.encode(),
        b'{"unknown":%b}' % DEEP.encode(),
        b'{"type":5,"x":%b}' % DEEP.encode(),
    ],
    ids=lambda frame: frame[:24],
)
def test_what_is_no_json_ends_the_stream(frame: bytes) -> None:
    event, raw = failure(sse(text("a")) + b"data: " + frame + b"\n\n" + sse(text("b"), STOP))
    assert event.code == "upstream_invalid"
    assert "not JSON" in event.message
    assert raw is None


def test_input_that_is_no_utf8_is_no_exception() -> None:
    body = sse(call(given={"a": "X"}), stop(), STOP).replace(b"X", b"\xff")
    assert len(decode(body)) > 0


def test_a_frame_that_the_end_cut_off() -> None:
    whole = sse(text("abc"))
    for size in range(len(whole) + 1, 2 * len(whole)):
        event, _ = failure((whole + whole)[:size])
        assert event.code in ("upstream_truncated", "upstream_invalid")


def test_an_html_page_instead_of_a_stream() -> None:
    event, _ = failure(b"<html>\n<body>Bad gateway</body>\n</html>\n")
    assert event.code == "upstream_truncated"


def test_a_frame_that_never_ends_is_given_up() -> None:
    decoder = AnthropicDecoder()
    assert decoder.feed(sse(text("a"))) == [(TextDelta("a"), payload(text("a")))]
    fed, records = 0, []
    while not records:
        records = decoder.feed(b"x" * 1_000_000)
        fed += 1_000_000
        assert fed <= MAX_EVENT_BYTES + 1_000_000
    ((event, _),) = records
    assert isinstance(event, StreamFailed)
    assert event.code == "upstream_invalid"
    assert decoder.close() == []


def test_tool_calls_without_end_are_given_up() -> None:
    allowed = sse(*(call(index) for index in range(MAX_OPEN_CALLS)))
    assert failure(allowed)[0].code == "upstream_truncated"
    event, _ = failure(allowed + sse(call(MAX_OPEN_CALLS), STOP))
    assert event.code == "upstream_invalid"
    assert "tool calls" in event.message


def test_calls_that_stop_are_forgotten() -> None:
    body = sse(*(frame for index in range(2 * MAX_OPEN_CALLS) for frame in (call(index), stop(index))), STOP)
    assert not isinstance(decode(body)[-1][0], StreamFailed)
