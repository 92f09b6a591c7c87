"""Our own dialect: the neutral events as they are, one JSON object each."""

from typing import Final

import msgspec

from stream_protocols.events import Event, NativeEvent, Opaque

NAME = "native"

_encode = msgspec.json.encode
_decoder: Final[msgspec.json.Decoder[NativeEvent]] = msgspec.json.Decoder(NativeEvent)


class NativeEncoder:
    """Encodes events for native clients (see `stream_protocols.dialects.Encoder` for the contract)."""

    passthrough = None

    def encode(self, event: Event) -> bytes | None:
        """The event's JSON; None for `Opaque`, which is some vendor's own."""
        return None if type(event) is Opaque else _encode(event)


def decode_event(payload: bytes | str) -> NativeEvent:
    """One native event from its JSON.

    Raises:
        msgspec.DecodeError: it is not JSON, or no native event.
    """
    return _decoder.decode(payload)
