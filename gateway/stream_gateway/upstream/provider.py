"""What a provider is to the rest of the gateway."""

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

import msgspec

from stream_gateway.upstream.sink import Silence
from stream_protocols.dialects import Source
from stream_protocols.events import Event, Record, StreamFailed, Usage
from stream_protocols.request import Request


class Reply(msgspec.Struct, frozen=True):
    """A whole answer: in its vendor's own bytes, or as events when no vendor is behind it."""

    body: bytes | None = None
    events: tuple[Event, ...] = ()
    usage: Usage | None = None


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


class Valve(Protocol):
    """How what feeds an answer is stopped and restarted."""

    def pause(self) -> None:
        """Read no more from the provider, so that it feels the backpressure."""

    def resume(self) -> None:
        """Read again."""


class Answer(Protocol):
    """What a provider appends to.

    Attributes:
        valve: set by the provider, if it can be paused.
        silence: how long the provider may say nothing; None where its own setting holds.
    """

    valve: Valve | None
    silence: Silence | None

    @property
    def source(self) -> Source:
        """Stream id, public model name and creation time."""

    @property
    def over(self) -> bool:
        """Whether nothing more is wanted: it has a terminal record, or was given up."""

    def extend(self, records: Sequence[Record]) -> None:
        """Append records; ignored when it is over."""

    def known_as(self, alias: str) -> None:
        """What the provider calls the answer."""

    async def flowing(self) -> None:
        """Wait until there is room for more."""


async def failing(error: Exception) -> None:
    """What is awaited where asking has failed at once."""
    raise error


class Provider(Protocol):
    """An upstream that answers chat requests."""

    @property
    def dialect(self) -> str | None:
        """The dialect of the bytes it gives, None when it speaks in neutral events."""

    def stream(self, request: Request, model: str, answer: Answer) -> Coroutine[Any, Any, None]:
        """Append the records of an answer as they come, the terminal one included.

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
