"""What a client cannot mend by coming back: one class each, one sentence for people."""

from stream_protocols.events import StreamCancelled, StreamFailed


class ClientError(Exception):
    """The root of all errors of this package."""


class WrongUrl(ClientError):
    """The address is none, or leads elsewhere."""


class Unreachable(ClientError):
    """Nobody answers at the address, or has not for longer than our patience."""


class Untrusted(ClientError):
    """The server's certificate is not good for it: an unknown authority, another name, or expired."""


class NotAGateway(ClientError):
    """Somebody answers who is no Stream Gateway."""


class Unauthorized(ClientError):
    """The token is missing, wrong, or not good for this."""


class Refused(ClientError):
    """The gateway understood and said no.

    Attributes:
        code: for machines, such as `model_not_found`.
        status: the HTTP status; None when it was said on a WebSocket.
    """

    def __init__(self, message: str, *, code: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class StreamNotFound(Refused):
    """There is no such stream, or none any longer."""


class CursorExpired(Refused):
    """The stream cannot go on after this cursor: what followed is not kept any more, or nothing of the stream is."""


class Incomplete(ClientError):
    """An answer that was asked for as one text is not whole.

    Attributes:
        text: what there is of it.
        event: how the stream ended; None when a part is missing in between.
    """

    def __init__(self, message: str, *, text: str, event: StreamFailed | StreamCancelled | None = None) -> None:
        super().__init__(message)
        self.text = text
        self.event = event
