"""Records as bytes. MessagePack: an event with its tag, and the vendor's bytes beside it."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from stream_gateway.engines.engine import Batch
from stream_protocols.events import Event, NativeEvent, Opaque, Record

_Record: TypeAlias = tuple[NativeEvent | Opaque, bytes | None]

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[_Record])


class Damaged(Exception):
    """Stored records that cannot be read."""


_VENDORS_OWN: Final = ("details", "error", "data")
"""Fields in which events keep whatever a vendor has sent."""


def encode(records: Sequence[Record]) -> bytes:
    """Records to bytes. What a vendor has sent beside the point and MessagePack has no words for is left out."""
    try:
        return _ENCODER.encode(records)
    except (OverflowError, TypeError, ValueError, RecursionError):  # a number of more than 64 bits, say
        less = [(_without_extras(event), raw) for event, raw in records]
    try:
        return _ENCODER.encode(less)
    except UnicodeEncodeError:  # half a character, which JSON from elsewhere cannot bring, but an application can
        return _ENCODER.encode([(_of_characters(event), raw) for event, raw in less])


def _of_characters(event: Event) -> Event:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    texts = {name: text.encode("utf-8", "replace").decode() for name, text in fields.items() if isinstance(text, str)}
    return msgspec.structs.replace(event, **texts)


def _without_extras(event: Event) -> Event:
    empty = {field: None for field in _VENDORS_OWN if getattr(event, field, None) is not None}
    return msgspec.structs.replace(event, **empty) if empty else event


def decode(batch: Batch, after: int = 0) -> list[Record]:
    """The records of a batch that follow number `after`.

    Raises:
        Damaged: it holds something else than it says.
    """
    try:
        records: list[Record] = list(_DECODER.decode(batch.data))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"records {batch.first} to {batch.last} cannot be read: {error}") from None
    if len(records) != batch.count:
        raise Damaged(f"records {batch.first} to {batch.last} are {len(records)}, not {batch.count}")
    return records[max(0, after - batch.first + 1) :]
