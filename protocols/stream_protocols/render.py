"""Records of a log to the bytes of one kind of client: a dialect inside a container (SSE or NDJSON).

A renderer belongs to one stream. What it makes of records depends on nothing but the records, so that the
bytes made for one subscriber serve every other at the same position.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from stream_protocols import sse
from stream_protocols.chunking import Chunk
from stream_protocols.commands import Codec
from stream_protocols.cursor import format_cursor
from stream_protocols.dialects.base import Encoder, Frame, SequenceEncoder
from stream_protocols.events import (
    COVERED,
    TERMINAL,
    Notice,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamStarted,
    TextDelta,
)
from stream_protocols.websocket import Packer

_TEXTUAL = (TextDelta, ReasoningDelta, RefusalDelta)


class Renderer(Protocol):
    """Renders records of one stream."""

    media_type: str

    shared: bool
    """Whether all clients of a kind use this one; one that compresses with context is a single connection's."""

    raw: bool
    """Whether its clients are shown the vendor's own bytes."""

    divisible: bool
    """Whether texts may be merged and divided for its clients; not where they count frames."""

    keepalive: bytes
    """What says "still here" between two events and is no event; all its clients must ignore it."""

    def render(self, first: int, records: Sequence[Record]) -> bytes:
        """The bytes of `records`, the first of which is number `first`; possibly none."""

    def chunk(self, chunk: Chunk) -> bytes:
        """One chunk that is not a whole record, or not as the log has it; possibly nothing."""

    def notice(self, notice: Notice) -> bytes:
        """A notice to this client alone, which is not in the log."""


def tail(chunk: Chunk) -> bytes:
    """The end of the cursor that says that a chunk has been seen."""
    return b"%d.%d" % (chunk.number - 1, chunk.inside) if chunk.inside else b"%d" % chunk.number


class _Rendering:
    """What both containers share: which payload stands for a record."""

    shared = True
    divisible = True

    def __init__(self, encoder: Encoder, dialect: str | None) -> None:
        self._encode = encoder.encode
        self.raw = self._raw = encoder.passthrough is not None and encoder.passthrough == dialect

    def payload(self, record: Record) -> bytes | None:
        event, raw = record
        return raw if self._raw and raw is not None else self._encode(event)


class SseRenderer(_Rendering):
    """Server-sent events: `id:` is the cursor after the event, `data:` the dialect's payload.

    Args:
        stream, epoch: what the cursors name.
        encoder: the client's dialect.
        dialect: the dialect of the raw bytes in the log, when a vendor's.
    """

    media_type = "text/event-stream"
    keepalive = sse.KEEPALIVE

    def __init__(self, stream: str, epoch: str, encoder: Encoder, dialect: str | None) -> None:
        super().__init__(encoder, dialect)
        self._prefix = format_cursor(stream, epoch, 0).removesuffix("0").encode()

    def render(self, first: int, records: Sequence[Record]) -> bytes:
        parts = []
        raw_wanted, encode, prefix = self._raw, self._encode, self._prefix
        for number, (event, raw) in enumerate(records, first):
            payload = raw if raw_wanted and raw is not None else encode(event)
            if payload:
                parts.append(b"id: %b%d\ndata: %b\n\n" % (prefix, number, payload))
        return b"".join(parts)

    def chunk(self, chunk: Chunk) -> bytes:
        payload = self.payload(chunk.record)
        return b"id: %b%b\ndata: %b\n\n" % (self._prefix, tail(chunk), payload) if payload else b""

    def notice(self, notice: Notice) -> bytes:
        payload = self._encode(notice)
        return b"data: %b\n\n" % payload if payload else b""


class SequenceRenderer:
    """Server-sent events of a dialect whose frames depend on those before (see `SequenceEncoder`); one client's own.

    An event may become several frames. The last one carries its cursor, so a client that was cut off between them is
    told the first ones again: what they say is not added to anything.

    Args:
        stream, epoch, dialect: as for `SseRenderer`.
        skip: how many frames, counted from the stream's first one, the client has seen and is not told again.
    """

    media_type = "text/event-stream"
    keepalive = sse.KEEPALIVE
    shared = False

    def __init__(
        self, stream: str, epoch: str, encoder: SequenceEncoder, dialect: str | None, *, skip: int = 0
    ) -> None:
        self._skip = skip
        self._encoder = encoder
        self.raw = encoder.passthrough == dialect
        self.divisible = not encoder.counted
        self._prefix = format_cursor(stream, epoch, 0).removesuffix("0").encode()

    def render(self, first: int, records: Sequence[Record]) -> bytes:
        return b"".join([self.chunk(Chunk(number, 0, record)) for number, record in enumerate(records, first)])

    def chunk(self, chunk: Chunk) -> bytes:
        frames = self._frames(chunk.record)
        if self._skip:
            self._skip, frames = max(self._skip - len(frames), 0), frames[self._skip :]
        if not frames:
            return b""
        last = b"id: %b%b\n%b" % (self._prefix, tail(chunk), _named(frames[-1]))
        return b"".join([*map(_named, frames[:-1]), last])

    def recall(self, records: Sequence[Record], offset: int) -> None:
        """Take note of what the client has seen: whole records, and `offset` characters of the last one if not 0."""
        for event, raw in records[:-1] if offset else records:
            self._frames((event, raw))
        if offset and isinstance(event := records[-1][0], _TEXTUAL):
            self._frames((msgspec.structs.replace(event, text=event.text[:offset]), None))

    def _frames(self, record: Record) -> Sequence[Frame]:
        event, raw = record
        if self.raw and raw is not None:
            return self._encoder.relay(event, raw)
        return self._encoder.encode(event)

    def notice(self, notice: Notice) -> bytes:
        return b"".join(map(_named, self._encoder.encode(notice)))


class BareRenderer(SequenceRenderer):
    """Server-sent events for clients that take nothing but `data:` lines, as Gemini's SDKs: they cannot resume."""

    keepalive = b"\n"

    def chunk(self, chunk: Chunk) -> bytes:
        return b"".join(map(_named, self._frames(chunk.record)))


class ArrayRenderer(BareRenderer):
    """One JSON array of the frames, as Gemini streams it to who does not ask for server-sent events."""

    media_type = "application/json"

    _mark = b"["

    def chunk(self, chunk: Chunk) -> bytes:
        parts = []
        for frame in self._frames(chunk.record):
            parts += [self._mark, frame.payload]
            self._mark = b","
        if isinstance(chunk.record[0], TERMINAL):
            parts.append(b"]" if self._mark == b"," else b"[]")
        return b"".join(parts)


def _named(frame: Frame) -> bytes:
    if frame.name:
        return b"event: %b\ndata: %b\n\n" % frame
    return b"data: %b\n\n" % frame.payload


class NdjsonRenderer(_Rendering):
    """Newline-delimited JSON: `{"id": CURSOR, "event": {…}}` a line."""

    media_type = "application/x-ndjson"
    keepalive = b"\n"

    def __init__(self, stream: str, epoch: str, encoder: Encoder, dialect: str | None) -> None:
        super().__init__(encoder, dialect)
        self._prefix = format_cursor(stream, epoch, 0).removesuffix("0").encode()

    def render(self, first: int, records: Sequence[Record]) -> bytes:
        parts = []
        for number, record in enumerate(records, first):
            payload = self.payload(record)
            if payload:
                parts.append(b'{"id":"%b%d","event":%b}\n' % (self._prefix, number, payload))
        return b"".join(parts)

    def chunk(self, chunk: Chunk) -> bytes:
        payload = self.payload(chunk.record)
        return b'{"id":"%b%b","event":%b}\n' % (self._prefix, tail(chunk), payload) if payload else b""

    def notice(self, notice: Notice) -> bytes:
        payload = self._encode(notice)
        return b'{"event":%b}\n' % payload if payload else b""


class SocketRenderer:
    """WebSocket messages, one an event, each in a frame of its own.

    Args:
        packer: puts a payload into a frame, compressed or not. One that carries context belongs to one connection.
    """

    media_type = ""
    raw = False
    divisible = True
    keepalive = b""  # a socket has pings

    def __init__(self, stream: str, epoch: str, codec: Codec, packer: Packer, *, shared: bool = True) -> None:
        self.shared = shared
        self._codec = codec
        self._pack = packer
        self._prefix = codec.event_prefix(stream)
        self._cursor = format_cursor(stream, epoch, 0).removesuffix("0")

    def render(self, first: int, records: Sequence[Record]) -> bytes:
        codec, pack, prefix, cursor, opcode = self._codec, self._pack, self._prefix, self._cursor, self._codec.opcode
        parts = []
        for number, (event, _) in enumerate(records, first):
            payload = codec.event(prefix, f"{cursor}{number}", event)
            if payload is not None:
                parts.append(pack(opcode, payload))
        return b"".join(parts)

    def chunk(self, chunk: Chunk) -> bytes:
        payload = self._codec.event(self._prefix, self._cursor + tail(chunk).decode(), chunk.record[0])
        return self._pack(self._codec.opcode, payload) if payload is not None else b""

    def notice(self, notice: Notice) -> bytes:
        """Nothing: gaps stand in the reply to the command."""
        return b""


def rest_of(record: Record, offset: int) -> Record:
    """What is left of a record of which a client has seen `offset` characters; encoded anew, not raw."""
    event, raw = record
    if offset and isinstance(event, _TEXTUAL):
        return msgspec.structs.replace(event, text=event.text[offset:]), None
    return event, raw


def uncovered(before: Record | None, records: Sequence[Record], offset: int = 0) -> list[Record]:
    """Records for a client that starts right after `before`, and `offset` characters into the next record.

    When that is inside one vendor frame, the frame's bytes would repeat what the client has: the rest of that
    frame is encoded anew instead. (`StreamStarted` is nobody's frame although it is covered: it is the
    gateway's word for the beginning.)
    """
    result = list(records)
    at_frame = before is None or before[1] != COVERED or isinstance(before[0], StreamStarted)
    if at_frame and not offset:
        return result
    for index, (event, raw) in enumerate(result):
        result[index] = (event, None)
        if raw != COVERED:
            break
    return result
