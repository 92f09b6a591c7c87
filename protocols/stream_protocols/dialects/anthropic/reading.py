"""A messages request's body in neutral words."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stream_protocols.conversation import (
    Conversation,
    Format,
    Image,
    Message,
    NamedTool,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Untranslatable,
)
from stream_protocols.dialects.anthropic.thinking import read_thinking
from stream_protocols.dialects.fields import (
    boolean,
    content_of,
    function_of,
    integer,
    listed,
    number,
    objects,
    optional_object,
    refuse,
    string,
    strings,
    text_of,
)
from stream_protocols.errors import InvalidField
from stream_protocols.request import Request

_ONLY_HERE: Final = ("container", "inference_geo", "mcp_servers")
"""Fields without which the answer would be another one, or from elsewhere, and which no other dialect has."""


def read(request: Request) -> Conversation:
    """What a messages request asks (see `Dialect.read`)."""
    body: dict[str, Any] = msgspec.json.decode(request.body)
    refuse(body, _ONLY_HERE, "Anthropic's messages")
    system = _system(body.get("system"))
    messages: list[Message] = []
    names: dict[str, str] = {}
    for index, message in enumerate(objects(body, "messages")):
        where = f"messages[{index}]"
        if message.get("role") == "system":
            system.append(text_of(message.get("content"), f"{where}.content"))
        else:
            messages.append(_message(message, where, names))
    choice, parallel = _tool_choice(optional_object(body, "tool_choice"))
    effort, budget = read_thinking(body)
    return Conversation(
        system=tuple(system),
        messages=tuple(messages),
        tools=tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(objects(body, "tools"))),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        max_tokens=integer(body, "max_tokens"),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        top_k=integer(body, "top_k"),
        stop=strings(body, "stop_sequences"),
        format=_format(body),
        effort=effort,
        reasoning_tokens=budget,
        user=string(optional_object(body, "metadata") or {}, "user_id", "metadata"),
    )


def _system(content: object) -> list[str]:
    """Each block of instructions is one of its own, as others' clients write them."""
    if content is None or isinstance(content, str):
        return [content] if content else []
    return [text_of([block], "system") for block in listed(content, "system")]


def _message(message: Mapping[str, Any], where: str, names: dict[str, str]) -> Message:
    """One turn. `names` remembers what the calls' tools are called, for the results that follow."""
    role = message.get("role")
    if role not in ("user", "assistant"):
        raise InvalidField(f"Field `{where}.role` must be user or assistant, not {role!r}.", param=f"{where}.role")
    parts = _content(message.get("content"), f"{where}.content", names)
    return Message("user" if role == "user" else "assistant", tuple(parts))


def _content(content: object, where: str, names: dict[str, str]) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    parts: list[Part] = []
    for index, block in enumerate(listed(content, where)):
        part = _part(block, f"{where}[{index}]", names)
        if part is not None:
            parts.append(part)
    return parts


def _part(block: Mapping[str, Any], where: str, names: dict[str, str]) -> Part | None:
    """One block; None for what nobody but Anthropic can read, and nobody else misses."""
    match block.get("type"):
        case "thinking":
            return Reasoning(string(block, "thinking", where) or "", string(block, "signature", where) or "")
        case "redacted_thinking":
            return None
        case "tool_use":
            identity, name = string(block, "id", where) or "", string(block, "name", where) or ""
            names[identity] = name
            given = optional_object(block, "input", where) or {}
            return ToolCall(identity, name, msgspec.json.encode(given).decode())
        case "tool_result":
            return _tool_result(block, where, names)
    return _shown(block, where)


def _tool_result(block: Mapping[str, Any], where: str, names: dict[str, str]) -> ToolResult:
    call = string(block, "tool_use_id", where) or ""
    content = content_of(block.get("content"), f"{where}.content", _shown)
    return ToolResult(call, content, names.get(call, ""), bool(boolean(block, "is_error", where)))


def _shown(block: Mapping[str, Any], where: str) -> Text | Image:
    match block.get("type"):
        case "text":
            return Text(string(block, "text", where) or "")
        case "image":
            return _image(optional_object(block, "source", where) or {}, f"{where}.source")
        case kind:
            raise Untranslatable(f"Field `{where}` is of type {kind!r}; this model takes text and images.", param=where)


def _image(source: Mapping[str, Any], where: str) -> Image:
    match source.get("type"):
        case "base64":
            return Image(data=string(source, "data", where) or "", media_type=string(source, "media_type", where) or "")
        case "url":
            return Image(url=string(source, "url", where) or "")
        case kind:
            raise Untranslatable(
                f"Field `{where}` is of type {kind!r}; this model takes images as base64 or by url.", param=where
            )


def _tool(tool: Mapping[str, Any], where: str) -> Tool:
    kind = string(tool, "type", where)
    if kind not in (None, "custom"):
        raise Untranslatable(
            f"Field `{where}` is Anthropic's own tool {kind!r}, which this model has not.", param=where
        )
    return function_of(tool, where, "input_schema")


def _tool_choice(given: Mapping[str, Any] | None) -> tuple[ToolChoice | None, bool | None]:
    """How tools are to be used, and whether several at once."""
    if given is None:
        return None, None
    alone = boolean(given, "disable_parallel_tool_use", "tool_choice")
    parallel = None if alone is None else not alone
    match given:
        case {"type": "auto"}:
            return "auto", parallel
        case {"type": "any"}:
            return "required", parallel
        case {"type": "none"}:
            return "none", parallel
        case {"type": "tool", "name": str(name)}:
            return NamedTool(name), parallel
    raise InvalidField("Field `tool_choice` must be of type auto, any, none, or tool with a name.", param="tool_choice")


def _format(body: Mapping[str, Any]) -> Format | None:
    """The schema of the answer, in its place or in that which it had in the beta."""
    given = optional_object(optional_object(body, "output_config") or {}, "format", "output_config")
    where = "output_config.format"
    if given is None:
        given, where = optional_object(body, "output_format"), "output_format"
    match given:
        case None:
            return None
        case {"type": "json_schema", "schema": dict(schema)}:
            return Format(schema)
    raise InvalidField(f"Field `{where}` must be of type json_schema, with a schema.", param=where)
