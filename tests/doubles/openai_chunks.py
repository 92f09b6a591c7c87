"""The JSON that OpenAI's chat completions endpoint speaks: stream chunks and whole replies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from tests.doubles.openai_script import Script, ToolCall

CREATED = 1_700_000_000
REPLY_ID = "chatcmpl-double"
FINGERPRINT = "fp_double"

Json = dict[str, Any]


def choice_text(script: Script, index: int) -> str:
    """What choice `index` says in full: each choice its own text, so that mixed-up choices show."""
    return "".join(_worded(delta, index) for delta in script.deltas)


def sse(payload: Json | str) -> bytes:
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


class ChunkWriter:
    """Makes the frames of one streamed answer."""

    def __init__(self, script: Script, request: Json) -> None:
        self._script = script
        self._model = request["model"]
        self._choices = int(request.get("n") or 1)
        self._word = "refusal" if script.declines else "content"
        self._with_usage = bool((request.get("stream_options") or {}).get("include_usage"))

    def opening(self) -> bytes:
        """The chunk that a vendor may send first, and the role of each choice."""
        prelude = self._script.extras.prelude
        first = sse(self._chunk([], **prelude)) if prelude is not None else b""
        return first + self._deltas([{"role": "assistant", "content": "", "refusal": None}] * self._choices)

    def deltas(self) -> list[bytes]:
        """One item for each step: the same delta of every choice."""
        steps: list[Json] = [
            *({"reasoning_content": text} for text in self._script.reasoning),
            *({self._word: text} for text in self._script.deltas if not self._script.tool_calls),
            *({"tool_calls": [fragment]} for fragment in _fragments(self._script)),
        ]
        return [self._deltas([_for_choice(step, index) for index in range(self._choices)]) for step in steps]

    def closing(self) -> bytes:
        """The finish chunk of each choice, the usage if it was asked for, and the terminal frame."""
        finished = self._deltas([{}] * self._choices, self._script.finish_reason)
        usage = sse(self._chunk([], usage=self._script.usage())) if self._with_usage else b""
        return finished + usage + sse("[DONE]")

    def error(self) -> bytes:
        fields = {
            "message": "The model went away.",
            "type": "server_error",
            "param": None,
            "code": "model_gone",
        }
        return sse({"error": fields})

    def _deltas(self, deltas: list[Json], finish_reason: str | None = None) -> bytes:
        """One delta for each choice, in as many chunks as the script wants."""
        choices = [self._choice(index, delta, finish_reason) for index, delta in enumerate(deltas)]
        if self._script.packed:
            return sse(self._chunk(choices))
        return b"".join(sse(self._chunk([choice])) for choice in choices)

    def _choice(self, index: int, delta: Json, finish_reason: str | None) -> Json:
        extras = self._script.extras
        text = delta.get("content")
        logprobs = _logprobs(text) if self._script.logprobs and text else None
        return {
            "index": index,
            "delta": {**delta, **(extras.delta if delta else {})},
            "logprobs": logprobs,
            "finish_reason": finish_reason,
            **extras.choice,
        }

    def _chunk(self, choices: list[Json], **more: Any) -> Json:
        chunk: Json = {
            "id": REPLY_ID,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": self._model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }
        if self._with_usage:
            chunk["usage"] = None
        return {**chunk, **self._script.extras.top, **more}


def reply(script: Script, request: Json) -> Json:
    """The answer to a request that did not ask for a stream."""
    count = int(request.get("n") or 1)
    return {
        "id": REPLY_ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": request["model"],
        "choices": [_reply_choice(script, index) for index in range(count)],
        "usage": script.usage(),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
        **script.extras.top,
    }


def _reply_choice(script: Script, index: int) -> Json:
    text = choice_text(script, index)
    message: Json = {"role": "assistant", "content": None if script.tool_calls else text, "refusal": None}
    if script.tool_calls:
        message["tool_calls"] = [_whole(call) for call in script.tool_calls]
    if script.declines:
        message |= {"content": None, "refusal": text}
    if script.reasoning:
        message["reasoning_content"] = "".join(script.reasoning)
    return {
        "index": index,
        "message": {**message, **script.extras.delta},
        "logprobs": _logprobs(text) if script.logprobs else None,
        "finish_reason": script.finish_reason,
        **script.extras.choice,
    }


def _whole(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _fragments(script: Script) -> Iterator[Json]:
    """The `tool_calls` entries in wire order: the id and the name first, then the arguments in pieces."""
    opened = [_opening(index, call) for index, call in enumerate(script.tool_calls)]
    rest = [[_argument(i, part) for part in call.fragments] for i, call in enumerate(script.tool_calls)]
    if not script.interleave:
        for head, parts in zip(opened, rest, strict=True):
            yield head
            yield from parts
        return
    yield from opened
    for row in zip_longest(*rest):
        yield from (part for part in row if part is not None)


def _opening(index: int, call: ToolCall) -> Json:
    function = {"name": call.name, "arguments": ""}
    return {"index": index, "id": call.id, "type": "function", "function": function}


def _argument(index: int, part: str) -> Json:
    return {"index": index, "function": {"arguments": part}}


def _for_choice(step: Json, index: int) -> Json:
    return {"content": _worded(step["content"], index)} if "content" in step else step


def _worded(delta: str, index: int) -> str:
    return delta if index == 0 else f"{index}:{delta}"


def _logprobs(text: str) -> Json:
    token = {"token": text, "logprob": -0.25, "bytes": list(text.encode()), "top_logprobs": []}
    return {"content": [token], "refusal": None}
