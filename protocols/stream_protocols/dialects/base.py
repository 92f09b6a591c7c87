"""What every dialect offers."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import msgspec

from stream_protocols.conversation import Conversation, Image, Message, Text, Untranslatable
from stream_protocols.events import Event, Record, StreamCancelled, StreamFailed, Usage, last_usage
from stream_protocols.request import Request


class Source(msgspec.Struct, frozen=True):
    """What an encoder must know about the stream it speaks for: ids, the model's public name, Unix seconds.

    `echo`: what the request had its answers repeat (see `Dialect.echo`).
    """

    stream: str
    model: str
    created: int
    echo: bytes = b""


class Decoder(Protocol):
    """A provider's body, bytes in any pieces, to records.

    Nothing a provider sends raises: a stream that breaks its dialect ends in a `StreamFailed` record, and
    what follows the terminal record is ignored.
    """

    def feed(self, data: bytes) -> list[Record]:
        """Take the next bytes; return what they complete."""

    def close(self) -> list[Record]:
        """The body has ended; if the stream had not, say so."""


@runtime_checkable
class Naming(Protocol):
    """What a decoder may be as well: one that learns the provider's own id of the answer, None until it has."""

    answer_id: str | None


class Encoder(Protocol):
    """Events to a vendor's payloads. A pure function of the event and of the stream's `Source`."""

    @property
    def passthrough(self) -> str | None:
        """The dialect whose own bytes this encoder's clients want untouched."""

    def encode(self, event: Event) -> bytes | None:
        """One JSON payload without line breaks, or None when the vendor has no words for it."""


class Frame(NamedTuple):
    """One server-sent event of a vendor: its name (empty: unnamed), and one line of JSON."""

    name: bytes
    payload: bytes


class SequenceEncoder(abc.ABC):
    """Events to the frames of a vendor whose frames depend on those before: numbered blocks, texts told twice.

    It belongs to one client, and is told every event of the stream from the first one on, in order; one that
    begins in the middle is told the earlier ones first, and what it says to them is dropped. What it keeps in
    memory is bounded: a stream that outgrows it ends with the vendor's error.
    """

    passthrough: ClassVar[str]
    """The dialect whose own frames its clients want untouched."""

    counted: ClassVar[bool] = False
    """Its clients come back with the number of a frame, so that every client must get the same ones."""

    @abc.abstractmethod
    def encode(self, event: Event) -> Sequence[Frame]:
        """The frames that an event becomes, possibly none."""

    @abc.abstractmethod
    def relay(self, event: Event, raw: bytes) -> Sequence[Frame]:
        """Take note of an event that the vendor said itself; its own frame, or none where another record carries it."""


class Dialect(abc.ABC):
    """One vendor's JSON: requests and answers, both ways. Stateless; there is one of each."""

    name: ClassVar[str]
    forwarded: ClassVar[tuple[str, ...]] = ()
    """Headers of a client's that a provider of the same dialect should see, in lower case."""
    headers: ClassVar[Mapping[str, str]] = {}
    """Headers that every request to a provider carries, in lower case; a forwarded one of the same name replaces it."""
    params: ClassVar[Mapping[str, str]] = {}
    """What a client has to be told of as another field than OpenAI's chat has: its name there, and here."""

    # ---- requests

    @abc.abstractmethod
    def parse_request(
        self, body: bytes, *, native: bool = False, model: str | None = None, stream: bool | None = None
    ) -> Request:
        """Read a client's request.

        Args:
            native: as in `Request`.
            model, stream: where the vendor has them in the path and not in the body.

        Raises:
            InvalidJson, InvalidField: it cannot be understood; `param` names the field.
        """

    @abc.abstractmethod
    def read(self, request: Request) -> Conversation:
        """What a request in this dialect asks, in neutral words.

        Raises:
            InvalidField: a field is wrong. Untranslatable: it asks for what only this vendor has.
        """

    @abc.abstractmethod
    def write(self, conversation: Conversation, *, model: str, stream: bool) -> bytes:
        """The body of a request in this dialect.

        Raises:
            Untranslatable: the dialect has no words for it.
        """

    @abc.abstractmethod
    def patch(self, request: Request, *, model: str, stream: bool) -> bytes:
        """The client's own body for a provider of this dialect: order and unknown fields as they came."""

    def echo(self, request: Request) -> bytes:
        """The settings of a request that its answers repeat, for `Source`; few bytes, since they are kept as long."""
        return b""

    def needs(self, request: Request) -> frozenset[str]:
        """What a model must be able to do to answer: `tools`, `images`, `reasoning`.

        Of a request that only its own vendor understands, nothing is known.
        """
        try:
            asked = self.read(request)
        except Untranslatable:
            return frozenset()
        parts = [part for message in asked.messages for part in message.parts]
        found = {
            "tools": bool(asked.tools),
            "images": any(isinstance(part, Image) for part in parts),
            "reasoning": bool(asked.effort or asked.reasoning_tokens),
        }
        return frozenset(name for name, needed in found.items() if needed)

    def continued(self, request: Request, text: str) -> Request:
        """The request for the rest of an answer that began with `text`, given back as the assistant's words.

        Raises:
            Untranslatable: it asks for what cannot be put in neutral words.
        """
        if not text:
            return request
        asked = self.read(request)
        *before, last = asked.messages
        if last.role != "assistant":
            before, last = [*before, last], Message("assistant", ())
        whole = Message("assistant", (*last.parts, Text(text)))
        asked = msgspec.structs.replace(asked, messages=(*before, whole))
        body = self.write(asked, model=request.model, stream=request.stream)
        return msgspec.structs.replace(request, body=body)

    # ---- reaching a provider

    @abc.abstractmethod
    def path(self, model: str, *, stream: bool) -> str:
        """Where a provider takes it, below its base URL; with a query if need be."""

    @abc.abstractmethod
    def credentials(self, key: str) -> Mapping[str, str]:
        """The headers that carry a provider's key."""

    # ---- answers

    @abc.abstractmethod
    def decoder(self) -> Decoder:
        """For one streamed answer of a provider."""

    @abc.abstractmethod
    def decode_reply(self, body: bytes) -> list[Record]:
        """A whole answer as the records of a stream; never raises (see `Decoder`)."""

    def inspect_reply(self, body: bytes) -> StreamFailed | Usage | None:
        """What is wrong with a whole answer that is to be handed on as it is, or, when nothing is, its usage."""
        events = [event for event, _ in self.decode_reply(body)]
        last = events[-1] if events else None
        return last if isinstance(last, StreamFailed) else last_usage(events)

    @abc.abstractmethod
    def decode_error(self, body: bytes, status: int, retry_after: str | None = None) -> StreamFailed:
        """A provider's error reply, which may be anything, as the failure it reports."""

    @abc.abstractmethod
    def encoder(self, source: Source, request: Request | None = None) -> Encoder | SequenceEncoder:
        """For one stream. `request`: what the client asked, as far as known; it may change what it is told."""

    @abc.abstractmethod
    def encode_reply(self, source: Source, events: Iterable[Event]) -> bytes:
        """The whole answer that says what the events of a finished stream said."""

    @abc.abstractmethod
    def encode_error(self, failure: StreamFailed | StreamCancelled) -> bytes:
        """The body of an error reply, in the vendor's shape."""
