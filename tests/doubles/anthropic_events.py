"""The JSON that Anthropic's messages endpoint speaks: the events of a stream and whole messages."""

from __future__ import annotations

import json
from typing import Any

from tests.doubles.openai_script import Script, ToolCall

MESSAGE_ID = "msg_double"
SIGNATURE = "EqQBCkYDouble=="
"""What a thinking block is signed with."""

INPUT_TOKENS, CACHE_READ, CACHE_WRITTEN = 2, 3, 2
"""Of every answer; all its input is the sum of the three, as much as the other doubles' has."""

_INPUT = {
    "input_tokens": INPUT_TOKENS,
    "cache_creation_input_tokens": CACHE_WRITTEN,
    "cache_read_input_tokens": CACHE_READ,
}
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

Json = dict[str, Any]


def sse(name: str, **fields: Any) -> bytes:
    """One event, in the compact JSON that the vendor writes."""
    text = json.dumps({"type": name, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode()


class EventWriter:
    """Makes the frames of one streamed answer."""

    def __init__(self, script: Script, request: Json) -> None:
        self._script = script
        self._model = request["model"]
        self._index = -1
        self._open = ""  # the kind of the block that has not stopped

    def opening(self) -> bytes:
        """The beginning of the message, and a ping, as the vendor sends one there."""
        usage = {**_INPUT, "output_tokens": 1}
        message = {**_head(self._model), "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return sse("message_start", message=message, **self._script.extras.top) + sse("ping")

    def deltas(self) -> list[bytes]:
        """One item for each step; where blocks change, their stop and start go out with the step that needs them."""
        script = self._script
        steps = [self._step("thinking", {"type": "thinking_delta", "thinking": text}) for text in script.reasoning]
        if not script.tool_calls:
            steps += [self._step("text", {"type": "text_delta", "text": text}) for text in script.deltas]
        for call in script.tool_calls:
            steps.append(
                self._stop() + self._start({"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
            )
            steps += [self._delta({"type": "input_json_delta", "partial_json": part}) for part in call.fragments]
        return steps

    def closing(self) -> bytes:
        """The stop of the last block, and the end of the message."""
        delta = {"stop_reason": stop_reason_of(self._script), "stop_sequence": None}
        usage = {name: value for name, value in usage_of(self._script).items() if name not in _INPUT}
        ended = sse("message_delta", delta=delta, usage=usage)
        return self._stop() + ended + sse("message_stop")

    def error(self) -> bytes:
        return sse("error", error={"type": "overloaded_error", "message": "The model went away."})

    def _step(self, kind: str, delta: Json) -> bytes:
        begin = b"" if self._open == kind else self._stop() + self._start(_block(kind, ""))
        return begin + self._delta(delta)

    def _start(self, block: Json) -> bytes:
        self._index += 1
        self._open = block["type"]
        return sse("content_block_start", index=self._index, content_block=block)

    def _delta(self, delta: Json) -> bytes:
        return sse("content_block_delta", index=self._index, delta={**delta, **self._script.extras.delta})

    def _stop(self) -> bytes:
        if not self._open:
            return b""
        signed = b""
        if self._open == "thinking":
            signed = self._delta({"type": "signature_delta", "signature": SIGNATURE})
        self._open = ""
        return signed + sse("content_block_stop", index=self._index)


def reply(script: Script, request: Json) -> Json:
    """The answer to a request that did not ask for a stream."""
    content: list[Json] = []
    if script.reasoning:
        content.append({**_block("thinking", "".join(script.reasoning)), "signature": SIGNATURE})
    content += [_tool_use(call) for call in script.tool_calls] or [_block("text", script.text)]
    return {
        **_head(request["model"]),
        "content": content,
        "stop_reason": stop_reason_of(script),
        "stop_sequence": None,
        "usage": usage_of(script),
        **script.extras.top,
    }


def usage_of(script: Script) -> Json:
    """As many output tokens as the script has deltas, those of its thinking counted apart as well."""
    thinking = {"output_tokens_details": {"thinking_tokens": len(script.reasoning)}} if script.reasoning else {}
    return {
        **_INPUT,
        "output_tokens": script.usage()["completion_tokens"],
        **thinking,
    }


def stop_reason_of(script: Script) -> str:
    return "refusal" if script.declines else _STOP_REASONS[script.finish_reason]


def _head(model: str) -> Json:
    return {"id": MESSAGE_ID, "type": "message", "role": "assistant", "model": model}


def _block(kind: str, text: str) -> Json:
    return {"type": kind, kind: text, **({"signature": ""} if kind == "thinking" else {})}


def _tool_use(call: ToolCall) -> Json:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments or "{}")}
