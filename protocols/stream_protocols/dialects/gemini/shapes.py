"""The fields of Gemini's JSON that we read, and its words for usage and for why an answer ended."""

import hashlib
from typing import Any, Final

import msgspec

from stream_protocols.dialects.answers import tokens
from stream_protocols.events import Usage


class FunctionCall(msgspec.Struct, rename="camel"):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"{}")


class Part(msgspec.Struct, rename="camel"):
    """One piece of content. What is listed last has no neutral word; it is read to be reported."""

    text: str | None = None
    thought: bool | None = None
    function_call: FunctionCall | None = None
    inline_data: Any = None
    file_data: Any = None
    executable_code: Any = None
    code_execution_result: Any = None


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    index: int = 0
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: Any = None


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class UsageFields(msgspec.Struct, rename="camel"):
    # Whatever a server counts in, or forgets, must not cost the text beside it.
    prompt_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    cached_content_token_count: Any = None
    tool_use_prompt_token_count: Any = None


class Response(msgspec.Struct, rename="camel"):
    """A frame of a stream or a whole reply: the same shape."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: UsageFields | None = None
    response_id: Any = None
    error: Any = None


_REASONS: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        "content_filter",
    ),
}

BROKEN: Final = frozenset(
    {
        *("OTHER", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *("MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE", "IMAGE_OTHER", "NO_IMAGE"),
    }
)
"""Finish reasons of answers that came to nothing: what other vendors report as an error."""

_FINISH_REASONS: Final = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}


def reason_of(finish_reason: str, *, called: bool) -> str:
    """Why an answer ended, in the words of `ChoiceFinished`; what has no word is a stop.

    Args:
        called: whether it has called functions, which Gemini does not say by its reason.
    """
    reason = _REASONS.get(finish_reason, "stop")
    return "tool_calls" if called and reason == "stop" else reason


def finish_reason_of(reason: str, *, refused: bool) -> str:
    """The `finishReason` that says what a `ChoiceFinished` said, and that the text was a refusal."""
    return "SAFETY" if refused and reason == "stop" else _FINISH_REASONS.get(reason, "STOP")


def call_id(response: object, choice: int, index: int, call: FunctionCall) -> str:
    """An id for a call that has none: the same whenever the same answer is read, and another in another answer."""
    seed = msgspec.json.encode([str(response), choice, index, call.name, bytes(call.args).decode("utf-8", "replace")])
    return "call_" + hashlib.blake2b(seed, digest_size=12).hexdigest()


def usage_event(fields: UsageFields, *, running: bool = False) -> Usage:
    """Gemini's usage in neutral words, where output tokens are all of them, those of thoughts too."""
    thoughts, cached = tokens(fields.thoughts_token_count), tokens(fields.cached_content_token_count)
    results = tokens(fields.tool_use_prompt_token_count)
    details: dict[str, Any] = {}
    if cached or results:
        details["input"] = {"cached_tokens": cached, **({"tool_use_tokens": results} if results else {})}
    if thoughts:
        details["output"] = {"reasoning_tokens": thoughts}
    return Usage(
        tokens(tokens(fields.prompt_token_count) + results),
        tokens(tokens(fields.candidates_token_count) + thoughts),
        details or None,
        running,
    )


def usage_json(usage: Usage) -> dict[str, int]:
    """A neutral usage in Gemini's words."""
    details = usage.details or {}
    thoughts, cached = _detail(details, "output", "reasoning_tokens"), _detail(details, "input", "cached_tokens")
    fields = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(usage.output_tokens - thoughts, 0),
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    if thoughts:
        fields["thoughtsTokenCount"] = thoughts
    if cached:
        fields["cachedContentTokenCount"] = cached
    return fields


def _detail(details: dict[str, Any], side: str, name: str) -> int:
    part = details.get(side)
    return tokens(part.get(name)) if isinstance(part, dict) else 0
