"""From neutral events to `chat.completion.chunk` payloads."""

from typing import Any

import msgspec

from stream_protocols.dialects.base import Source
from stream_protocols.dialects.openai_chat.decoder import DONE
from stream_protocols.dialects.openai_chat.shapes import usage_json
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_encode = msgspec.json.encode


class OpenAIChatEncoder:
    """Encodes for one stream (see `stream_protocols.dialects.Encoder` for the contract).

    Args:
        source: the stream it speaks for.
        include_usage: as in `stream_options.include_usage`: every chunk then has a `usage` member.
    """

    passthrough = "openai_chat"

    def __init__(self, source: Source, *, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._head = b'{"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":' % (
            _encode("chatcmpl-" + source.stream),
            source.created,
            _encode(source.model),
        )
        self._tail = b',"usage":null}' if include_usage else b"}"

    def encode(self, event: Event) -> bytes | None:
        """One chunk, `[DONE]`, an error object, or None for what the dialect has no words for."""
        if type(event) is TextDelta:
            # The hot one, written by hand.
            return b'%b[{"index":%d,"delta":{"content":%b},"finish_reason":null}]%b' % (
                self._head,
                event.choice,
                _encode(event.text),
                self._tail,
            )
        match event:
            case StreamStarted(choices=count):
                delta = {"role": "assistant", "content": ""}
                return self._chunk([_choice(index, delta) for index in range(count)])
            case ReasoningDelta(text=text, choice=choice):
                return self._chunk([_choice(choice, {"reasoning_content": text})])
            case RefusalDelta(text=text, choice=choice):
                return self._chunk([_choice(choice, {"refusal": text})])
            case ToolCallDelta():
                return self._chunk([_choice(event.choice, {"tool_calls": [_tool_call(event)]})])
            case ChoiceFinished(reason=reason, choice=choice):
                return self._chunk([_choice(choice, {}, reason)])
            case Usage(running=False) if self._include_usage:  # some clients add up what they are told
                return b'%b[],"usage":%b}' % (self._head, _encode(usage_json(event)))
            case StreamFinished():
                return DONE
            case StreamFailed() | StreamCancelled():
                return _encode({"error": error_json(event)})
        return None

    def _chunk(self, choices: list[dict[str, Any]]) -> bytes:
        return self._head + _encode(choices) + self._tail


def error_json(event: StreamFailed | StreamCancelled) -> dict[str, Any]:
    """The `error` member that says why a stream ended badly; the provider's own where there is one."""
    if isinstance(event, StreamCancelled):
        message = f"The stream was cancelled ({event.reason})."
        return {"message": message, "type": "cancelled", "param": None, "code": "stream_cancelled"}
    own = event.error or {}
    if isinstance(own.get("message"), str) and "status" not in own:  # which Google's have
        # Not every vendor's has a code, which is what OpenAI's clients go by.
        return own if "code" in own else {**own, "param": event.param, "code": event.code}
    return {"message": event.message, "type": event.error_type, "param": event.param, "code": event.code}


def _choice(index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason}


def _tool_call(event: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, str] = {"arguments": event.arguments}
    if not event.id and not event.name:
        return {"index": event.index, "function": function}
    return {
        "index": event.index,
        "id": event.id,
        "type": "function",
        "function": {"name": event.name, **function},
    }
