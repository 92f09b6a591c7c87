"""Errors, both ways."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects.gemini import Gemini
from stream_protocols.dialects.openai_chat import OpenAIChat
from stream_protocols.events import StreamCancelled, StreamFailed

DIALECT = Gemini()
OWN = {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "7s"}]}


def encoded(failure: StreamFailed | StreamCancelled) -> Any:
    return json.loads(DIALECT.encode_error(failure))["error"]


@pytest.mark.parametrize("body", [{"error": OWN}, [{"error": OWN}]], ids=["object", "array"])
def test_the_vendors_own_error_comes_back_whole(body: Any) -> None:
    failed = DIALECT.decode_error(json.dumps(body).encode(), 429, "7")
    assert failed == StreamFailed("resource_exhausted", "Quota.", 429, "rate_limit_error", "7", OWN)
    assert encoded(failed) == OWN


def test_it_is_told_to_others_in_their_shape() -> None:
    failed = DIALECT.decode_error(json.dumps({"error": OWN}).encode(), 429)
    assert json.loads(OpenAIChat().encode_error(failed))["error"] == {
        "message": "Quota.",
        "type": "rate_limit_error",
        "param": None,
        "code": "resource_exhausted",
    }


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[5]", b'{"error":null}', b'{"error":{}}', b"\xff"])
def test_what_is_no_error_object(body: bytes) -> None:
    failed = DIALECT.decode_error(body, 503)
    assert (failed.status, failed.message) == (503, "The provider answered with HTTP status 503.")


def test_a_header_that_cannot_be_one_is_dropped() -> None:
    assert DIALECT.decode_error(b"", 429, "7\r\nx: y").retry_after is None


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (405, "INVALID_ARGUMENT"),
        (413, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (529, "UNAVAILABLE"),
        (599, "INTERNAL"),
    ],
)
def test_statuses_have_names(status: int, name: str) -> None:
    assert encoded(StreamFailed("c", "m", status)) == {"code": status, "message": "m", "status": name}


def test_others_errors_are_told_in_ours() -> None:
    other = {"message": "m", "type": "requests", "code": "rate_limit_exceeded"}
    assert encoded(StreamFailed("c", "m", 429, error=other)) == {
        "code": 429,
        "message": "m",
        "status": "RESOURCE_EXHAUSTED",
    }


def test_the_field_to_blame_is_named() -> None:
    (detail,) = encoded(StreamFailed("c", "m", 400, param="contents"))["details"]
    assert detail["fieldViolations"] == [{"field": "contents", "description": "m"}]


def test_a_cancellation() -> None:
    assert encoded(StreamCancelled("client"))["status"] == "CANCELLED"


@given(st.binary(max_size=64), st.integers(400, 599))
def test_any_bytes_are_some_failure(body: bytes, status: int) -> None:
    failed = DIALECT.decode_error(body, status)
    assert failed.status == status
    assert failed.message
