"""The JSON that Gemini's API speaks: the frames of a stream and whole responses."""

from __future__ import annotations

import json
from typing import Any

from tests.doubles.openai_chunks import choice_text
from tests.doubles.openai_script import Script, ToolCall

RESPONSE_ID = "resp-double"
SIGNATURE = "RG91YmxlIQ=="
"""What a function call and a thought are signed with."""

_FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}

Json = dict[str, Any]


def sse(payload: Json) -> bytes:
    return f"data: {json.dumps(payload, ensure_ascii=False)}\r\n\r\n".encode()


class FrameWriter:
    """Makes the frames of one streamed answer. Like the vendor it counts tokens in each."""

    def __init__(self, script: Script, model: str, request: Json) -> None:
        self._script = script
        self._model = model
        self._choices = choices_of(request)

    def opening(self) -> bytes:
        """The vendor sends nothing before it has something to say."""
        return b""

    def deltas(self) -> list[bytes]:
        """One item for each step: the same part of every candidate; a function call is one whole part."""
        script = self._script
        steps: list[list[Json]] = [[_thought(text)] * self._choices for text in script.reasoning]
        if script.tool_calls:
            steps += [[_call(call)] * self._choices for call in script.tool_calls]
        else:
            texts = [[delta if n == 0 else f"{n}:{delta}" for n in range(self._choices)] for delta in script.deltas]
            steps += [[{"text": text} for text in step] for step in texts]
        return [self._frame(parts, spoken + 1) for spoken, parts in enumerate(steps)]

    def closing(self) -> bytes:
        """Why each candidate ended, and what it all took."""
        return self._frame([{"text": ""}] * self._choices, None, finish_reason_of(self._script))

    def error(self) -> bytes:
        return sse({"error": {"code": 503, "message": "The model went away.", "status": "UNAVAILABLE"}})

    def _frame(self, parts: list[Json], spoken: int | None, reason: str | None = None) -> bytes:
        candidates = [
            _candidate([{**part, **self._script.extras.delta}], index, reason) for index, part in enumerate(parts)
        ]
        return sse(_response(self._script, self._model, candidates, usage_of(self._script, spoken)))


def reply(script: Script, model: str, request: Json) -> Json:
    """The answer to a request that did not ask for a stream."""
    candidates = []
    for index in range(choices_of(request)):
        thoughts = [_thought("".join(script.reasoning))] if script.reasoning else []
        said = [_call(call) for call in script.tool_calls] or [{"text": choice_text(script, index)}]
        candidates.append(_candidate([*thoughts, *said], index, finish_reason_of(script)))
    return _response(script, model, candidates, usage_of(script))


def usage_of(script: Script, spoken: int | None = None) -> Json:
    """As many tokens as the script has deltas, or as have been spoken."""
    thoughts = len(script.reasoning)
    total = thoughts + len(script.deltas) if spoken is None else spoken
    return {
        "promptTokenCount": 7,
        "candidatesTokenCount": max(total - thoughts, 0),
        "totalTokenCount": 7 + total,
        "cachedContentTokenCount": 3,
        **({"thoughtsTokenCount": min(thoughts, total)} if thoughts else {}),
    }


def finish_reason_of(script: Script) -> str:
    return "SAFETY" if script.declines else _FINISH_REASONS[script.finish_reason]


def choices_of(request: Json) -> int:
    return int(request.get("generationConfig", {}).get("candidateCount") or 1)


def _response(script: Script, model: str, candidates: list[Json], usage: Json) -> Json:
    named = {"modelVersion": model, "responseId": RESPONSE_ID}
    return {"candidates": candidates, "usageMetadata": usage, **named, **script.extras.top}


def _candidate(parts: list[Json], index: int, reason: str | None) -> Json:
    ended = {} if reason is None else {"finishReason": reason}
    return {"content": {"parts": parts, "role": "model"}, **ended, "index": index}


def _thought(text: str) -> Json:
    return {"text": text, "thought": True, "thoughtSignature": SIGNATURE}


def _call(call: ToolCall) -> Json:
    """A call whose script gives it no id has none, as from older models."""
    identity = {"id": call.id} if call.id else {}
    arguments = json.loads(call.arguments or "{}")
    return {"functionCall": {**identity, "name": call.name, "args": arguments}, "thoughtSignature": SIGNATURE}
