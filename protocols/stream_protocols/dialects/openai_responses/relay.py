"""Following a vendor's own frames, so that whoever has to go on where they stop goes on consistently."""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.openai_responses.output import Answer, Item, Kind, Part, is_summary
from stream_protocols.dialects.openai_responses.shapes import NULL, ItemFields, read_usage
from stream_protocols.events import (
    TERMINAL,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamFailed,
    TextDelta,
    ToolCallDelta,
)
from stream_protocols.request import decode_members, raw

_NAME: Final = re.compile(r"[\w.-]{1,128}", re.ASCII)
"""Types that may stand in an `event:` field: a line end in one would forge others."""

_KINDS: Final[dict[str, Kind]] = {
    "response.output_text": "output_text",
    "response.refusal": "refusal",
    "response.reasoning_summary_text": "summary_text",
    "response.reasoning_text": "reasoning_text",
}
_MESSAGES: Final = ("output_text", "refusal")


class RelayedFields(msgspec.Struct):
    """What of a vendor's frame matters to those that follow it; the decoder has let it pass, whatever it is."""

    type: Any = None
    sequence_number: Any = None
    output_index: Any = 0
    content_index: Any = None
    summary_index: Any = None
    item_id: Any = None
    item: msgspec.Raw = NULL
    part: Any = None
    response: msgspec.Raw = NULL


class Relayed(NamedTuple):
    """A vendor's frame: its name, its payload under the number that it has here, and its fields."""

    name: bytes
    payload: bytes
    fields: RelayedFields


_decode = msgspec.json.Decoder(RelayedFields).decode
_decode_item = msgspec.json.Decoder(ItemFields).decode


def numbered(payload: bytes, number: int) -> Relayed | None:
    """A vendor's frame as number `number`: untouched if that is its number. None: it is no object."""
    try:
        fields = _decode(payload)
        if fields.sequence_number != number:
            payload = msgspec.json.encode({**decode_members(payload), "sequence_number": raw(number)})
    except NOT_JSON:
        return None
    return Relayed(_name(fields.type) if isinstance(fields.type, str) else b"", payload, fields)


@lru_cache(maxsize=128)
def _name(kind: str) -> bytes:
    return kind.encode() if _NAME.fullmatch(kind) else b""


def take_note(answer: Answer, frame: RelayedFields, event: Event) -> None:
    """Bring an answer up to what a vendor's frame says; `event` is what the decoder made of it."""
    if type(event) is TextDelta and frame.type == "response.output_text.delta":
        # What nearly every frame is.
        item = answer.current
        part = None if item is None else item.current
        if item and part and item.index == frame.output_index and part.number == frame.content_index:
            answer.keep(part.pieces, event.text)
            return
    kind = frame.type if isinstance(frame.type, str) else ""
    stem, _, end = kind.rpartition(".")
    if isinstance(event, StreamFailed):
        answer.status = "failed"
        answer.error = {"code": event.code, "message": event.message}
    if kind in ("response.created", "response.in_progress", "response.queued"):
        _begin(answer, frame.response)
    elif kind in ("response.completed", "response.incomplete", "response.failed") and isinstance(event, TERMINAL):
        _end(answer, frame.response, end)
    elif isinstance(event, ToolCallDelta):
        _call(answer, frame, event)
    elif stem in _KINDS:
        part = _part(answer, frame, _KINDS[stem])
        if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
            answer.keep(part.pieces, event.text)
        part.open = end != "done"
    elif kind in ("response.content_part.added", "response.reasoning_summary_part.added"):
        given = frame.part.get("type") if isinstance(frame.part, dict) else None
        for part_kind in _KINDS.values():
            if given == part_kind:
                _part(answer, frame, part_kind)
    if kind in ("response.output_item.added", "response.output_item.done"):
        _item(answer, frame, end)


def _members(given: msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    try:
        return msgspec.json.decode(given, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        return None


def _begin(answer: Answer, response: msgspec.Raw) -> None:
    answer.begun = True
    answer.head = _members(response) or answer.head


def _end(answer: Answer, response: msgspec.Raw, status: str) -> None:
    members = _members(response)
    answer.status = status
    if members is not None:
        answer.whole = response
        answer.usage = read_usage(msgspec.json.decode(members.get("usage", NULL))) or answer.usage


def _index(value: object) -> int:
    return value if isinstance(value, int) else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _call(answer: Answer, frame: RelayedFields, event: ToolCallDelta) -> None:
    item = answer.calls.get(event.index)
    if item is None:
        item = _at(answer, frame, "function_call")
        item.call_id, item.name = event.id or item.call_id, event.name
        answer.calls[event.index] = item
    if event.arguments:
        answer.keep(item.arguments, event.arguments)


def _at(answer: Answer, frame: RelayedFields, kind: str, id: str = "") -> Item:
    """The item that a frame is about; made up when the vendor never said that it begins."""
    index = _index(frame.output_index)
    return answer.item(index) or answer.add(kind, index=index, id=id or _text(frame.item_id))


def _part(answer: Answer, frame: RelayedFields, kind: Kind) -> Part:
    """The part that a frame is about, made up likewise."""
    item = _at(answer, frame, "message" if kind in _MESSAGES else "reasoning")
    number = _index(frame.summary_index if is_summary(kind) else frame.content_index)
    return item.parts.get((is_summary(kind), number)) or answer.add_part(item, kind, number)


def _item(answer: Answer, frame: RelayedFields, end: str) -> None:
    try:
        given = _decode_item(frame.item)
    except NOT_JSON:
        return
    item = _at(answer, frame, given.type or "item", given.id or "")
    if given.id:
        item.id = given.id
    if end == "done":
        item.told = frame.item
        item.open = False
        answer.kept += len(bytes(frame.item))
        if answer.current is item:
            answer.current = None
