"""Errors, both ways: Google's status names (google.rpc.Code), and the HTTP statuses that go with them."""

from typing import Any, Final

import msgspec

from stream_protocols.dialects.answers import NOT_JSON, header
from stream_protocols.events import StreamCancelled, StreamFailed

_STATUSES: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

_NAMES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""How OpenAI classifies what these statuses say; other 4xx are the request's fault, other 5xx the server's."""


def decode_error(body: bytes, status: int, retry_after: str | None = None) -> StreamFailed:
    """A provider's error reply (see `Dialect.decode_error`); where it was to stream an array, it is in one."""
    try:
        data = msgspec.json.decode(body)
    except NOT_JSON:
        data = None
    if isinstance(data, list) and data:
        data = data[0]
    error = data.get("error") if isinstance(data, dict) else None
    fallback = f"The provider answered with HTTP status {status}."
    return failure_event(error, status=status, retry_after=retry_after, fallback=fallback)


def failure_event(
    error: object, *, status: int | None = None, retry_after: str | None = None, fallback: str = ""
) -> StreamFailed:
    """An `error` member as the neutral failure; without an HTTP status it has to say itself which one it would be."""
    fields = error if isinstance(error, dict) else {}
    name, message = fields.get("status"), fields.get("message") if fields else error
    name = name if isinstance(name, str) and name else ""
    if status is None:
        status = _status(fields.get("code"), name)
    return StreamFailed(
        code=name.lower() or "upstream_error",
        message=message if isinstance(message, str) and message else fallback or "The provider reported an error.",
        status=status,
        error_type=_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error"),
        retry_after=header(retry_after),
        error=fields or None,
    )


def _status(code: object, name: str) -> int:
    if isinstance(code, int) and 400 <= code <= 599:
        return code
    return _STATUSES.get(name, 502)


def error_json(failure: StreamFailed | StreamCancelled) -> bytes:
    """The body of an error reply, and the payload of an error in mid-stream; Google's own where there is one."""
    if isinstance(failure, StreamCancelled):
        return _encoded(499, f"The stream was cancelled ({failure.reason}).")
    own = failure.error or {}
    if own.get("status") in _STATUSES and isinstance(own.get("message"), str) and isinstance(own.get("code"), int):
        return msgspec.json.encode({"error": own})
    return _encoded(failure.status, failure.message, failure.param)


def _encoded(status: int, message: str, param: str | None = None) -> bytes:
    name = _NAMES.get(status) or ("INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if param is not None:
        violation = {"field": param, "description": message}
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    return msgspec.json.encode({"error": error})
