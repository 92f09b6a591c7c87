"""The fields of OpenAI's JSON that we read; all others stay in the bytes beside them."""

from typing import Any

import msgspec

from stream_protocols.dialects.answers import header, tokens
from stream_protocols.events import StreamFailed, Usage


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Message(msgspec.Struct):
    """A delta of a stream or the message of a reply: the same names."""

    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Choice(msgspec.Struct):
    index: int = 0
    delta: Message | None = None
    message: Message | None = None
    finish_reason: str | None = None


class UsageFields(msgspec.Struct):
    # Whatever a server counts in, or forgets, must not cost the text beside it.
    prompt_tokens: Any = 0
    completion_tokens: Any = 0
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None


class Completion(msgspec.Struct):
    """A chunk of a stream or a whole reply."""

    choices: list[Choice] | None = None
    usage: UsageFields | None = None
    error: Any = None


def usage_event(fields: UsageFields) -> Usage:
    """OpenAI's usage in neutral words."""
    details: dict[str, Any] = {}
    if isinstance(fields.prompt_tokens_details, dict) and fields.prompt_tokens_details:
        details["input"] = fields.prompt_tokens_details
    if isinstance(fields.completion_tokens_details, dict) and fields.completion_tokens_details:
        details["output"] = fields.completion_tokens_details
    return Usage(tokens(fields.prompt_tokens), tokens(fields.completion_tokens), details or None)


def usage_json(usage: Usage) -> dict[str, Any]:
    """A neutral usage in OpenAI's words."""
    fields: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    details = usage.details or {}
    if "input" in details:
        fields["prompt_tokens_details"] = details["input"]
    if "output" in details:
        fields["completion_tokens_details"] = details["output"]
    return fields


def failure_event(
    error: object, *, status: int = 502, retry_after: str | None = None, fallback: str = ""
) -> StreamFailed:
    """An `error` member, which should be an object but is sometimes a string, as the neutral failure."""
    retry_after = header(retry_after)
    if not isinstance(error, dict):
        text = (error if isinstance(error, str) else "") or fallback or "The provider reported an error."
        return StreamFailed("upstream_error", text, status, retry_after=retry_after)
    code, message, kind = error.get("code"), error.get("message"), error.get("type")
    return StreamFailed(
        code=str(code) if code else (kind if isinstance(kind, str) and kind else "upstream_error"),
        message=message if isinstance(message, str) and message else "The provider reported an error.",
        status=status,
        error_type=kind if isinstance(kind, str) and kind else "server_error",
        retry_after=retry_after,
        error=error,
    )
