"""What every dialect offers."""

from typing import Protocol

import msgspec

from stream_protocols.events import Event, Record


class Source(msgspec.Struct, frozen=True):
    """What an encoder must know about the stream it speaks for: ids, the model's public name, Unix seconds."""

    stream: str
    model: str
    created: int


class Decoder(Protocol):
    """A provider's body, bytes in any pieces, to records.

    Nothing a provider sends raises: a stream that breaks its dialect ends in a `StreamFailed` record, and
    what follows the terminal record is ignored.
    """

    def feed(self, data: bytes) -> list[Record]:
        """Take the next bytes; return what they complete."""

    def close(self) -> list[Record]:
        """The body has ended; if the stream had not, say so."""


class Encoder(Protocol):
    """Events to a vendor's payloads. A pure function of the event and of the stream's `Source`."""

    @property
    def passthrough(self) -> str | None:
        """The dialect whose own bytes this encoder's clients want untouched."""

    def encode(self, event: Event) -> bytes | None:
        """One JSON payload without line breaks, or None when the vendor has no words for it."""
