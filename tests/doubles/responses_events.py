"""The JSON that OpenAI's Responses endpoint speaks: stream events and whole responses.

One item after the other, as OpenAI does it, or calls side by side when the script interleaves.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

from tests.doubles.openai_script import Script, ToolCall

CREATED = 1_700_000_000
REPLY_ID = "resp_double"

Json = dict[str, Any]


def sse(payload: Json) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()


class ResponseWriter:
    """Makes the frames of one streamed answer; each has the next number, so they must be asked for in their order."""

    def __init__(self, script: Script, request: Json) -> None:
        self._script = script
        self._request = request
        self._number = -1
        self._items = _items(script)

    def opening(self) -> bytes:
        started = _response(self._script, self._request, status="in_progress")
        kinds = ("response.created", "response.in_progress")
        return b"".join(self._event(kind, response=started) for kind in kinds)

    def deltas(self) -> list[bytes]:
        """One item for each step: a delta, with what opens an item before it and what closes one after it."""
        steps = []
        for index, item in enumerate(self._items):
            if item["type"] != "function_call":
                steps += self._text(index, item)
        calls = [(index, item) for index, item in enumerate(self._items) if item["type"] == "function_call"]
        return steps + self._calls(calls)

    def closing(self) -> bytes:
        whole = reply(self._script, self._request)
        return self._event(f"response.{whole['status']}", response=whole)

    def error(self) -> bytes:
        fields = {"type": "server_error", "code": "model_gone", "message": "The model went away.", "param": None}
        return self._event("error", error=fields)

    def _text(self, index: int, item: Json) -> list[bytes]:
        if item["type"] == "reasoning":
            words, stem, part_stem = self._script.reasoning, "reasoning_summary_text", "reasoning_summary_part"
            place, part = {"summary_index": 0}, item["summary"][0]
        else:
            words, stem, part_stem = self._script.deltas, item["content"][0]["type"], "content_part"
            place, part = {"content_index": 0}, item["content"][0]
        place = {"item_id": item["id"], "output_index": index, **place}
        key = "refusal" if "refusal" in part else "text"
        begun = {**item, "status": "in_progress", ("summary" if item["type"] == "reasoning" else "content"): []}
        opening = self._event("response.output_item.added", output_index=index, item=begun)
        opening += self._event(f"response.{part_stem}.added", **place, part={**part, key: ""})
        extra = {"logprobs": [], "obfuscation": "x7"} if key == "text" and item["type"] == "message" else {}
        steps = [self._event(f"response.{stem}.delta", **place, delta=word, **extra) for word in words]
        # The numbers go in the order in which the frames are made.
        closing = self._event(f"response.{stem}.done", **place, **{key: part[key]})
        closing += self._event(f"response.{part_stem}.done", **place, part=part)
        closing += self._event("response.output_item.done", output_index=index, item=item)
        steps[0] = opening + steps[0]
        steps[-1] += closing
        return steps

    def _calls(self, calls: list[tuple[int, Json]]) -> list[bytes]:
        steps = []
        scripted = self._script.tool_calls
        if self._script.interleave:
            steps = [self._call_begins(index, item) for index, item in calls]
            for row in zip_longest(*(call.fragments for call in scripted)):
                pairs = zip(calls, row, strict=True)
                steps += [self._fragment(index, item, part) for (index, item), part in pairs if part is not None]
            return steps + [self._call_ends(index, item) for index, item in calls]
        for (index, item), call in zip(calls, scripted, strict=True):
            steps.append(self._call_begins(index, item))
            steps += [self._fragment(index, item, part) for part in call.fragments]
            steps.append(self._call_ends(index, item))
        return steps

    def _call_begins(self, index: int, item: Json) -> bytes:
        begun = {**item, "status": "in_progress", "arguments": ""}
        return self._event("response.output_item.added", output_index=index, item=begun)

    def _fragment(self, index: int, item: Json, part: str) -> bytes:
        place = {"item_id": item["id"], "output_index": index}
        return self._event("response.function_call_arguments.delta", **place, delta=part)

    def _call_ends(self, index: int, item: Json) -> bytes:
        place = {"item_id": item["id"], "output_index": index}
        done = self._event("response.function_call_arguments.done", **place, arguments=item["arguments"])
        return done + self._event("response.output_item.done", output_index=index, item=item)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return sse({"type": kind, "sequence_number": self._number, **fields, **self._script.extras.top})


def reply(script: Script, request: Json) -> Json:
    """The answer to a request that did not ask for a stream."""
    incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(script.finish_reason)
    whole = _response(script, request, status="incomplete" if incomplete else "completed")
    usage = script.usage()
    return {
        **whole,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "output": _items(script),
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {
                "reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"],
            },
            "total_tokens": usage["total_tokens"],
        },
    }


def _response(script: Script, request: Json, *, status: str) -> Json:
    return {
        "id": REPLY_ID,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "metadata": request.get("metadata") or {},
        "model": request["model"],
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": request.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": request.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": request.get("tool_choice", "auto"),
        "tools": request.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        **script.extras.top,
    }


def _items(script: Script) -> list[Json]:
    items: list[Json] = []
    if script.reasoning:
        summary = [{"type": "summary_text", "text": "".join(script.reasoning)}]
        items.append({"id": "rs_1", "type": "reasoning", "encrypted_content": "opaque", "summary": summary})
    if script.deltas and not script.tool_calls:
        part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": script.text}
        if script.declines:
            part = {"type": "refusal", "refusal": script.text}
        message = {"type": "message", "status": "completed", "role": "assistant", "content": [part]}
        items.append({"id": "msg_1", **message})
    return items + [_call(number, call) for number, call in enumerate(script.tool_calls)]


def _call(number: int, call: ToolCall) -> Json:
    return {
        "id": f"fc_{number}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }
