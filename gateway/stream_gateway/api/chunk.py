"""A chunk: one piece of a stream, as the application has it and as its client will read it."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from stream_gateway.server.formats import NDJSON, SSE, renderer_for
from stream_gateway.streams.stream import Stream
from stream_protocols import chunking
from stream_protocols.commands import JsonCodec
from stream_protocols.cursor import format_cursor
from stream_protocols.dialects import native, openai_chat
from stream_protocols.events import COVERED, Event, Notice, Record, TextDelta
from stream_protocols.render import Renderer, SocketRenderer, tail
from stream_protocols.request import Request

_DATA: Final = len("id: \ndata: ")


class Mode(msgspec.Struct, frozen=True):
    """A stream mode: how a chunk looks to a client.

    Attributes:
        media_type: of a body made of such chunks; empty where each is a message of its own.
        dialect: of its payloads.
        marks_end: whether the end is a mark that is no chunk of its own (`[DONE]`).
        head: bytes before the payload, beside the cursor; `cursor`: whether that stands there, too; `foot`: after it.
    """

    media_type: str
    dialect: str
    marks_end: bool = False
    head: int = 0
    cursor: bool = False
    foot: int = 0

    def payload(self, wire: bytes, cursor: str) -> bytes:
        """The JSON in a chunk's wire form."""
        return wire[self.head + (len(cursor) if self.cursor else 0) : len(wire) - self.foot]

    def renderer(self, stream: Stream, request: Request | None) -> Renderer:
        """What renders a stream's records: what the gateway's own clients of this kind get."""
        if not self.media_type:
            return SocketRenderer(stream.id, stream.log.epoch, JsonCodec(), lambda _, payload: payload)
        return renderer_for(stream, self.dialect, self.media_type, request=request)


MODES: Final = {
    "sse": Mode(SSE, openai_chat.NAME, marks_end=True, head=_DATA, cursor=True, foot=2),
    "ndjson": Mode(NDJSON, native.NAME, foot=1),
    "websocket": Mode("", native.NAME),
}


class Chunk:
    """One piece of a stream.

    Attributes:
        events: what it says, in neutral words; mostly one event, more where a provider said several at once.
        cursor: the position after it: `attach` goes on from there.
    """

    __slots__ = ("_mode", "_wire", "cursor", "events")

    def __init__(self, events: tuple[Event, ...], cursor: str, wire: bytes, mode: Mode) -> None:
        self.events = events
        self.cursor = cursor
        self._wire = wire
        self._mode = mode

    @property
    def event(self) -> Event:
        """What it says: the last one of `events`."""
        return self.events[-1]

    @property
    def text(self) -> str:
        """What it adds to the answer's text (of the first choice), possibly nothing."""
        return "".join([event.text for event in self.events if isinstance(event, TextDelta) and not event.choice])

    def to_json(self) -> str:
        """One line of JSON, as the stream's mode has it: `sse`: a `chat.completion.chunk` of OpenAI's; `ndjson`:
        `{"id", "event"}`; `websocket`: the push `{"type": "event", "stream", "id", "event"}`."""
        return self._mode.payload(self._wire, self.cursor).decode()

    def encode(self) -> bytes:
        """All that a client gets of it, uncompressed: a server-sent event with its `id`, a line, or a message."""
        return self._wire

    def __repr__(self) -> str:
        return f"<Chunk {self.to_json()}>"


class ChunkRenderer:
    """Makes chunks of the records that it renders (see `Renderer`); one reader's own.

    Args:
        request: what the reader asked, where the stream answers it.
    """

    media_type = ""
    shared = False
    divisible = True
    keepalive = b""

    def __init__(self, stream: Stream, mode: Mode, request: Request | None) -> None:
        self._mode = mode
        self._renderer = mode.renderer(stream, request)
        self.raw = self._renderer.raw
        self._prefix = format_cursor(stream.id, stream.log.epoch, 0).removesuffix("0")
        self._covered: list[Event] = []  # events whose frame is still to come
        self._made: list[Chunk] = []

    def take(self) -> list[Chunk]:
        """What was made since this was last called."""
        made, self._made = self._made, []
        return made

    def render(self, first: int, records: Sequence[Record]) -> bytes:
        return b"".join([self.chunk(chunking.Chunk(number, 0, record)) for number, record in enumerate(records, first)])

    def chunk(self, chunk: chunking.Chunk) -> bytes:
        event, raw = chunk.record
        wire = self._renderer.chunk(chunk)
        if wire:
            cursor = self._prefix + tail(chunk).decode()
            self._made.append(Chunk((*self._covered, event), cursor, wire, self._mode))
            self._covered.clear()
        elif self.raw and raw == COVERED:
            self._covered.append(event)
        return wire

    def notice(self, notice: Notice) -> bytes:
        return b""


Batch: TypeAlias = list[Chunk] | Exception | None
"""Chunks, why there are none, or None: there is nothing more."""

Deliver = Callable[[Batch], None]
"""Takes a batch, without waiting."""
