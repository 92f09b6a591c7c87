"""Errors, both ways: Anthropic's types, and the HTTP statuses that go with them."""

from typing import Any, Final

import msgspec

from stream_protocols.dialects.answers import error_of, header, refusal_of
from stream_protocols.events import StreamCancelled, StreamFailed

_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

_TYPES: Final = {
    **{status: kind for kind, status in _STATUSES.items()},
    408: "timeout_error",
    503: "overloaded_error",
}


def decode_error(body: bytes, status: int, retry_after: str | None = None) -> StreamFailed:
    """A provider's error reply (see `Dialect.decode_error`)."""
    return failure_event(error_of(body), status=status, retry_after=retry_after, fallback=refusal_of(status))


def failure_event(
    error: object, *, status: int | None = None, retry_after: str | None = None, fallback: str = ""
) -> StreamFailed:
    """An `error` member as the neutral failure; without an HTTP status its type has to say which one it would be."""
    fields = error if isinstance(error, dict) else {}
    kind, message = fields.get("type"), fields.get("message") if fields else error
    if status is None:
        status = _STATUSES.get(kind, 502) if isinstance(kind, str) else 502
    return StreamFailed(
        code=kind if isinstance(kind, str) and kind else "upstream_error",
        message=message if isinstance(message, str) and message else fallback or "The provider reported an error.",
        status=status,
        error_type=kind if isinstance(kind, str) and kind else "server_error",
        retry_after=header(retry_after),
        error=fields or None,
    )


def error_json(failure: StreamFailed | StreamCancelled) -> bytes:
    """The body of an error reply, and the payload of an error in mid-stream.

    The dialect has no member for the field to blame; our messages name it.
    """
    return msgspec.json.encode({"type": "error", "error": _error(failure)})


def _error(failure: StreamFailed | StreamCancelled) -> dict[str, Any]:
    if isinstance(failure, StreamCancelled):
        return {"type": "api_error", "message": f"The stream was cancelled ({failure.reason})."}
    own = failure.error or {}
    # OpenAI's objects have a `code`, and its types are not always what Anthropic means by the same word.
    if own.get("type") in _STATUSES and isinstance(own.get("message"), str) and "code" not in own:
        return own
    return {"type": _type(failure), "message": failure.message}


def _type(failure: StreamFailed) -> str:
    """The status says it, unless it says only that the provider is to blame."""
    if failure.status in _TYPES and failure.status != 500:
        return _TYPES[failure.status]
    if failure.error_type in _STATUSES:
        return failure.error_type
    return "invalid_request_error" if failure.status < 500 else "api_error"
