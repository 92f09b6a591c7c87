"""From neutral events to Gemini's frames: unnamed, each a response of its own."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.base import Frame, SequenceEncoder, Source
from stream_protocols.dialects.gemini.failures import error_json
from stream_protocols.dialects.gemini.request import MAX_CHOICES
from stream_protocols.dialects.gemini.shapes import finish_reason_of, usage_json
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_encode = msgspec.json.encode

MAX_CALLS: Final = 1024
"""Function calls of one answer: no model makes so many, and each is remembered."""

MAX_ARGUMENTS: Final = 4_194_304
"""Characters of arguments that are kept until their calls are complete: as much as a log holds by default."""


class Call:
    """A function call of which more may come."""

    __slots__ = ("id", "name", "parts")

    def __init__(self, identity: str, name: str) -> None:
        self.id = identity
        self.name = name
        self.parts: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether its arguments are an object, after which nothing can come."""
        return _object(self.arguments) is not None

    @property
    def arguments(self) -> str:
        return "".join(self.parts)

    def to_json(self) -> dict[str, Any]:
        """The part that says it; arguments that are no object a client has to see all the same."""
        text = self.arguments or "{}"
        given = _object(text)
        if given is None:
            given = msgspec.Raw(_encode({"invalid_json": text}))
        return {"functionCall": {"id": self.id, "name": self.name, "args": given}}


class GeminiEncoder(SequenceEncoder):
    """Encodes for one client (see `stream_protocols.dialects.SequenceEncoder` for the contract).

    A function call is told once it is complete: when the next one begins, or at the end of its candidate. Why
    candidates have ended, and what they have cost, is told by one frame at the end.
    """

    passthrough = "gemini"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tail = b'],"modelVersion":%b,"responseId":%b}' % (_encode(source.model), _encode(source.stream))
        self._calls: dict[tuple[int, int], Call | None] = {}  # by choice and index; None when it has been told
        self._mixed: set[int] = set()  # choices whose calls come interleaved: they are told at the end
        self._kept = 0  # characters of arguments
        self._reasons: dict[int, str | None] = {}  # of each choice that has been heard of, once it has ended
        self._told: set[int] = set()  # choices whose end the provider has told itself
        self._refused: set[int] = set()
        self._usage: Usage | None = None
        self._over = False

    def encode(self, event: Event) -> Sequence[Frame]:
        """The frames that an event becomes, possibly none."""
        choice: int = getattr(event, "choice", 0)
        if self._over or not 0 <= choice < MAX_CHOICES:
            return ()
        self._note(event)
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text) if text:
                # The hot one, written by hand.
                return [Frame(b"", self._text(b'{"text":%b}' % _encode(text), choice))]
            case ReasoningDelta(text=text) if text:
                return [Frame(b"", self._text(b'{"text":%b,"thought":true}' % _encode(text), choice))]
            case ToolCallDelta():
                return self._tool_call(event)
            case ChoiceFinished():
                return self._tell(choice)
            case StreamFinished(reason=reason):
                self._over = True
                return [*self._tell_all(), *self._conclude(reason)]
            case StreamFailed() | StreamCancelled():
                self._over = True
                return [Frame(b"", error_json(event))]
        return ()

    def relay(self, event: Event, raw: bytes) -> Sequence[Frame]:
        """Take note of an event that the vendor said itself; its own frame, or none where another record carries it."""
        self._note(event)
        if isinstance(event, ChoiceFinished):
            self._told.add(event.choice)
        if not raw or self._over:
            return ()
        self._over = isinstance(event, StreamFinished | StreamFailed)
        # The provider's calls are whole, also one whose frame this client has only seen the beginning of.
        return [*self._tell_all(), Frame(b"", raw)]

    def _note(self, event: Event) -> None:
        match event:
            case Usage():
                self._usage = event
            case ChoiceFinished(reason=reason, choice=choice):
                self._reasons[choice] = reason
            case TextDelta(choice=choice) | ReasoningDelta(choice=choice) | ToolCallDelta(choice=choice):
                self._reasons.setdefault(choice, None)
            case RefusalDelta(choice=choice):
                self._reasons.setdefault(choice, None)
                self._refused.add(choice)

    def _text(self, part: bytes, choice: int) -> bytes:
        content = b'{"candidates":[{"content":{"parts":[%b],"role":"model"},"index":%d}' % (part, choice)
        return content + self._tail

    # ---- function calls

    def _tool_call(self, event: ToolCallDelta) -> Sequence[Frame]:
        key, frames = (event.choice, event.index), []
        if key not in self._calls:
            if not event.id and not event.name:
                return ()  # more of a call that never began: nobody could place it
            if len(self._calls) >= MAX_CALLS:
                return self._break_off(f"The answer has more than {MAX_CALLS} function calls.")
            if event.choice not in self._mixed:
                frames = self._tell(event.choice, complete_only=True)
            self._calls[key] = Call(event.id or f"call_{self._source.stream}_{event.choice}_{event.index}", event.name)
        call = self._calls[key]
        if call is not None:
            call.name = call.name or event.name
            call.parts.append(event.arguments)
            self._kept += len(event.arguments)
        if self._kept > MAX_ARGUMENTS:
            return self._break_off(f"The answer's function calls have more than {MAX_ARGUMENTS} characters.")
        return frames

    def _break_off(self, message: str) -> Sequence[Frame]:
        self._over = True
        return [Frame(b"", error_json(StreamFailed("answer_too_large", message)))]

    def _tell(self, choice: int, *, complete_only: bool = False) -> list[Frame]:
        """The calls of a choice that have not been told, in their order."""
        told = []
        for key, call in self._calls.items():
            if call is None or key[0] != choice:
                continue
            if complete_only and not call.complete:
                self._mixed.add(choice)
                break
            told.append(call.to_json())
            self._kept -= sum(map(len, call.parts))
            self._calls[key] = None
        return [Frame(b"", self._text(b",".join(map(_encode, told)), choice))] if told else []

    def _tell_all(self) -> list[Frame]:
        choices = dict.fromkeys(choice for (choice, _), call in self._calls.items() if call is not None)
        return [frame for choice in choices for frame in self._tell(choice)]

    # ---- the end

    def _conclude(self, reason: str) -> Iterable[Frame]:
        """Why the choices have ended whose end has not been told, and what all has cost."""
        known = self._reasons or {0: reason}
        endings = {choice: why or reason for choice, why in known.items() if choice not in self._told}
        if not endings:
            return
        candidates = [
            {
                "content": {"parts": [{"text": ""}], "role": "model"},
                "finishReason": finish_reason_of(why, refused=choice in self._refused),
                "index": choice,
            }
            for choice, why in sorted(endings.items())
        ]
        yield Frame(b"", _encode({"candidates": candidates, **envelope(self._source, self._usage)}))


def envelope(source: Source, usage: Usage | None) -> dict[str, Any]:
    """What stands beside the candidates of a response."""
    fields: dict[str, Any] = {} if usage is None else {"usageMetadata": usage_json(usage)}
    return {**fields, "modelVersion": source.model, "responseId": source.stream}


def _object(text: str) -> msgspec.Raw | None:
    """A JSON object as it is written, but on one line; None when it is none."""
    try:
        given = msgspec.json.decode(text)
    except NOT_JSON:
        return None
    # In JSON a line break can only stand between tokens.
    return msgspec.Raw(text.encode().replace(b"\n", b" ").replace(b"\r", b" ")) if isinstance(given, dict) else None
