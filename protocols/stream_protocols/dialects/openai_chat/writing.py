"""A conversation as the body of a chat request."""

from collections.abc import Iterator
from typing import Any

import msgspec

from stream_protocols.conversation import (
    Conversation,
    Format,
    Image,
    Message,
    NamedTool,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from stream_protocols.dialects.fields import image_url, said


def write(conversation: Conversation, *, model: str, stream: bool) -> bytes:
    """The body of a request (see `Dialect.write`). Every field of a conversation has a word here but `top_k`."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": text} for text in conversation.system]
    for message in conversation.messages:
        messages += _messages(message)
    body = said(
        model=model,
        messages=messages,
        tools=[_tool(tool) for tool in conversation.tools] or None,
        tool_choice=_tool_choice(conversation.tool_choice),
        parallel_tool_calls=conversation.parallel_tool_calls if conversation.tools else None,
        max_completion_tokens=conversation.max_tokens,
        temperature=conversation.temperature,
        top_p=conversation.top_p,
        stop=list(conversation.stop) or None,
        seed=conversation.seed,
        presence_penalty=conversation.presence_penalty,
        frequency_penalty=conversation.frequency_penalty,
        n=conversation.choices if conversation.choices > 1 else None,
        response_format=_format(conversation.format),
        reasoning_effort=conversation.effort,
        user=conversation.user,
    )
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(body)


def _messages(message: Message) -> Iterator[dict[str, Any]]:
    """One turn, which may be several messages here: each tool result is one of its own."""
    if message.role == "assistant":
        yield _assistant(message)
        return
    rest: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            yield {"role": "tool", "tool_call_id": part.id, "content": _content(part.content)}
        else:
            rest.append(part)
    if rest or not message.parts:
        yield {"role": "user", "content": _content(rest)}


def _assistant(message: Message) -> dict[str, Any]:
    """Reasoning is not said again: nobody but its own vendor knows what to do with it."""
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    calls = [_tool_call(part) for part in message.parts if isinstance(part, ToolCall)]
    return {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        **({"tool_calls": calls} if calls else {}),
    }


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _content(parts: list[Part] | tuple[Text | Image, ...]) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text  # every server takes this form, and not every one takes parts
    return [_part(part) for part in parts if isinstance(part, Text | Image)]


def _part(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    return {"type": "image_url", "image_url": said(url=image_url(part), detail=part.detail or None)}


def _tool(tool: Tool) -> dict[str, Any]:
    function = said(
        name=tool.name, description=tool.description or None, parameters=tool.parameters, strict=tool.strict
    )
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice | None) -> Any:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice


def _format(given: Format | None) -> dict[str, Any] | None:
    if given is None:
        return None
    if given.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": said(name=given.name, schema=given.schema, strict=given.strict)}
