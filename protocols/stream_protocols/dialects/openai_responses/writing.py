"""A conversation as the body of a request for a response."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from stream_protocols.conversation import (
    Conversation,
    Format,
    Image,
    Message,
    NamedTool,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Untranslatable,
)
from stream_protocols.dialects.fields import image_url, said


def write(conversation: Conversation, *, model: str, stream: bool) -> bytes:
    """The body of a request (see `Dialect.write`).

    What another vendor's client sends is not stored at OpenAI unless it says so, which it has no word for.
    """
    _refuse(conversation)
    first, *others = conversation.system or (None,)
    items = [{"type": "message", "role": "developer", "content": text} for text in others]
    for turn in conversation.messages:
        items += _items(turn)
    body = said(
        model=model,
        instructions=first,
        input=items,
        tools=[_tool(tool) for tool in conversation.tools] or None,
        tool_choice=_tool_choice(conversation.tool_choice),
        parallel_tool_calls=conversation.parallel_tool_calls if conversation.tools else None,
        max_output_tokens=conversation.max_tokens,
        temperature=conversation.temperature,
        top_p=conversation.top_p,
        text=_format(conversation.format),
        reasoning=None if conversation.effort is None else {"effort": conversation.effort},
        user=conversation.user,
        store=False,
    )
    if stream:
        body["stream"] = True
    return msgspec.json.encode(body)


def _refuse(conversation: Conversation) -> None:
    """Refuse what cannot be asked for here. (`seed` and `top_k` make no answer wrong: they are dropped.)"""
    asked = {
        "stop": conversation.stop,
        "n": conversation.choices > 1,
        "presence_penalty": conversation.presence_penalty,
        "frequency_penalty": conversation.frequency_penalty,
    }
    for param, value in asked.items():
        if value:
            message = f"Field `{param}` has no counterpart in OpenAI's responses, by which this model is reached."
            raise Untranslatable(message, param=param)


def _items(turn: Message) -> Iterator[dict[str, Any]]:
    """One turn, which may be several items. Reasoning is not said again: nobody but its own vendor could use it."""
    shown: list[Text | Image] = []
    for part in turn.parts:
        if isinstance(part, Text | Image):
            shown.append(part)
        elif isinstance(part, ToolCall | ToolResult):
            yield from _message(turn.role, shown)
            shown = []
            yield _call(part) if isinstance(part, ToolCall) else _result(part)
    yield from _message(turn.role, shown)


def _message(role: str, parts: Sequence[Text | Image]) -> Iterator[dict[str, Any]]:
    if parts:
        word = "output_text" if role == "assistant" else "input_text"
        yield {"type": "message", "role": role, "content": _content(parts, word)}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _result(result: ToolResult) -> dict[str, Any]:
    output = _content(result.content, "input_text") if result.content else ""
    return {"type": "function_call_output", "call_id": result.id, "output": output}


def _content(parts: Sequence[Text | Image], word: str) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text  # every server takes this form, and not every one takes parts
    return [_part(part, word) for part in parts]


def _part(part: Text | Image, word: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": word, "text": part.text}
    return {"type": "input_image", "image_url": image_url(part), "detail": part.detail or "auto"}


def _tool(tool: Tool) -> dict[str, Any]:
    """A function. The members are required here, and `strict` is on where it is left out: chat's default is off."""
    return {
        "type": "function",
        "name": tool.name,
        **said(description=tool.description or None),
        "parameters": tool.parameters,
        "strict": bool(tool.strict),
    }


def _tool_choice(choice: ToolChoice | None) -> Any:
    if isinstance(choice, NamedTool):
        return {"type": "function", "name": choice.name}
    return choice


def _format(given: Format | None) -> dict[str, Any] | None:
    if given is None:
        return None
    if given.schema is None:
        return {"format": {"type": "json_object"}}
    schema = said(type="json_schema", name=given.name, schema=given.schema, strict=given.strict)
    return {"format": schema}
