"""From a Gemini upstream's body to records."""

from collections.abc import Iterable
from typing import Final

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.gemini.failures import failure_event
from stream_protocols.dialects.gemini.request import MAX_CHOICES
from stream_protocols.dialects.gemini.shapes import (
    BROKEN,
    Candidate,
    Part,
    Response,
    UsageFields,
    call_id,
    reason_of,
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
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
)
from stream_protocols.sse import SseDecoder, SseEvent

_decode = msgspec.json.Decoder(Response).decode
_OPAQUE: Final = Opaque()


class GeminiDecoder:
    """Decodes one streamed answer (see `stream_protocols.dialects.Decoder` for the contract)."""

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._answer = Answer()
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

    def close(self) -> list[Record]:
        """The body has ended, properly as far as HTTP can tell: no frame says that it was the last one."""
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
        if self._answer.reason is None or not self._answer.whole:
            self._fail(records, "The provider ended the stream before the answer was whole.", "upstream_truncated")
            return records
        self._ended = True
        records += [
            (event, None) for event in (*self._answer.spent(running=False), StreamFinished(self._answer.reason))
        ]
        return records

    def _frames(self, frames: Iterable[SseEvent], records: list[Record]) -> None:
        for frame in frames:
            if frame.data:
                self._frame(frame.data, records)
                if self._ended:
                    break

    def _fail(self, records: list[Record], message: str, code: str = "upstream_invalid") -> None:
        self._ended = True
        records += [(event, None) for event in (*self._answer.spent(), StreamFailed(code, message))]

    def _frame(self, data: bytes, records: list[Record]) -> None:
        if b"\n" in data:
            # In JSON a line break can only stand between tokens; without it the frame stays one SSE line.
            data = data.replace(b"\n", b" ")
        events: list[Event] | None
        try:
            events = self._answer.events(_decode(data))
        except msgspec.ValidationError as error:
            events = self._unknown(data, error)
        except NOT_JSON:
            events = None
        if events is None:
            self._fail(records, "The provider sent a frame that is not JSON.")
            return
        self._ended = bool(events) and isinstance(events[-1], StreamFailed)
        records.extend((event, COVERED) for event in events[:-1])
        records.append((events[-1] if events else _OPAQUE, data))

    def _unknown(self, data: bytes, error: msgspec.ValidationError) -> list[Event] | None:
        """A frame that is not of the shape we know; msgspec says so before it has read all of it. None: no JSON."""
        try:
            frame = msgspec.json.decode(data)
        except msgspec.ValidationError:
            frame = None  # a number beyond what Python has
        except NOT_JSON:
            return None
        if isinstance(frame, dict) and frame.get("error") is not None:
            return [*self._answer.spent(), failure_event(frame["error"])]
        # Its own dialect gets it untouched, others hear of it.
        return [Notice("untranslated", f"A frame of the provider could not be translated: {error}.")]


class Answer:
    """What the responses of one answer have said so far.

    Attributes:
        reason: why it ended, that of its first candidate; None as long as none has.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._open: dict[int, bool] = {}  # each candidate seen, and whether it still has to finish
        self._calls: dict[int, int] = {}  # how many functions each has called
        self._usage: UsageFields | None = None

    @property
    def whole(self) -> bool:
        """Whether every candidate has finished, and there was one."""
        return bool(self._open) and not any(self._open.values())

    def spent(self, *, running: bool = True) -> list[Event]:
        """What it has cost so far, as far as the provider has said; not `running`: what it has cost in all."""
        return [] if self._usage is None else [usage_event(self._usage, running=running)]

    def events(self, response: Response) -> list[Event]:
        """What a response says; a `StreamFailed` at its end is the end of the answer."""
        if response.error is not None:
            return [*self.spent(), failure_event(response.error)]
        events: list[Event] = []
        if response.usage_metadata is not None:
            # Each frame counts anew; the first count tells what came in, and the last one is told at the end.
            if self._usage is None:
                events.append(usage_event(response.usage_metadata, running=True))
            self._usage = response.usage_metadata
        for candidate in response.candidates or ():
            events += self._candidate(candidate, response.response_id)
            if events and isinstance(events[-1], StreamFailed):
                return events
        feedback = response.prompt_feedback
        if feedback is not None and _is_said(feedback.block_reason) and not self._open:
            events.append(self._finish(0, "content_filter"))
        return events

    def _candidate(self, candidate: Candidate, response: object) -> list[Event]:
        index = candidate.index
        if not 0 <= index < MAX_CHOICES:
            return [*self.spent(), StreamFailed("upstream_invalid", f"The provider sent a candidate number {index}.")]
        unfinished = self._open.setdefault(index, True)
        events: list[Event] = []
        for part in (candidate.content.parts or ()) if candidate.content is not None else ():
            events += self._part(part, index, response)
        reason = candidate.finish_reason
        if not unfinished or not _is_said(reason):
            return events
        if reason in BROKEN:
            said = candidate.finish_message
            more = f": {said}" if isinstance(said, str) and said else "."
            failed = StreamFailed(str(reason).lower(), f"The model broke off with {reason}{more}")
            return [*events, *self.spent(), failed]
        return [*events, self._finish(index, reason_of(str(reason), called=bool(self._calls.get(index))))]

    def _finish(self, index: int, reason: str) -> ChoiceFinished:
        self._open[index] = False
        if self.reason is None or index == 0:
            self.reason = reason
        return ChoiceFinished(reason, index)

    def _part(self, part: Part, choice: int, response: object) -> list[Event]:
        if part.text:
            return [ReasoningDelta(part.text, choice) if part.thought else TextDelta(part.text, choice)]
        if (call := part.function_call) is not None:
            index = self._calls.get(choice, 0)
            self._calls[choice] = index + 1
            identity = call.id or call_id(response, choice, index, call)
            return [ToolCallDelta(index, identity, call.name or "", _arguments(call.args), choice)]
        given = (part.inline_data, part.file_data, part.executable_code, part.code_execution_result)
        if any(value is not None for value in given):
            return [Notice("untranslated", "A part of the answer is neither text nor a function call.")]
        return []


def _is_said(reason: str | None) -> bool:
    return bool(reason) and not str(reason).endswith("_UNSPECIFIED")


def _arguments(given: msgspec.Raw) -> str:
    """A call's arguments as JSON text, as the provider wrote them."""
    text = bytes(given)
    return text.decode("utf-8", "replace") if text.startswith(b"{") else "{}"
