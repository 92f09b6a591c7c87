"""From an OpenAI-compatible upstream's body to records."""

from collections.abc import Iterable
from typing import Final

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.openai_chat.shapes import (
    Choice,
    Completion,
    Message,
    ToolCall,
    UsageFields,
    failure_event,
    usage_event,
)
from stream_protocols.errors import StreamProtocolError
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
)
from stream_protocols.sse import SseDecoder, SseEvent

DONE: Final = b"[DONE]"

_decode_chunk = msgspec.json.Decoder(Completion).decode
_OPAQUE: Final = Opaque()


class OpenAIChatDecoder:
    """Decodes one streamed answer (see `stream_protocols.dialects.Decoder` for the contract)."""

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._open: dict[int, bool] = {}  # each choice seen, and whether it still has to finish
        self._reason: str | None = None
        self._usage: UsageFields | None = None
        self._ended = False

    def feed(self, data: bytes) -> list[Record]:
        """Take the next bytes of the body; return what they complete."""
        records: list[Record] = []
        if self._ended:
            return records
        try:
            frames = self._sse.feed(data)
        except StreamProtocolError as error:
            self._fail(records, f"The provider's event stream is malformed: {error.message}")
            return records
        self._frames(frames, records)
        return records

    def _frames(self, frames: Iterable[SseEvent], records: list[Record]) -> None:
        for frame in frames:
            if frame.data:
                self._frame(frame.data, records)
                if self._ended:
                    break

    def close(self) -> list[Record]:
        """The body has ended, properly as far as HTTP can tell."""
        records: list[Record] = []
        if self._ended:
            return records
        try:
            # Some servers leave out the blank line after their last frame.
            last = self._sse.close()
        except StreamProtocolError as error:
            self._fail(records, f"The provider's event stream is malformed: {error.message}")
            return records
        if last is not None:
            self._frames([last], records)
        if self._ended:
            return records
        if self._reason is not None and not any(self._open.values()):
            self._ended = True
            records.append((StreamFinished(self._reason), None))
        else:
            self._fail(records, "The provider ended the stream before the answer was whole.", "upstream_truncated")
        return records

    def _fail(self, records: list[Record], message: str, code: str = "upstream_invalid") -> None:
        self._ended = True
        records.append((StreamFailed(code, message), None))

    def _frame(self, data: bytes, records: list[Record]) -> None:
        if data.startswith(DONE):  # as OpenAI's own SDK tests it: some servers add a blank
            self._finish(records)
            return
        if b"\n" in data:
            # In JSON a line break can only stand between tokens; without it the frame stays one SSE line.
            data = data.replace(b"\n", b" ")
        try:
            chunk = _decode_chunk(data)
        except msgspec.ValidationError as error:
            self._unknown(data, error, records)
            return
        except NOT_JSON:
            self._fail(records, "The provider sent a frame that is not JSON.")
            return
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

    def _unknown(self, data: bytes, error: msgspec.ValidationError, records: list[Record]) -> None:
        """A frame that is not of the shape we know; msgspec says so before it has read all of it."""
        try:
            frame = msgspec.json.decode(data)
        except msgspec.ValidationError:
            frame = None  # a number beyond what Python has
        except NOT_JSON:
            self._fail(records, "The provider sent a frame that is not JSON.")
            return
        if isinstance(frame, dict) and frame.get("error") is not None:
            self._error(frame["error"], data, records)
            return
        # Its own dialect gets it untouched, others hear of it.
        message = f"A frame of the provider could not be translated: {error}."
        records.append((Notice("untranslated", message), data))

    def _error(self, error: object, data: bytes, records: list[Record]) -> None:
        self._ended = True
        records.append((failure_event(error), data))

    def _chunk(self, chunk: Completion, data: bytes, records: list[Record]) -> None:
        if chunk.error is not None:
            self._error(chunk.error, data, records)
            return
        events: list[Event] = []
        for choice in chunk.choices or ():
            self._choice(choice, events)
        # Some servers repeat the running usage in every chunk; only a change is news.
        if chunk.usage is not None and chunk.usage != self._usage:
            self._usage = chunk.usage
            events.append(usage_event(chunk.usage))
        if not events:
            events.append(_OPAQUE)
        records.extend((event, COVERED) for event in events[:-1])
        records.append((events[-1], data))

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
