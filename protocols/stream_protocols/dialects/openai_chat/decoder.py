"""From an OpenAI-compatible upstream's body to records."""

from typing import Any, Final

import msgspec

from stream_protocols.dialects.frames import FrameDecoder, add_frame
from stream_protocols.dialects.openai_chat.shapes import (
    Choice,
    Completion,
    Message,
    ToolCall,
    UsageFields,
    failure_event,
    usage_event,
)
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Event,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
)

DONE: Final = b"[DONE]"

_decode_chunk = msgspec.json.Decoder(Completion).decode


class OpenAIChatDecoder(FrameDecoder[Completion]):
    """Decodes one streamed answer (see `stream_protocols.dialects.Decoder` for the contract)."""

    def __init__(self) -> None:
        super().__init__(_decode_chunk)
        self._open: dict[int, bool] = {}  # each choice seen, and whether it still has to finish
        self._reason: str | None = None
        self._usage: UsageFields | None = None

    def _truncated(self, records: list[Record]) -> None:
        """Some servers send no `[DONE]`; what has finished is whole."""
        if self._reason is None or any(self._open.values()):
            super()._truncated(records)
            return
        self._ended = True
        records.append((StreamFinished(self._reason), None))

    def _not_json(self, data: bytes, records: list[Record]) -> None:
        if data.startswith(DONE):  # as OpenAI's own SDK tests it: some servers add a blank
            self._finish(records)
        else:
            super()._not_json(data, records)

    def _take(self, chunk: Completion, data: bytes, records: list[Record]) -> None:
        choices = chunk.choices
        if choices and len(choices) == 1 and chunk.usage is None:
            choice = choices[0]
            delta = choice.delta
            # What nearly every frame is: one piece of text.
            if (
                delta is not None
                and delta.content
                and chunk.error is None
                and not choice.finish_reason
                and delta.tool_calls is None
                and delta.refusal is None
                and delta.reasoning_content is None
                and delta.reasoning is None
            ):
                self._open.setdefault(choice.index, True)
                records.append((TextDelta(delta.content, choice.index), data))
                return
        self._chunk(chunk, data, records)

    def _error_in(self, frame: dict[str, Any]) -> StreamFailed | None:
        return None if frame.get("error") is None else failure_event(frame["error"])

    def _chunk(self, chunk: Completion, data: bytes, records: list[Record]) -> None:
        if chunk.error is not None:
            self._ended = True
            records.append((failure_event(chunk.error), data))
            return
        events: list[Event] = []
        for choice in chunk.choices or ():
            self._choice(choice, events)
        # Some servers repeat the running usage in every chunk; only a change is news.
        if chunk.usage is not None and chunk.usage != self._usage:
            self._usage = chunk.usage
            events.append(usage_event(chunk.usage))
        add_frame(records, events, data)

    def _choice(self, choice: Choice, events: list[Event]) -> None:
        if choice.delta is not None:
            events.extend(message_events(choice.delta, choice.index))
        unfinished = self._open.setdefault(choice.index, True)
        # An empty reason is none. Once is enough: some repeat it beside the usage, or go on with empty deltas.
        if not choice.finish_reason or not unfinished:
            return
        self._open[choice.index] = False
        if self._reason is None or choice.index == 0:
            self._reason = choice.finish_reason
        events.append(ChoiceFinished(choice.finish_reason, choice.index))

    def _finish(self, records: list[Record]) -> None:
        self._ended = True
        unfinished = sorted(choice for choice, is_open in self._open.items() if is_open)
        records.extend((ChoiceFinished("stop", choice), COVERED) for choice in unfinished)
        records.append((StreamFinished(self._reason or "stop"), DONE))


def message_events(message: Message, choice: int) -> list[Event]:
    """What one delta, or one whole message, says."""
    events: list[Event] = []
    reasoning = message.reasoning_content or message.reasoning
    if reasoning:
        events.append(ReasoningDelta(reasoning, choice))
    if message.content:
        events.append(TextDelta(message.content, choice))
    if message.refusal:
        events.append(RefusalDelta(message.refusal, choice))
    for position, call in enumerate(message.tool_calls or ()):
        events.append(_tool_call(call, position, choice))
    return events


def _tool_call(call: ToolCall, position: int, choice: int) -> ToolCallDelta:
    function = call.function
    return ToolCallDelta(
        index=position if call.index is None else call.index,
        id=call.id or "",
        name=(function.name or "") if function else "",
        arguments=(function.arguments or "") if function else "",
        choice=choice,
    )
