"""The fields of Anthropic's JSON that we read, and its words for usage and for why an answer ended."""

from typing import Any, Final

import msgspec

from stream_protocols.dialects.answers import tokens
from stream_protocols.events import Usage

MAX_OPEN_CALLS: Final = 1024
"""Tool calls under way at once: no model makes so many, and each is remembered until its block stops."""


class UsageFields(msgspec.Struct):
    # Whatever a server counts in, or forgets, must not cost the text beside it.
    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    output_tokens_details: Any = None


class Block(msgspec.Struct):
    """A content block, whole or as it begins."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


class Delta(msgspec.Struct):
    """More of a block, or of the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class Message(msgspec.Struct):
    """A whole answer, or how one begins."""

    type: str = ""
    content: list[Block] | None = None
    stop_reason: str | None = None
    usage: UsageFields | None = None
    error: Any = None


class Frame(msgspec.Struct):
    """One event of a stream."""

    type: str = ""
    index: int = 0
    message: Message | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: UsageFields | None = None
    error: Any = None


_REASONS: Final = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_STOP_REASONS: Final = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def reason_of(stop_reason: str) -> str:
    """Why an answer ended, in the words of `ChoiceFinished`; what it has no word for is a stop."""
    return _REASONS.get(stop_reason, "stop")


def stop_reason_of(reason: str) -> str:
    """The `stop_reason` that says what a `ChoiceFinished` said."""
    return _STOP_REASONS.get(reason, "end_turn")


def usage_event(fields: UsageFields, before: Usage | None = None, *, running: bool = False) -> Usage:
    """Anthropic's usage in neutral words, where input tokens are all of them, those of the cache too.

    Args:
        before: what was told earlier; it holds where `fields` does not say.
    """
    if fields.input_tokens is None and before is not None:
        total, cached = before.input_tokens, (before.details or {}).get("input")
    else:
        read, written = tokens(fields.cache_read_input_tokens), tokens(fields.cache_creation_input_tokens)
        total = tokens(tokens(fields.input_tokens) + read + written)
        cached = {"cached_tokens": read, "cache_write_tokens": written} if read or written else None
    details: dict[str, Any] = {"input": cached} if cached else {}
    output = fields.output_tokens_details
    if isinstance(output, dict) and (thinking := tokens(output.get("thinking_tokens"))):
        details["output"] = {"reasoning_tokens": thinking}
    return Usage(total, tokens(fields.output_tokens), details or None, running)


def usage_json(usage: Usage | None) -> dict[str, Any]:
    """A neutral usage in Anthropic's words."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    details = usage.details or {}
    read, written = _detail(details, "input", "cached_tokens"), _detail(details, "input", "cache_write_tokens")
    fields: dict[str, Any] = {
        "input_tokens": max(usage.input_tokens - read - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens,
    }
    if thinking := _detail(details, "output", "reasoning_tokens"):
        fields["output_tokens_details"] = {"thinking_tokens": thinking}
    return fields


def _detail(details: dict[str, Any], side: str, name: str) -> int:
    part = details.get(side)
    return tokens(part.get(name)) if isinstance(part, dict) else 0
