"""What a provider is to the rest of the gateway."""

from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from stream_gateway.streams.stream import Stream
from stream_protocols.events import Event, StreamFailed
from stream_protocols.request import Request


class Reply(msgspec.Struct, frozen=True):
    """A whole answer: in its vendor's own bytes, or as events when no vendor is behind it."""

    body: bytes | None = None
    events: tuple[Event, ...] = ()


class RawReply(msgspec.Struct, frozen=True):
    """What a provider answered to a request that is no generation: anything, of any content type."""

    status: int
    content_type: str | None
    body: bytes


class ProviderFailed(Exception):
    """A provider refused or broke off an answer; `failure` says how, as it stands in logs and replies."""

    def __init__(self, failure: StreamFailed) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Provider(Protocol):
    """An upstream that answers chat requests."""

    @property
    def dialect(self) -> str | None:
        """The dialect of the bytes it gives, None when it speaks in neutral events."""

    def stream(self, request: Request, model: str, stream: Stream) -> Coroutine[Any, Any, None]:
        """Append the answer to a stream as it comes, the terminal record included.

        What can be done without waiting may be done when this is called, such as sending the request; nothing is
        appended then. The result must be awaited. That returns when the answer has ended in whatever way;
        cancellation ends it at the provider too.

        Args:
            request: the client's.
            model: this provider's name for the model.
        """

    async def complete(self, request: Request, model: str) -> Reply:
        """The whole answer at once.

        Raises:
            ProviderFailed: there is none.
        """
