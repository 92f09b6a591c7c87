"""Messages requests and conversations, in a few words."""

import json
from typing import Any

from stream_protocols.conversation import Conversation, Message, Part, Text
from stream_protocols.dialects.anthropic import Anthropic
from stream_protocols.dialects.anthropic.request import parse_request
from stream_protocols.dialects.registry import conversation

ANTHROPIC = Anthropic()
HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}


def read(messages: Any = HI, **fields: Any) -> Conversation:
    """What a request with these messages and fields asks."""
    body = {"model": "m", "max_tokens": 100, "messages": messages, **fields}
    return conversation(parse_request(json.dumps(body).encode()))


def content(*blocks: dict[str, Any], role: str = "user") -> tuple[Part, ...]:
    """The parts of one message of these blocks."""
    (message,) = read([{"role": role, "content": list(blocks)}]).messages
    return message.parts


def written(asked: Conversation, *, model: str = "claude-haiku-4-5", stream: bool = False) -> dict[str, Any]:
    """The body of a request that asks this."""
    body: dict[str, Any] = json.loads(ANTHROPIC.write(asked, model=model, stream=stream))
    return body


def asks(*messages: Message, **fields: Any) -> Conversation:
    """A conversation of these messages."""
    return Conversation(messages=messages or (user("Hi"),), **fields)


def user(*texts: str) -> Message:
    """A turn of texts."""
    return Message("user", tuple(Text(text) for text in texts))


def assistant(*parts: Part) -> Message:
    """A turn of the model's."""
    return Message("assistant", parts)


def again(asked: Conversation) -> Conversation:
    """A conversation there and back."""
    return conversation(parse_request(ANTHROPIC.write(asked, model="up", stream=False)))
