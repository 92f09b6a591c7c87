"""From the body of a Responses API upstream to records."""

from typing import Any, Final

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.frames import FrameDecoder, add_frame
from stream_protocols.dialects.openai_chat.decoder import DONE
from stream_protocols.dialects.openai_responses.reply import output_events
from stream_protocols.dialects.openai_responses.shapes import (
    FrameFields,
    ItemFields,
    ResponseFields,
    ending,
    read_failure,
)
from stream_protocols.events import (
    Event,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFailed,
    TextDelta,
    ToolCallDelta,
)

MAX_PARTS: Final = 4096
"""Parts and calls of one answer. Each is remembered until the end, so a provider must not be able to make ever more."""

MAX_ID: Final = 256
"""Characters of a response's id that is remembered; OpenAI's have 56."""

_TEXT: Final = "response.output_text"
_TEXT_DELTA: Final = "response.output_text.delta"

_TEXTS: Final[dict[str, type[TextDelta | ReasoningDelta | RefusalDelta]]] = {
    _TEXT: TextDelta,
    "response.refusal": RefusalDelta,
    "response.reasoning_summary_text": ReasoningDelta,
    "response.reasoning_text": ReasoningDelta,
}
"""Events that tell a text, without `.delta` and `.done`."""

_ARGUMENTS: Final = "response.function_call_arguments"
_NEXT_SUMMARY: Final = "\n\n"

_decode_frame = msgspec.json.Decoder(FrameFields).decode
_decode_item = msgspec.json.Decoder(ItemFields).decode


class OpenAIResponsesDecoder(FrameDecoder[FrameFields]):
    """Decodes one streamed answer (see `stream_protocols.dialects.Decoder` for the contract).

    Attributes:
        answer_id: the provider's id of the response, once it has told it.
    """

    def __init__(self) -> None:
        super().__init__(_decode_frame)
        self.answer_id: str | None = None
        self._told: set[tuple[str, int, int]] = set()  # the parts of which something was told
        self._calls: dict[int, int] = {}  # the number of each tool call, by its output index

    def _not_json(self, data: bytes, records: list[Record]) -> None:
        if data.startswith(DONE):  # servers that add it send it after the end, where it is not read any more
            self._truncated(records)
        else:
            super()._not_json(data, records)

    def _take(self, frame: FrameFields, data: bytes, records: list[Record]) -> None:
        place = (_TEXT, frame.output_index, frame.content_index)
        if frame.type == _TEXT_DELTA and frame.delta and place in self._told:
            # What nearly every frame is: one more piece of a text.
            records.append((TextDelta(frame.delta), data))
            return
        events = self._events(frame)
        if len(self._told) + len(self._calls) > MAX_PARTS:
            self._fail(records, f"The provider's answer has more than {MAX_PARTS} parts.")
            return
        add_frame(records, events, data)

    def _error_in(self, frame: dict[str, Any]) -> StreamFailed | None:
        kind, error = frame.get("type", ""), frame.get("error")
        if kind != "error" and (kind != "" or error is None):
            return None
        return _failure(error, frame.get("code"), frame.get("message"))

    def _events(self, frame: FrameFields) -> list[Event]:
        """What one frame says, in neutral words; nothing when it says nothing to others."""
        stem, _, kind = frame.type.rpartition(".")
        if stem in _TEXTS:
            return self._text(frame, stem, kind)
        match frame.type:
            case "response.function_call_arguments.delta" | "response.function_call_arguments.done":
                return self._arguments(frame)
            case "response.output_item.added" | "response.output_item.done":
                return self._item(frame)
            case "response.reasoning_summary_part.added" if frame.summary_index > 0:
                return [ReasoningDelta(_NEXT_SUMMARY)]
            case "response.completed" | "response.incomplete":
                return self._finish(frame.response or ResponseFields(), incomplete=kind == "incomplete")
            case "response.failed":
                self._ended = True
                return [read_failure(frame.response.error if frame.response else None)]
            case "error":
                return self._error(frame)
            case "" if frame.error is not None:  # as servers say it whose errors come from elsewhere
                return self._error(frame)
        if self.answer_id is None and frame.response is not None:
            self._remember(frame.response.id)
        return []

    def _remember(self, name: object) -> None:
        if isinstance(name, str) and 0 < len(name) <= MAX_ID:
            self.answer_id = name

    def _text(self, frame: FrameFields, stem: str, kind: str) -> list[Event]:
        key = (stem, frame.output_index, frame.content_index or frame.summary_index)
        text = frame.delta
        if kind == "done":
            # It repeats what the deltas said; it is news only where there were none.
            text = None if key in self._told else frame.text or frame.refusal
        if not text:
            return []
        self._told.add(key)
        return [_TEXTS[stem](text)]

    def _arguments(self, frame: FrameFields) -> list[Event]:
        return self._call(frame.output_index, arguments=frame.delta or "", whole=frame.arguments or "")

    def _item(self, frame: FrameFields) -> list[Event]:
        """An item has begun or is whole. Only of a function call it says what nothing else does."""
        try:
            item = _decode_item(frame.item)
        except NOT_JSON:
            return []
        if item.type != "function_call":
            return []
        name = (item.call_id or item.id or "", item.name or "")
        return self._call(frame.output_index, *name, whole=item.arguments or "")

    def _call(self, place: int, id: str = "", name: str = "", *, arguments: str = "", whole: str = "") -> list[Event]:
        """More of a tool call. `whole`: all its arguments, which are news where no part of them was told."""
        key = (_ARGUMENTS, place, 0)
        if not arguments and key not in self._told:
            arguments = whole
        if arguments:
            self._told.add(key)
        if place not in self._calls:
            self._calls[place] = len(self._calls)
            return [ToolCallDelta(self._calls[place], id, name, arguments)]
        return [ToolCallDelta(self._calls[place], arguments=arguments)] if arguments else []

    def _finish(self, response: ResponseFields, *, incomplete: bool) -> list[Event]:
        self._ended = True
        events: list[Event] = []
        if not self._told and not self._calls:
            try:
                events = output_events(response.output)
            except NOT_JSON:
                events = []
        called = bool(self._calls) or any(isinstance(event, ToolCallDelta) for event in events)
        return events + ending(response, incomplete=incomplete, called=called)

    def _error(self, frame: FrameFields) -> list[Event]:
        self._ended = True
        return [_failure(frame.error, frame.code, frame.message)]


def _failure(error: object, code: object, message: object) -> StreamFailed:
    """What an `error` event reports: in a member of its own, or at its top level."""
    return read_failure({"code": code, "message": message} if error is None else error)
