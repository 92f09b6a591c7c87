"""Whatever a provider sends: nothing raises, and a broken answer never looks whole."""

from typing import Any

import pytest

from stream_protocols.dialects.gemini import GeminiDecoder
from stream_protocols.events import Notice, StreamFailed, TextDelta, Usage
from tests.protocols.dialects.gemini.frames import Json, decode, end, events, frame, payload, sse, text


def failure_of(body: bytes) -> StreamFailed:
    last = decode(body)[-1][0]
    assert isinstance(last, StreamFailed)
    return last


@pytest.mark.parametrize("body", [b"", b": hm\n\n", sse(text("a")), sse(text("a"), {}), sse({"promptFeedback": {}})])
def test_an_end_without_a_reason_is_a_truncation(body: bytes) -> None:
    assert failure_of(body).code == "upstream_truncated"


def test_what_a_truncated_answer_has_cost_is_told() -> None:
    count = {"promptTokenCount": 7, "candidatesTokenCount": 2}
    records = events(decode(sse(text("a", usageMetadata=count))))
    assert records[-2] == Usage(7, 2, running=True)
    assert isinstance(records[-1], StreamFailed)


@pytest.mark.parametrize("data", ["{", "[1", "<html>", "[DONE]"])
def test_no_json(data: str) -> None:
    assert failure_of(sse(text("a"), data, end())).code == "upstream_invalid"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ({"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}, 429, "resource_exhausted"),
        ({"message": "Slow down.", "status": "UNAVAILABLE"}, 503, "unavailable"),
        ({"code": 7, "message": "Slow down."}, 502, "upstream_error"),
        ("Slow down.", 502, "upstream_error"),
    ],
)
def test_an_error_in_mid_stream(error: Any, status: int, code: str) -> None:
    body: Json = {"error": error}
    *_, (failed, raw) = decode(sse(text("a"), body, text("late"), end()))
    assert isinstance(failed, StreamFailed)
    assert (failed.message, failed.status, failed.code) == ("Slow down.", status, code)
    assert raw == payload(body)


def test_an_error_beside_something_odd() -> None:
    assert failure_of(sse({"candidates": 5, "error": {"message": "Oops."}})).message == "Oops."


@pytest.mark.parametrize(
    "odd",
    [
        {"candidates": 5},
        {"candidates": [{"content": []}]},
        frame({"text": 5}),
        frame({"text": "a", "thought": "yes"}),
        frame({"functionCall": "f"}),
        {"candidates": [{"finishReason": 5}]},
        '{"candidates":[{"index":1e999}]}',
        "[]",
        "5",
        "null",
    ],
)
def test_an_odd_frame_is_shown_to_its_own_dialect_and_reported_to_others(odd: Json | str) -> None:
    ((notice, raw), (after, _)) = GeminiDecoder().feed(sse(odd, text("on")))
    assert isinstance(notice, Notice)
    assert raw == payload(odd)
    assert after == TextDelta("on")


@pytest.mark.parametrize("index", [-1, 128, 2**62])
def test_candidates_have_sensible_numbers(index: int) -> None:
    assert "candidate" in failure_of(sse(text("a", index))).message


def test_deep_nesting_is_no_json() -> None:
    assert failure_of(b"data: " + b"[" * 100_000 + b"\n\n").code == "upstream_invalid"


def test_an_endless_frame() -> None:
    decoder = GeminiDecoder()
    records = []
    for _ in range(18):
        records += decoder.feed(b"data: " + b"x" * 1_048_576)
    (event, _) = records[-1]
    assert isinstance(event, StreamFailed)
    assert decoder.feed(sse(text("late"))) == decoder.close() == []
