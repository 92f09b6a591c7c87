"""From an Anthropic-compatible upstream's body to records."""

from typing import Any

import msgspec

from stream_protocols.dialects.anthropic.failures import failure_event
from stream_protocols.dialects.anthropic.shapes import MAX_OPEN_CALLS, Block, Frame, reason_of, usage_event
from stream_protocols.dialects.frames import FrameDecoder, add_frame
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    Record,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_decode = msgspec.json.Decoder(Frame).decode


class _Call:
    """A tool call whose block has begun: its number among the calls, its input so far, and whether more has come."""

    __slots__ = ("index", "input", "told")

    def __init__(self, index: int, given: msgspec.Raw) -> None:
        self.index = index
        self.input = given
        self.told = False


class AnthropicDecoder(FrameDecoder[Frame]):
    """Decodes one streamed answer (see `stream_protocols.dialects.Decoder` for the contract)."""

    def __init__(self) -> None:
        super().__init__(_decode)
        self._calls: dict[int, _Call] = {}  # by the index of their blocks
        self._called = 0
        self._reason: str | None = None
        self._usage: Usage | None = None

    def _take(self, frame: Frame, data: bytes, records: list[Record]) -> None:
        delta = frame.delta
        # What nearly every frame is: one piece of text.
        if (
            delta is not None
            and delta.text
            and delta.type == "text_delta"
            and frame.type == "content_block_delta"
            and frame.error is None
        ):
            records.append((TextDelta(delta.text), data))
            return
        events = self._events(frame)
        if events is None:
            self._fail(records, f"The provider has more than {MAX_OPEN_CALLS} tool calls under way at once.")
            return
        add_frame(records, events, data)

    def _error_in(self, frame: dict[str, Any]) -> StreamFailed | None:
        error = frame.get("error")
        return None if error is None and frame.get("type") != "error" else failure_event(error)

    def _events(self, frame: Frame) -> list[Event] | None:
        """What a frame says, possibly nothing; None when it opens more than we remember."""
        if frame.error is not None or frame.type == "error":
            self._ended = True
            return [failure_event(frame.error)]
        match frame.type:
            case "content_block_delta":
                return self._delta(frame)
            case "content_block_start":
                return self._start(frame)
            case "content_block_stop":
                return self._stop(frame)
            case "message_start":
                return self._begin(frame)
            case "message_delta":
                return self._conclude(frame)
            case "message_stop":
                return self._finish()
        return []

    def _begin(self, frame: Frame) -> list[Event]:
        if frame.message is None or frame.message.usage is None:
            return []
        self._usage = usage_event(frame.message.usage, running=True)
        return [self._usage]

    def _start(self, frame: Frame) -> list[Event] | None:
        block = frame.content_block
        if block is None:
            return []
        if block.type != "tool_use":
            return block_events(block, 0)
        if len(self._calls) >= MAX_OPEN_CALLS:
            self._ended = True
            return None
        self._calls[frame.index] = _Call(self._called, block.input)
        self._called += 1
        return [ToolCallDelta(self._called - 1, block.id or "", block.name or "")]

    def _delta(self, frame: Frame) -> list[Event]:
        delta = frame.delta
        if delta is None:
            return []
        if delta.type == "text_delta" and delta.text:
            return [TextDelta(delta.text)]
        if delta.type == "thinking_delta" and delta.thinking:
            return [ReasoningDelta(delta.thinking)]
        call = self._calls.get(frame.index)
        if delta.type == "input_json_delta" and delta.partial_json and call is not None:
            call.told = True
            return [ToolCallDelta(call.index, arguments=delta.partial_json)]
        return []

    def _stop(self, frame: Frame) -> list[Event]:
        """A call without any pieces of input has all of it in its beginning: mostly none, and others need JSON."""
        call = self._calls.pop(frame.index, None)
        return [] if call is None or call.told else [ToolCallDelta(call.index, arguments=arguments_of(call.input))]

    def _conclude(self, frame: Frame) -> list[Event]:
        events: list[Event] = []
        reason = frame.delta.stop_reason if frame.delta is not None else None
        if reason and self._reason is None:
            self._reason = reason_of(reason)
            events.append(ChoiceFinished(self._reason))
        if frame.usage is not None:
            self._usage = usage_event(frame.usage, self._usage, running=self._reason is None)
            events.append(self._usage)
        return events

    def _finish(self) -> list[Event]:
        self._ended = True
        reason = self._reason or "stop"
        finished: list[Event] = [] if self._reason is not None else [ChoiceFinished(reason)]
        return [*finished, StreamFinished(reason)]


def block_events(block: Block, call: int) -> list[Event]:
    """What a whole block says; a tool call becomes number `call`."""
    match block.type:
        case "text" if block.text:
            return [TextDelta(block.text)]
        case "thinking" if block.thinking:
            return [ReasoningDelta(block.thinking)]
        case "tool_use":
            return [ToolCallDelta(call, block.id or "", block.name or "", arguments_of(block.input))]
    return []


def arguments_of(given: msgspec.Raw) -> str:
    """A tool call's input as JSON text, as the provider wrote it."""
    text = bytes(given)
    return text.decode("utf-8", "replace") if text.startswith(b"{") else "{}"
