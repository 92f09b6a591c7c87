"""What can go wrong with a gateway inside an application: one class each, one sentence for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_protocols.errors import StreamProtocolError
from stream_protocols.events import StreamCancelled, StreamFailed

if TYPE_CHECKING:
    from stream_gateway.api.chunk import Chunk


class GatewayError(Exception):
    """The root of all errors of this package."""


class WrongOption(GatewayError, ValueError):
    """An argument, or a variable of the environment, that cannot be used: a provider nobody knows, a missing key, …"""


class RequestRefused(GatewayError):
    """The gateway understood and said no; no provider was asked.

    Attributes:
        code: for machines, such as `model_not_found`.
        status: the HTTP status that says the same.
        param: the field to blame, if there is one.
    """

    def __init__(self, error: StreamProtocolError) -> None:
        super().__init__(error.message)
        self.code = error.code
        self.status = error.status
        self.param = error.param


class GenerationFailed(GatewayError):
    """The answer is not whole: the provider refused or broke off, or the generation was cancelled.

    Attributes:
        event: how the stream ended.
        chunk: the same for a client: its `to_json()` and `encode()` are the error as the stream's mode tells it.
        code: for machines.
        status: the HTTP status that says the same; 499 when it was cancelled.
    """

    def __init__(self, event: StreamFailed | StreamCancelled, chunk: Chunk) -> None:
        self.event = event
        self.chunk = chunk
        if isinstance(event, StreamFailed):
            super().__init__(event.message)
            self.code, self.status = event.code, event.status
        else:
            super().__init__(f"The generation was cancelled ({event.reason}) before it was whole.")
            self.code, self.status = "stream_cancelled", 499


class ReaderLagged(GatewayError):
    """What reads the stream held up its provider for longer than `streams.stall_timeout` allows.

    Attributes:
        cursor: after the last chunk that was read; if the generation goes on (`lease`), `attach` reads on from there.
    """

    def __init__(self, cursor: str | None) -> None:
        super().__init__("This stream was read too slowly, and was let go; attach to it again after the last cursor.")
        self.cursor = cursor


class GatewayStopped(GatewayError):
    """The gateway stopped while the stream was being read."""
