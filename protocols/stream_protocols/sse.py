"""Server-sent events: an encoder, and an incremental decoder (WHATWG HTML §9.2, "Server-sent events").

What the decoder leaves out of the standard, or adds to it:

- `data` stays bytes. It is JSON nearly always, whose parser checks the UTF-8 anyway.
- An event without a name has `event=None`; the standard calls it "message".
- An event cut off by the end of the stream is not dispatched, as the standard says, but `close` returns it,
  so that a truncation cannot be taken for a clean end.
- One event may hold only so many bytes.

How it is fast: LF becomes the only line end first (most streams have no other). If the whole events of a
read are nothing but one `data:` line each, or an `event:` line and a `data:` line each, as most vendors' are,
one `split` then cuts them all; if not, they go line by line. Bytes of an unfinished line are collected aside
and looked at again only when its end has come, so a large event that arrives byte by byte costs linear time.
"""

from typing import Final

import msgspec

from stream_protocols.errors import LocalError, SseEventTooLarge

KEEPALIVE: Final = b":\n"
"""A comment, to be sent between whole events while nothing else is.

Deliberately without a blank line after it. To the standard a blank line after no data is nothing, but the
decoders of vendors' SDKs that have seen an `id:` dispatch an empty event there, and fail to parse it.
"""

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""Default bound of one event. A peer that never ends its event would otherwise fill our memory. Images and
audio come as base64 in one event, hence megabytes."""

_MAX_RETRY_DIGITS: Final = 15
"""Longer is no time that anybody waits, and int() refuses digits by the thousand."""

_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 0x0A  # bytes look up an int several times faster than a bytes of one
_CR: Final = 0x0D


def encode_event(
    data: bytes | str, *, id: str | None = None, event: str | None = None, retry: int | None = None
) -> bytes:
    """Encode one event.

    Data of several lines becomes several `data:` lines; the receiver joins them by LF, whatever they ended
    with here.

    Args:
        data: The payload; UTF-8 if bytes.
        id: What a client will send as `Last-Event-ID` when it comes back.
        event: The event's name; None for the default, "message".
        retry: Milliseconds after which the client should come back once the connection is lost.

    Raises:
        LocalError: `id` or `event` holds a line end or NUL, which would forge fields or be ignored;
            or `retry` is negative.
    """
    if isinstance(data, str):
        data = data.encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    if event is None and retry is None:
        return b"data: %b\n\n" % data if id is None else b"id: %b\ndata: %b\n\n" % (_field("id", id), data)
    head = b"" if id is None else b"id: %b\n" % _field("id", id)
    if event is not None:
        head += b"event: %b\n" % _field("event", event)
    if retry is not None:
        if retry < 0:
            raise LocalError(f"retry is {retry}; it is a time in milliseconds and cannot be negative.")
        head += b"retry: %d\n" % retry
    return b"%bdata: %b\n\n" % (head, data)


def _field(name: str, value: str) -> bytes:
    if "\n" in value or "\r" in value or "\0" in value:
        raise LocalError(f"The {name} {value[:80]!r} of a server-sent event holds a line end or NUL; remove it.")
    return value.encode()


def retry(milliseconds: int) -> bytes:
    """What tells a client how long to wait before it comes back, once this connection has ended.

    To be sent between whole events, and without a blank line, for the reason that `KEEPALIVE` has.
    """
    return b"retry: %d\n" % milliseconds


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event.

    Attributes:
        data: The payload; its lines are joined by LF.
        event: The event's name; None if it has none.
        id: The last event id in force, from this event or an earlier one; None before the first id.
        retry: The reconnection time in milliseconds that came with this event; None if none did.
    """

    data: bytes
    event: str | None = None
    id: str | None = None
    retry: int | None = None


class SseDecoder:
    """Bytes, cut anywhere, to events.

    Attributes:
        last_event_id: What to send as `Last-Event-ID` after a lost connection. Follows whole events only.
        retry: The newest reconnection time in milliseconds; None if the peer never named one.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """Make a decoder for one stream.

        Args:
            max_event_bytes: Bound for the lines of one event together, line ends not counted, and for a
                comment alone.
        """
        self.last_event_id: str | None = None
        self.retry: int | None = None
        self._limit = max_event_bytes
        self._error: Exception | None = None
        self._clean = False  # nothing is held that could change what the next bytes mean
        # Of the stream: a BOM may yet come (and this much of it has); the last byte was CR.
        self._bom: bytes | None = b""
        self._after_cr = False
        # Of the event: fields so far, bytes of its lines, and the line that has not ended.
        self._data: list[bytes] = []
        self._event: str | None = None
        self._id: str | None = None
        self._retry: int | None = None
        self._size = 0
        self._tail = bytearray()

    @property
    def pending(self) -> bool:
        """Whether an event has begun and not ended. True at the end of a stream: it was truncated.

        Comments and a lone `retry:`, which holds at once, begin none.
        """
        begun = self._data or self._event is not None or self._id != self.last_event_id
        return bool(begun or (self._tail and not self._tail.startswith(b":")))

    def feed(self, data: bytes | bytearray) -> list[SseEvent]:
        """Take the next bytes and return the events that they complete.

        Raises:
            SseEventTooLarge: An event is over the limit. If others came before it in `data`, they are
                returned first, and the error is raised by the next call of `feed` or `close`. It is final.
            LocalError: The decoder is closed.
        """
        data = bytes(data)  # no copy, unless it is a bytearray
        if self._clean and data.endswith(b"\n\n") and _CR not in data:
            events = self._plain(data)
            if events:
                return events
        return self._feed(data)

    def close(self) -> SseEvent | None:
        """Say that the stream has ended; return the event that the end cut off, as far as it had come.

        Returns:
            None after a clean end, that is, when `pending` was false.

        Raises:
            SseEventTooLarge: As in `feed`.
            LocalError: The decoder was closed before.
        """
        if self._error is not None:
            raise self._error
        self._clean = False
        self._error = LocalError("This SSE decoder is closed; make a new one for the next stream.")
        if not self.pending:
            return None
        if self._tail:
            self._lines([bytes(self._tail)], [])
        return SseEvent(b"\n".join(self._data), self._event, self._id, self._retry)

    def _feed(self, data: bytes) -> list[SseEvent]:
        if self._error is not None:
            raise self._error
        events: list[SseEvent] = []
        try:
            self._decode(self._normalise(data), events)
        except SseEventTooLarge as error:
            self._error = error
            if not events:
                raise
        held = self._tail or self._size or self._after_cr or self._bom is not None
        self._clean = not held and self._error is None
        return events

    def _normalise(self, data: bytes) -> bytes:
        """Drop a BOM at the start, and leave LF as the only line end."""
        if self._bom is not None and data:
            data = self._strip_bom(data)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if _CR in data:
            # A CR at the very end ends its line at once; an LF that follows it is dropped when it comes.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _strip_bom(self, data: bytes) -> bytes:
        data = (self._bom or b"") + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._bom = data
            return b""
        self._bom = None
        return data.removeprefix(_BOM)

    def _decode(self, buffer: bytes, events: list[SseEvent]) -> None:
        if _LF not in buffer:
            self._hold(buffer)
            return
        if self._tail:
            buffer = b"".join((self._tail, buffer))
            self._tail.clear()
        end = buffer.rfind(b"\n\n") + 2
        if end > 1 and not self._size and (plain := self._plain(buffer[:end])):
            events += plain
            buffer = buffer[end:]
        if buffer:
            *lines, tail = buffer.split(b"\n")
            self._lines(lines, events)
            self._hold(tail)

    def _plain(self, buffer: bytes) -> list[SseEvent]:
        """The fast path: whole events, if all are one `data:` line, or all a name and one; or else nothing."""
        if len(buffer) > self._limit:
            return []
        if not buffer.startswith(b"data: "):
            return self._named(buffer) if buffer.startswith(b"event: ") else []
        if buffer.find(b"\n") == len(buffer) - 2:  # one event, as in most reads
            return [SseEvent(buffer[6:-2], None, self._id)]
        payloads = buffer[6:-2].split(b"\n\ndata: ")
        # There may be no line ends but the two around each payload.
        if buffer.count(b"\n") != 2 * len(payloads):
            return []
        id = self._id
        return [SseEvent(payload, None, id) for payload in payloads]

    def _named(self, buffer: bytes) -> list[SseEvent]:
        """The same for whole events that are an `event:` line and a `data:` line each."""
        pairs = buffer[7:-2].split(b"\n\nevent: ")
        # There may be no line ends but the one in each pair and the two around it.
        if buffer.count(b"\n") != 3 * len(pairs):
            return []
        id, events = self._id, []
        for pair in pairs:
            name, between, payload = pair.partition(b"\ndata: ")
            if not between:
                return []
            events.append(SseEvent(payload, name.decode(errors="replace") or None, id))
        return events

    def _lines(self, lines: list[bytes], events: list[SseEvent]) -> None:
        for line in lines:
            if not line:
                self._dispatch(events)
                continue
            size = self._size + len(line)
            if size > self._limit:
                raise self._too_large()
            if line.startswith(b":"):
                continue
            self._size = size
            if line.startswith(b"data: "):
                self._data.append(line[6:])
            else:
                name, _, value = line.partition(b":")
                self._field(name, value.removeprefix(b" "))

    def _field(self, name: bytes, value: bytes) -> None:
        """Take one field; one that is unknown or invalid is ignored."""
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode(errors="replace") or None
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self.retry = self._retry = int(value)

    def _dispatch(self, events: list[SseEvent]) -> None:
        """A blank line: the event is whole. Without any `data` it is none, but its id counts."""
        self.last_event_id = self._id
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(SseEvent(data, self._event, self._id, self._retry))
            self._data = []
        self._event = self._retry = None
        self._size = 0

    def _hold(self, tail: bytes) -> None:
        """Keep the beginning of a line until its end comes."""
        self._tail += tail
        if self._size + len(self._tail) > self._limit:
            raise self._too_large()

    def _too_large(self) -> SseEventTooLarge:
        return SseEventTooLarge(f"A server-sent event is over the limit of {self._limit} bytes (max_event_bytes).")
