"""What all decoders of server-sent events do alike: they take a body apart, and say how it ends if it ends badly."""

import abc
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.errors import StreamProtocolError
from stream_protocols.events import COVERED, Event, Notice, Opaque, Record, StreamFailed
from stream_protocols.sse import SseDecoder, SseEvent

F = TypeVar("F")

_OPAQUE: Final = Opaque()


class FrameDecoder(abc.ABC, Generic[F]):
    """Decodes one streamed answer whose frames are JSON (see `stream_protocols.dialects.Decoder` for the contract).

    Args:
        decode: reads the fields of a frame that the dialect knows; may raise what `NOT_JSON` lists.
    """

    def __init__(self, decode: Callable[[bytes], F]) -> None:
        self._decode = decode
        self._sse = SseDecoder()
        self._ended = False

    def feed(self, data: bytes) -> list[Record]:
        """Take the next bytes of the body; return what they complete."""
        records: list[Record] = []
        if self._ended:
            return records
        try:
            frames = self._sse.feed(data)
        except StreamProtocolError as error:
            self._malformed(error, records)
            return records
        self._frames(frames, records)
        return records

    def close(self) -> list[Record]:
        """The body has ended, properly as far as HTTP can tell."""
        records: list[Record] = []
        if self._ended:
            return records
        try:
            # Some servers leave out the blank line after their last frame.
            last = self._sse.close()
        except StreamProtocolError as error:
            self._malformed(error, records)
            return records
        if last is not None:
            self._frames([last], records)
        if not self._ended:
            self._truncated(records)
        return records

    def _frames(self, frames: Iterable[SseEvent], records: list[Record]) -> None:
        for frame in frames:
            data = frame.data
            if not data:
                continue
            if b"\n" in data:
                # In JSON a line break can only stand between tokens; without it the frame stays one SSE line.
                data = data.replace(b"\n", b" ")
            try:
                fields = self._decode(data)
            except msgspec.ValidationError as error:
                self._unknown(data, error, records)
            except NOT_JSON:
                self._not_json(data, records)
            else:
                self._take(fields, data, records)
            if self._ended:
                break

    # ---- what a dialect says

    @abc.abstractmethod
    def _take(self, frame: F, data: bytes, records: list[Record]) -> None:
        """Add what a frame says, with its bytes."""

    @abc.abstractmethod
    def _error_in(self, frame: dict[str, Any]) -> StreamFailed | None:
        """The error that a frame reports; for one that is not of the shape we know."""

    def _truncated(self, records: list[Record]) -> None:
        """The body has ended, and nothing in it said that the answer has."""
        self._fail(records, "The provider ended the stream before the answer was whole.", "upstream_truncated")

    def _not_json(self, data: bytes, records: list[Record]) -> None:
        """A frame is no JSON."""
        self._fail(records, "The provider sent a frame that is not JSON.")

    # ---- for all of them

    def _fail(self, records: list[Record], message: str, code: str = "upstream_invalid") -> None:
        self._ended = True
        records.append((StreamFailed(code, message), None))

    def _malformed(self, error: StreamProtocolError, records: list[Record]) -> None:
        self._fail(records, f"The provider's event stream is malformed: {error.message}")

    def _unknown(self, data: bytes, error: msgspec.ValidationError, records: list[Record]) -> None:
        """A frame that is not of the shape we know; msgspec says so before it has read all of it."""
        try:
            frame = msgspec.json.decode(data)
        except msgspec.ValidationError:
            frame = None  # a number beyond what Python has
        except NOT_JSON:
            self._not_json(data, records)
            return
        failed = self._error_in(frame) if isinstance(frame, dict) else None
        if failed is not None:
            self._ended = True
            records.append((failed, data))
            return
        # Its own dialect gets it untouched, others hear of it.
        message = f"A frame of the provider could not be translated: {error}."
        records.append((Notice("untranslated", message), data))


def add_frame(records: list[Record], events: Sequence[Event], data: bytes) -> None:
    """Add what a frame says, its bytes beside the last of the events; they stay even if it says nothing to others."""
    records.extend((event, COVERED) for event in events[:-1])
    records.append((events[-1] if events else _OPAQUE, data))
