"""Our own dialect: the neutral events as they are, one JSON object each."""

from typing import Final, get_args

import msgspec

from stream_protocols.events import Event, NativeEvent, Opaque

NAME = "native"


class _Typed(msgspec.Struct):
    type: str


_encode = msgspec.json.encode
_decoder: Final[msgspec.json.Decoder[NativeEvent]] = msgspec.json.Decoder(NativeEvent)
_type: Final = msgspec.json.Decoder(_Typed)
_KNOWN: Final = frozenset(kind.__struct_config__.tag for kind in get_args(NativeEvent))


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


def decode_known(payload: bytes | str) -> NativeEvent | None:
    """One native event; None for one of a type that is newer than this package, which a client may skip.

    Raises:
        msgspec.DecodeError: it is not JSON, or a known type with fields that are wrong.
    """
    try:
        return _decoder.decode(payload)
    except msgspec.ValidationError:
        if _type.decode(payload).type in _KNOWN:
            raise
        return None
