"""Everything that can go wrong, under one root.

`LocalError`: we, or the code that called us, did wrong. `RemoteError`: the peer did, client or provider. What
goes on the wire stands on the class, so that whoever answers needs neither a table nor a chain of
`isinstance`: `status` (HTTP), `close_code` (WebSocket), `code` (for machines; it never changes once
released) and `type` (OpenAI's classification, which its SDKs show to their users).
"""

from typing import ClassVar

import msgspec

from stream_protocols.closing import CloseCode


class StreamProtocolError(Exception):
    """The root of all errors of this package; only its subclasses are raised.

    Attributes:
        message: One sentence for people: what is wrong, where, and what to do about it.
        param: The field, header or query parameter to blame, as the client wrote it; None if there is none.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    close_code: ClassVar[int] = CloseCode.INTERNAL_ERROR

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def to_json(self) -> bytes:
        """Return the body of an error response: `{"error":{"type","code","message","param"}}`."""
        return msgspec.json.encode(
            {"error": {"type": self.type, "code": self.code, "message": self.message, "param": self.param}}
        )


class LocalError(StreamProtocolError):
    """We, or our caller, did wrong: a bug on this side, or a state that the peer has no part in."""


class RemoteError(StreamProtocolError):
    """The peer did wrong."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"
    close_code = CloseCode.BAD_REQUEST


# Ours


class IllegalTransition(LocalError):
    """A stream was told something that its state does not allow."""

    code = "illegal_transition"


class CodecError(LocalError):
    """A content coding cannot be used, or has failed on a response."""

    code = "codec_failed"


class Overloaded(LocalError):
    """A limit of the gateway as a whole is reached; nothing is wrong with the request.

    Attributes:
        retry_after: Whole seconds for a Retry-After header (RFC 9110 §10.2.3); None if nobody can tell.
    """

    status = 503
    code = "overloaded"
    type = "overloaded_error"
    close_code = CloseCode.OVERLOADED

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


# A client's request


class BadRequest(RemoteError):
    """A request that cannot be understood, for a reason without a class of its own."""


class MalformedHttp(BadRequest):
    """Bytes that are no HTTP/1.1 message, or one whose end two readers could see in two places."""

    code = "malformed_http"


class InvalidJson(BadRequest):
    """The body is no JSON, or not UTF-8."""

    code = "invalid_json"


class InvalidField(BadRequest):
    """The body is JSON, but a field is missing or of the wrong type; `param` is its path."""

    code = "invalid_field"


class KeyConflict(BadRequest):
    """An idempotency key that belongs to another request."""

    status = 409
    code = "key_conflict"


class StreamInUse(BadRequest):
    """A stream that cannot be given up yet: it runs, or somebody reads it."""

    status = 409
    code = "stream_in_use"


class Unauthorized(RemoteError):
    """No credentials, or none that are good."""

    status = 401
    code = "unauthorized"
    type = "authentication_error"
    close_code = CloseCode.UNAUTHORIZED


class Forbidden(RemoteError):
    """Good credentials, but not for this."""

    status = 403
    code = "forbidden"
    type = "permission_error"
    close_code = CloseCode.FORBIDDEN


class OriginNotAllowed(Forbidden):
    """A browser page from an origin that is not allowed here."""

    code = "origin_not_allowed"


class NotFound(RemoteError):
    """There is nothing at this path."""

    status = 404
    code = "not_found"
    type = "not_found_error"
    close_code = CloseCode.NOT_FOUND


class UnknownStream(NotFound):
    """No stream of this id, or none any longer."""

    code = "unknown_stream"


class UnknownModel(NotFound):
    """No route has this model name."""

    code = "model_not_found"


class MethodNotAllowed(RemoteError):
    """The path exists, the method does not.

    Attributes:
        allow: The methods that do; a 405 must list them in Allow (RFC 9110 §15.5.6).
    """

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allow = allow


class NotAcceptable(RemoteError):
    """Nothing that we can send satisfies Accept or Accept-Encoding."""

    status = 406
    code = "not_acceptable"


class RequestTimeout(RemoteError):
    """The peer took too long to send its request."""

    status = 408
    code = "request_timeout"
    type = "timeout_error"
    close_code = CloseCode.SLOW


class UnsupportedBody(RemoteError):
    """The body is of a kind that is not taken here (RFC 9110 §15.5.16)."""

    status = 415
    code = "unsupported_body"


class UpgradeRequired(RemoteError):
    """The path speaks WebSocket, the request does not (RFC 9110 §15.5.22)."""

    status = 426
    code = "upgrade_required"


class TooManyRequests(RemoteError):
    """Over a limit that counts this client alone.

    Attributes:
        retry_after: see `Overloaded`.
    """

    status = 429
    code = "too_many_requests"
    type = "rate_limit_error"
    close_code = CloseCode.LIMIT_EXCEEDED

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BodyTooLarge(RemoteError):
    """The body is over the limit."""

    status = 413
    code = "body_too_large"
    close_code = CloseCode.MESSAGE_TOO_BIG


class HeadersTooLarge(RemoteError):
    """The header section is over the limit."""

    status = 431
    code = "headers_too_large"


# A client's cursor


class InvalidCursor(BadRequest):
    """A text that is no cursor: we never wrote it."""

    code = "invalid_cursor"


class CursorOfAnotherStream(BadRequest):
    """A cursor of ours, used on a stream that it does not belong to."""

    code = "cursor_of_another_stream"


class CursorFromFuture(BadRequest):
    """A cursor beyond the newest event of its own log: made up, or damaged."""

    code = "cursor_from_future"


class CursorExpired(RemoteError):
    """What follows the cursor is older than retention reaches."""

    status = 410
    code = "cursor_expired"
    close_code = CloseCode.CURSOR_GONE


class EpochMismatch(RemoteError):
    """The log that the cursor points into is gone; the stream has a new one."""

    status = 410
    code = "cursor_epoch_mismatch"
    close_code = CloseCode.CURSOR_GONE


# A provider's answer


class UpstreamError(RemoteError):
    """The provider failed, or broke its protocol."""

    status = 502
    code = "upstream_error"
    type = "server_error"
    close_code = CloseCode.BAD_GATEWAY


class UpstreamTimeout(UpstreamError):
    """The provider did not answer, or went silent, for too long."""

    status = 504
    code = "upstream_timeout"
    type = "timeout_error"
    close_code = CloseCode.UPSTREAM_TIMEOUT


class SseEventTooLarge(UpstreamError):
    """A server-sent event is over the decoder's limit."""

    code = "sse_event_too_large"
