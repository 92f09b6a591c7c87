"""A conversation as the body of a messages request."""

import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypeGuard

import msgspec

from stream_protocols.conversation import (
    Conversation,
    Format,
    Image,
    NamedTool,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Untranslatable,
)
from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.anthropic.models import takes_sampling
from stream_protocols.dialects.anthropic.thinking import write_thinking
from stream_protocols.dialects.fields import said

DEFAULT_MAX_TOKENS: Final = 32_000
"""Anthropic requires a limit where others do not: every model since Claude 4 gives so much at least."""

MAX_TEMPERATURE: Final = 1.0
"""OpenAI's and Gemini's scale goes on to 2: what is hotter than Anthropic knows is told as its hottest."""

_Said: TypeAlias = Text | Image | ToolCall | ToolResult

_NO_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")


def write(conversation: Conversation, *, model: str, stream: bool) -> bytes:
    """The body of a request (see `Dialect.write`)."""
    _refuse(conversation)
    limit = DEFAULT_MAX_TOKENS if conversation.max_tokens is None else conversation.max_tokens
    thinking, effort = write_thinking(conversation, model, limit)
    # A model that thinks takes no sampling settings either.
    sampled = takes_sampling(model) and (thinking is None or thinking["type"] == "disabled")
    temperature = conversation.temperature
    body = said(
        model=model,
        max_tokens=limit,
        system=_system(conversation.system),
        messages=_messages(conversation),
        tools=[_tool(tool) for tool in conversation.tools] or None,
        tool_choice=_tool_choice(conversation) if conversation.tools else None,
        temperature=min(temperature, MAX_TEMPERATURE) if temperature is not None and sampled else None,
        top_p=conversation.top_p if sampled else None,
        top_k=conversation.top_k if sampled else None,
        stop_sequences=list(conversation.stop) or None,
        thinking=thinking,
        output_config=said(effort=effort, format=_format(conversation.format)) or None,
        metadata={"user_id": conversation.user} if conversation.user else None,
    )
    if stream:
        body["stream"] = True
    return msgspec.json.encode(body)


def _refuse(conversation: Conversation) -> None:
    """Refuse what Anthropic has no words for and what would make another answer (`seed` never promised the same one).

    Raises:
        Untranslatable: there is some of it.
    """
    if conversation.choices > 1:
        raise Untranslatable("This model gives one answer at a time; ask for `n` = 1.", param="n")
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(conversation, name):
            raise Untranslatable(f"This model has no `{name}`; leave it out.", param=name)
    if any(not stop.strip() for stop in conversation.stop):
        raise Untranslatable("This model cannot stop at white space alone; leave it out of `stop`.", param="stop")
    if conversation.format is not None and conversation.format.schema is None:
        raise Untranslatable(
            "This model gives JSON of a schema only; ask for `response_format` of type json_schema.",
            param="response_format",
        )


def _system(instructions: Sequence[str]) -> str | list[dict[str, Any]] | None:
    texts = [text for text in instructions if text.strip()]
    return texts[0] if len(texts) == 1 else [_block(Text(text)) for text in texts] or None


def _messages(conversation: Conversation) -> list[dict[str, Any]]:
    """Turns that alternate: neighbours of one role are joined, and a turn that says nothing is none."""
    turns: list[tuple[str, list[_Said]]] = []
    for message in conversation.messages:
        parts = [part for part in message.parts if _says_something(part)]
        if turns and turns[-1][0] == message.role:
            turns[-1][1].extend(parts)
        elif parts:
            turns.append((message.role, parts))
    if not turns:
        raise Untranslatable("This model needs at least one message that says something.", param="messages")
    messages = [{"role": role, "content": _blocks(parts)} for role, parts in turns]
    _trim_prefill(messages[-1])
    return messages


def _says_something(part: Part) -> TypeGuard[_Said]:
    """Blank texts are refused as blocks; the signature of reasoning, if it has one, is another vendor's."""
    return bool(part.text.strip()) if isinstance(part, Text) else not isinstance(part, Reasoning)


def _trim_prefill(last: dict[str, Any]) -> None:
    """An answer that the model is to go on with must not end in white space."""
    block = last["content"][-1]
    if last["role"] == "assistant" and block["type"] == "text":
        block["text"] = block["text"].rstrip()


def _blocks(parts: Sequence[_Said]) -> list[dict[str, Any]]:
    """The content of one turn. Results come first, directly after their calls, as Anthropic insists."""
    return [_block(part) for part in sorted(parts, key=lambda part: not isinstance(part, ToolResult))]


def _block(part: _Said) -> dict[str, Any]:
    match part:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Image():
            return {"type": "image", "source": _source(part)}
        case ToolCall():
            return _tool_use(part)
        case ToolResult():
            return _tool_result(part)


def _source(image: Image) -> dict[str, Any]:
    if image.url:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _tool_result(result: ToolResult) -> dict[str, Any]:
    return said(
        type="tool_result",
        tool_use_id=_id(result.id),
        content=[_block(part) for part in result.content if _says_something(part)] or None,
        is_error=result.failed or None,
    )


def _tool_use(call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments or "{}"
    try:
        given = msgspec.json.decode(arguments)
    except NOT_JSON:
        given = None
    if not isinstance(given, dict):
        raise Untranslatable(
            f"The arguments of tool call {call.id[:64]!r} are not a JSON object, which this model insists on.",
            param="messages",
        )
    return {"type": "tool_use", "id": _id(call.id), "name": call.name, "input": msgspec.Raw(arguments.encode())}


def _id(text: str) -> str:
    """A call's id in the characters that Anthropic takes."""
    return _NO_ID.sub("_", text) or "call"


def _tool(tool: Tool) -> dict[str, Any]:
    schema = tool.parameters or {"type": "object", "properties": {}}
    return said(
        name=tool.name,
        description=tool.description or None,
        input_schema={"type": "object", **schema},
        strict=tool.strict,
    )


def _tool_choice(conversation: Conversation) -> dict[str, Any] | None:
    alone = {"disable_parallel_tool_use": True} if conversation.parallel_tool_calls is False else {}
    match conversation.tool_choice:
        case "none":
            return {"type": "none"}
        case "required":
            return {"type": "any", **alone}
        case NamedTool(name=name):
            return {"type": "tool", "name": name, **alone}
        case "auto":
            return {"type": "auto", **alone}
    return {"type": "auto", **alone} if alone else None


def _format(given: Format | None) -> dict[str, Any] | None:
    return None if given is None else {"type": "json_schema", "schema": given.schema}
