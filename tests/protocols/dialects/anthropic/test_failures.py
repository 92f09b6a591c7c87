"""Errors in Anthropic's words, and theirs in ours."""

import json
from typing import Any

import pytest

from stream_protocols.dialects.anthropic import Anthropic
from stream_protocols.errors import BodyTooLarge, InvalidField, UnknownModel, UpstreamTimeout
from stream_protocols.events import StreamCancelled, StreamFailed, failure

DEEP = b"[" * 200_000
ANTHROPIC = Anthropic()


def told(failed: StreamFailed | StreamCancelled) -> dict[str, Any]:
    body = json.loads(ANTHROPIC.encode_error(failed))
    assert set(body) == {"type", "error"}
    assert body["type"] == "error"
    return body["error"]


def test_an_error_reply_in_anthropics_shape() -> None:
    error = {"type": "rate_limit_error", "message": "Slow down."}
    body = json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()
    assert ANTHROPIC.decode_error(body, 429, "7") == StreamFailed(
        "rate_limit_error", "Slow down.", 429, "rate_limit_error", "7", error
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"[]", b"null", b"{}", b'{"detail":"x"}', b'{"error":[]}', b"\xff", DEEP],
    ids=lambda b: b[:12],
)
def test_an_error_reply_of_any_other_shape(body: bytes) -> None:
    failed = ANTHROPIC.decode_error(body, 503, "3")
    assert (failed.status, failed.retry_after, failed.code) == (503, "3", "upstream_error")
    assert "503" in failed.message


@pytest.mark.parametrize("value", ["", "caf\xe9", "7\r\nX: y", "x" * 65])
def test_a_time_to_wait_that_cannot_be_handed_on(value: str) -> None:
    assert ANTHROPIC.decode_error(b"{}", 429, value).retry_after is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (408, "timeout_error"),
        (409, "conflict_error"),
        (410, "invalid_request_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_the_status_says_the_type(status: int, kind: str) -> None:
    """OpenAI's type for nearly everything is `invalid_request_error`, and its objects are not Anthropic's."""
    error = {"message": "No.", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    assert told(StreamFailed("c", "No.", status, "server_error", error=error)) == {"type": kind, "message": "No."}


def test_in_mid_stream_the_type_says_more_than_the_status() -> None:
    assert told(StreamFailed("c", "m", 502, "rate_limit_error"))["type"] == "rate_limit_error"
    assert told(StreamFailed("c", "m", 502, "server_error"))["type"] == "api_error"


def test_anthropics_own_object_is_handed_on_whole() -> None:
    error = {"type": "billing_error", "message": "No.", "details": {"error_code": "x"}}
    assert told(StreamFailed("billing_error", "No.", 400, "billing_error", error=error)) == error


@pytest.mark.parametrize("error", [{}, {"type": "api_error"}, {"type": "x", "message": "a"}, {"message": 5}])
def test_an_object_that_the_sdk_could_not_read_is_said_in_our_words(error: dict[str, Any]) -> None:
    assert told(StreamFailed("c", "m", 429, error=error)) == {"type": "rate_limit_error", "message": "m"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidField("m", param="x"), "invalid_request_error"),
        (BodyTooLarge("m"), "request_too_large"),
        (UnknownModel("m"), "not_found_error"),
        (UpstreamTimeout("m"), "timeout_error"),
    ],
)
def test_errors_of_the_gateway(error: InvalidField, kind: str) -> None:
    assert told(failure(error)) == {"type": kind, "message": "m"}


def test_a_cancellation_says_why() -> None:
    assert "lease" in told(StreamCancelled("lease"))["message"]
