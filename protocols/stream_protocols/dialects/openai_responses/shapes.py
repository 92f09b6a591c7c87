"""The fields of the Responses API's JSON that we read, and the words that it has for ours."""

from typing import Any, Final

import msgspec

from stream_protocols.dialects.openai_chat.shapes import UsageFields, failure_event, usage_event
from stream_protocols.events import ChoiceFinished, Event, StreamFailed, StreamFinished, Usage

NULL: Final = msgspec.Raw(b"null")

INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reasons with which a response is incomplete; with all others it is completed."""

_REASONS: Final = {word: reason for reason, word in INCOMPLETE.items()}

_STATUS: Final = {"rate_limit_exceeded": 429, "invalid_prompt": 400}
"""HTTP statuses that say the same as a failed response's code; all others are the provider's fault."""


class ResponseFields(msgspec.Struct):
    """A response, in a frame or as a whole reply. What may be anything must not cost the text beside it."""

    id: Any = None
    status: Any = None
    error: Any = None
    incomplete_details: Any = None
    output: msgspec.Raw = msgspec.Raw(b"[]")
    usage: Any = None


class FrameFields(msgspec.Struct):
    """One event of a stream. Each type has some of these."""

    type: str = ""
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    item: msgspec.Raw = NULL
    response: ResponseFields | None = None
    error: Any = None
    code: Any = None
    message: Any = None


class PartFields(msgspec.Struct):
    """A part of a message, or of a reasoning item's summary or content."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None


class ItemFields(msgspec.Struct):
    """An output item. Other kinds than messages, reasoning and function calls are this vendor's own."""

    type: str = ""
    id: str | None = None
    content: list[PartFields] | None = None
    summary: list[PartFields] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class _Usage(msgspec.Struct):
    input_tokens: Any = 0
    output_tokens: Any = 0
    input_tokens_details: Any = None
    output_tokens_details: Any = None


def read_usage(given: object) -> Usage | None:
    """A response's `usage` in neutral words; None where there is none."""
    if not isinstance(given, dict):
        return None
    fields = msgspec.convert(given, _Usage)
    return usage_event(
        UsageFields(
            fields.input_tokens, fields.output_tokens, fields.input_tokens_details, fields.output_tokens_details
        )
    )


def usage_json(usage: Usage | None) -> dict[str, Any] | None:
    """A neutral usage in this dialect's words; clients rely on the two counts among the details."""
    if usage is None:
        return None
    details = usage.details or {}
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, **_breakdown(details.get("input"))},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0, **_breakdown(details.get("output"))},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _breakdown(details: object) -> dict[str, Any]:
    return details if isinstance(details, dict) else {}


def ending(response: ResponseFields, *, incomplete: bool, called: bool) -> list[Event]:
    """What a response that has ended well says about its end.

    Args:
        incomplete: it was cut short; by the token limit, unless it says otherwise.
        called: it has tool calls.
    """
    reason = "tool_calls" if called else "stop"
    if incomplete:
        details = response.incomplete_details
        word = details.get("reason") if isinstance(details, dict) else None
        reason = _REASONS.get(word, "length") if isinstance(word, str) else "length"
    usage = read_usage(response.usage)
    return [ChoiceFinished(reason), *([] if usage is None else [usage]), StreamFinished(reason)]


def read_failure(error: object) -> StreamFailed:
    """The error of a failed response or of an `error` event, which should be an object with a code and a message."""
    failed = failure_event(error)
    return msgspec.structs.replace(failed, status=_STATUS.get(failed.code, failed.status), error=None)
