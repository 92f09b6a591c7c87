"""Answers that are not streamed: one `GenerateContentResponse`."""

from collections.abc import Iterable
from typing import Any

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.base import Source
from stream_protocols.dialects.gemini.decoder import Answer
from stream_protocols.dialects.gemini.encoder import Call, envelope
from stream_protocols.dialects.gemini.failures import failure_event
from stream_protocols.dialects.gemini.shapes import Response, finish_reason_of, usage_event
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
)


def decode_reply(body: bytes) -> list[Record]:
    """A whole response as the records of a stream; never raises (see `Decoder`)."""
    try:
        response = msgspec.json.decode(body, type=Response)
    except NOT_JSON:
        return [(StreamFailed("upstream_invalid", "The provider's reply is not a response of Gemini's."), None)]
    answer = Answer()
    for candidate in response.candidates or ():
        candidate.finish_reason = candidate.finish_reason or "STOP"
    events = [event for event in answer.events(response) if not isinstance(event, Usage)]
    if not (events and isinstance(events[-1], StreamFailed)):
        if answer.reason is None:
            return [(StreamFailed("upstream_invalid", "The provider's reply has no candidates."), None)]
        events += [*answer.spent(running=False), StreamFinished(answer.reason)]
    return [(event, None) for event in events]


def inspect_reply(body: bytes) -> StreamFailed | Usage | None:
    """What is wrong with a reply that is to be handed on as it is, or, when nothing is, the usage that it tells.

    An answer that came to nothing is one all the same: clients of this dialect know its finish reason.
    """
    try:
        response = msgspec.json.decode(body, type=Response)
    except NOT_JSON:
        return StreamFailed("upstream_invalid", "The provider's reply is not a response of Gemini's.")
    if response.error is not None:
        return failure_event(response.error)
    if not response.candidates and response.prompt_feedback is None:
        return StreamFailed("upstream_invalid", "The provider's reply has no candidates.")
    return None if response.usage_metadata is None else usage_event(response.usage_metadata)


def encode_reply(source: Source, events: Iterable[Event]) -> bytes:
    """The response that says what the events of a finished stream said."""
    candidates: dict[int, _Candidate] = {}
    usage = None
    for event in events:
        match event:
            case Usage():
                usage = event
            case TextDelta() | ReasoningDelta() | RefusalDelta() | ToolCallDelta() | ChoiceFinished():
                candidates.setdefault(event.choice, _Candidate(source, event.choice)).add(event)
    told = [candidate.to_json() for _, candidate in sorted(candidates.items())]
    return msgspec.json.encode({"candidates": told, **envelope(source, usage)})


class _Candidate:
    """One candidate as it grows."""

    def __init__(self, source: Source, index: int) -> None:
        self._source = source
        self._index = index
        self._parts: list[tuple[str, list[str]] | Call] = []  # texts by their kind, and calls
        self._calls: dict[int, Call] = {}
        self._reason = "stop"
        self._refused = False

    def add(self, event: Event) -> None:
        """One more event of this choice."""
        match event:
            case ChoiceFinished(reason=reason):
                self._reason = reason
            case ReasoningDelta(text=text):
                self._add_text("thought", text)
            case TextDelta(text=text):
                self._add_text("text", text)
            case RefusalDelta(text=text):
                self._refused = True
                self._add_text("text", text)
            case ToolCallDelta():
                self._add_call(event)

    def _add_text(self, kind: str, text: str) -> None:
        last = self._parts[-1] if self._parts else None
        if isinstance(last, tuple) and last[0] == kind:
            last[1].append(text)
        elif text:
            self._parts.append((kind, [text]))

    def _add_call(self, event: ToolCallDelta) -> None:
        call = self._calls.get(event.index)
        if call is None:
            call = self._calls[event.index] = Call(f"call_{self._source.stream}_{self._index}_{event.index}", "")
            self._parts.append(call)
        call.id = event.id or call.id
        call.name = call.name or event.name
        call.parts.append(event.arguments)

    def to_json(self) -> dict[str, Any]:
        """The candidate."""
        return {
            "content": {"parts": [_part(part) for part in self._parts] or [{"text": ""}], "role": "model"},
            "finishReason": finish_reason_of(self._reason, refused=self._refused),
            "index": self._index,
        }


def _part(part: tuple[str, list[str]] | Call) -> dict[str, Any]:
    if isinstance(part, Call):
        return part.to_json()
    kind, texts = part
    return {"text": "".join(texts), **({"thought": True} if kind == "thought" else {})}
