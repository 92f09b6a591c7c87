"""From neutral events to the frames of a response."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stream_protocols.dialects.base import Frame, SequenceEncoder, Source
from stream_protocols.dialects.openai_chat.encoder import error_json
from stream_protocols.dialects.openai_responses.output import Answer, Item, Kind, Part, is_summary
from stream_protocols.dialects.openai_responses.relay import numbered, take_note
from stream_protocols.dialects.openai_responses.request import NAME
from stream_protocols.dialects.openai_responses.shapes import INCOMPLETE
from stream_protocols.events import (
    TERMINAL,
    ChoiceFinished,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)

MAX_KEPT: Final = 16 * 1024 * 1024
"""About the bytes that one client's encoder keeps of an answer, because its last frames tell all of it again. A
hundred thousand tokens in pieces of one count for 7 MiB; what grows beyond this is no answer, or no model's."""

_encode = msgspec.json.encode

_STEMS: Final[dict[Kind, str]] = {
    "output_text": "response.output_text",
    "refusal": "response.refusal",
    "summary_text": "response.reasoning_summary_text",
    "reasoning_text": "response.reasoning_text",
}
_TEXT: Final[tuple[str, tuple[Kind, ...]]] = ("message", ("output_text",))
_REFUSAL: Final[tuple[str, tuple[Kind, ...]]] = ("message", ("refusal",))
_REASONING: Final[tuple[str, tuple[Kind, ...]]] = ("reasoning", ("summary_text", "reasoning_text"))
_TOLD: Final = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, *TERMINAL)
"""What cannot be left out."""


class OpenAIResponsesEncoder(SequenceEncoder):
    """Encodes for one client (see `SequenceEncoder` for the contract).

    - Frames are numbered from 0 without gaps, also those that a vendor has numbered otherwise.
    - A message or a reasoning item ends where another item begins. Tool calls end with the answer: their arguments may
      come in turns.
    - The dialect has one answer; what other choices say is left out.

    Args:
        source: the stream it speaks for.
        max_kept: bounds what is kept of the answer, in about bytes.
    """

    passthrough = NAME
    counted = True

    def __init__(self, source: Source, *, max_kept: float = MAX_KEPT) -> None:
        self._answer = Answer(source)
        self._max_kept = max_kept
        self._next = 0
        self._outgrown = False
        self._ended = False

    def response(self) -> bytes:
        """The response as it is now, as JSON."""
        return _encode(self._answer.response())

    def encode(self, event: Event) -> Sequence[Frame]:
        """The frames that an event becomes; none after the end."""
        if self._ended or getattr(event, "choice", 0) != 0:
            return ()
        if self._outgrown:
            return self._too_long() if isinstance(event, _TOLD) else ()
        frames = self._frames(event)
        if self._answer.kept > self._max_kept and not self._ended:
            return [*frames, *self._too_long()]
        return frames

    def relay(self, event: Event, raw: bytes) -> Sequence[Frame]:
        """The vendor's own frame, under the number that it has here (see `SequenceEncoder`)."""
        if not raw:
            self._covered(event)
            return ()
        frame = numbered(raw, self._next)
        if frame is None:  # nothing that could have a number or a name
            return (Frame(b"", raw),)
        self._next += 1
        if not self._outgrown:
            take_note(self._answer, frame.fields, event)
            if self._answer.kept > self._max_kept:
                # The vendor tells it all again itself; only if somebody else had to, it could not be told.
                self._answer.forget()
                self._outgrown = True
        self._ended = self._ended or isinstance(event, TERMINAL)
        return (Frame(frame.name, frame.payload),)

    def _covered(self, event: Event) -> None:
        """What a vendor's frame says besides. (`StreamStarted` is the gateway's word; the vendor has its own.)"""
        if not isinstance(event, StreamStarted) and not self._ended and not self._outgrown:
            number = self._next
            self._frames(event)
            self._next = number

    def _frames(self, event: Event) -> list[Frame]:
        match event:
            case TextDelta(text=text):
                return self._text(text, *_TEXT)
            case ReasoningDelta(text=text):
                return self._text(text, *_REASONING)
            case RefusalDelta(text=text):
                return self._text(text, *_REFUSAL)
            case ToolCallDelta():
                return self._call(event)
            case StreamStarted():
                return self._begin()
            case ChoiceFinished():
                return [*self._begin(), *self._close_all()]
            case Usage():
                self._answer.usage = event
                return []
            case StreamFinished(reason=reason):
                return self._finish(reason)
            case StreamFailed() | StreamCancelled():
                return self._fail(event)
        return []

    # ---- beginning and end

    def _begin(self) -> list[Frame]:
        if self._answer.begun:
            return []
        self._answer.begun = True
        response = self._answer.response()
        return [self._frame(f"response.{kind}", response=response) for kind in ("created", "in_progress")]

    def _finish(self, reason: str) -> list[Frame]:
        frames = [*self._begin(), *self._close_all()]
        self._ended = True
        self._answer.reason = reason
        self._answer.status = "incomplete" if reason in INCOMPLETE else "completed"
        return [*frames, self._frame(f"response.{self._answer.status}", response=self._answer.response())]

    def _fail(self, event: StreamFailed | StreamCancelled) -> list[Frame]:
        """Two frames: SDKs raise on the first one, and whoever counts on a response to end has the second."""
        self._ended = True
        error = error_json(event)
        flat = {name: error.get(name) for name in ("code", "message", "param")}
        self._answer.status = "cancelled" if isinstance(event, StreamCancelled) else "failed"
        self._answer.error = {name: error.get(name) for name in ("code", "message")}
        failed = self._frame("error", **flat, error=error)
        return [failed, self._frame("response.failed", response=self._answer.response())]

    def _too_long(self) -> list[Frame]:
        message = "The answer is too long for this dialect, which tells all of it again; read it as ?dialect=native."
        return self._fail(StreamFailed("response_too_long", message, 500))

    # ---- items

    def _text(self, text: str, kind: str, parts: tuple[Kind, ...]) -> list[Frame]:
        """More text, in the part that is being told if it is of one of the kinds, or else in a new one of the first."""
        frames: list[Frame] = []
        item = self._answer.current
        part = None if item is None else item.current
        if item is None or item.kind != kind or part is None or part.kind not in parts:
            frames, item, part = self._open(kind, parts[0])
        self._answer.keep(part.pieces, text)
        if part.kind == "output_text":
            # The hot one, written by hand.
            payload = (
                b'{"type":"response.output_text.delta","sequence_number":%d,"item_id":%b,'
                b'"output_index":%d,"content_index":%d,"delta":%b,"logprobs":[]}'
            ) % (self._next, _encode(item.id), item.index, part.number, _encode(text))
            self._next += 1
            frames.append(Frame(b"response.output_text.delta", payload))
        else:
            frames.append(self._frame(_STEMS[part.kind] + ".delta", **_place(item, part), delta=text))
        return frames

    def _open(self, kind: str, part_kind: Kind) -> tuple[list[Frame], Item, Part]:
        """A new part, in a new item unless one of the kind is being told."""
        frames = self._begin()
        item = self._answer.current
        if item is None or item.kind != kind:
            frames += self._close_current()
            item = self._answer.add(kind)
            frames.append(self._added(item))
        elif item.current is not None:
            frames += self._close_part(item, item.current)
        part = self._answer.add_part(item, part_kind)
        frames.append(self._frame(_part_stem(part) + ".added", **_place(item, part), part=part.json("")))
        return frames, item, part

    def _call(self, event: ToolCallDelta) -> list[Frame]:
        frames: list[Frame] = []
        item = self._answer.calls.get(event.index)
        if item is None:
            frames = [*self._begin(), *self._close_current()]
            item = self._answer.add("function_call", call_id=event.id, name=event.name)
            self._answer.calls[event.index] = item
            frames.append(self._added(item))
        if event.arguments and item.open:
            self._answer.keep(item.arguments, event.arguments)
            place = {"item_id": item.id, "output_index": item.index}
            frames.append(self._frame("response.function_call_arguments.delta", **place, delta=event.arguments))
        return frames

    def _added(self, item: Item) -> Frame:
        return self._frame("response.output_item.added", output_index=item.index, item=item.json(empty=True))

    def _close_current(self) -> list[Frame]:
        item, self._answer.current = self._answer.current, None
        return [] if item is None else self._close(item)

    def _close_all(self) -> list[Frame]:
        self._answer.current = None
        return [frame for item in self._answer.open_items for frame in self._close(item)]

    def _close(self, item: Item) -> list[Frame]:
        frames: list[Frame] = []
        if item.kind == "function_call":
            place = {"item_id": item.id, "output_index": item.index}
            whole = {"name": item.name, "arguments": "".join(item.arguments)}
            frames.append(self._frame("response.function_call_arguments.done", **place, **whole))
        elif item.current is not None:
            frames += self._close_part(item, item.current)
        item.open = False
        return [*frames, self._frame("response.output_item.done", output_index=item.index, item=item.json())]

    def _close_part(self, item: Item, part: Part) -> list[Frame]:
        part.open = False
        place, whole = _place(item, part), part.json()
        said = {name: whole[name] for name in ("text", "refusal", "logprobs") if name in whole}
        return [
            self._frame(_STEMS[part.kind] + ".done", **place, **said),
            self._frame(_part_stem(part) + ".done", **place, part=whole),
        ]

    def _frame(self, kind: str, **fields: Any) -> Frame:
        payload = _encode({"type": kind, "sequence_number": self._next, **fields})
        self._next += 1
        return Frame(kind.encode(), payload)


def _place(item: Item, part: Part) -> dict[str, Any]:
    number = "summary_index" if is_summary(part.kind) else "content_index"
    return {"item_id": item.id, "output_index": item.index, number: part.number}


def _part_stem(part: Part) -> str:
    return "response.reasoning_summary_part" if is_summary(part.kind) else "response.content_part"
