"""A chat request's body in neutral words."""

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
from stream_protocols.dialects.fields import (
    boolean,
    content_of,
    data_url,
    function_of,
    integer,
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

_INSTRUCTIONS: Final = ("system", "developer")

_ONLY_HERE: Final = (
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "web_search_options",
)
"""Fields without which the answer would be another one, and which no other dialect has."""


def read(request: Request) -> Conversation:
    """What a chat request asks (see `Dialect.read`)."""
    body: dict[str, Any] = msgspec.json.decode(request.body)
    refuse(body, _ONLY_HERE, "OpenAI's chat completions")
    if "audio" in strings(body, "modalities"):
        raise Untranslatable("Field `modalities` asks for audio, which this model does not give.", param="modalities")
    system: list[str] = []
    messages: list[Message] = []
    names: dict[str, str] = {}
    for index, message in enumerate(objects(body, "messages")):
        where = f"messages[{index}]"
        if message.get("role") in _INSTRUCTIONS:
            system.append(text_of(message.get("content"), f"{where}.content"))
        else:
            messages.append(_message(message, where, names))
    limit = integer(body, "max_completion_tokens")
    return Conversation(
        system=tuple(system),
        messages=tuple(messages),
        tools=tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(objects(body, "tools"))),
        tool_choice=_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=boolean(body, "parallel_tool_calls"),
        max_tokens=integer(body, "max_tokens") if limit is None else limit,
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        stop=strings(body, "stop"),
        seed=integer(body, "seed"),
        presence_penalty=number(body, "presence_penalty"),
        frequency_penalty=number(body, "frequency_penalty"),
        choices=request.choices,
        format=_format(optional_object(body, "response_format")),
        effort=string(body, "reasoning_effort"),
        user=string(body, "user") or string(body, "safety_identifier"),
    )


def _message(message: Mapping[str, Any], where: str, names: dict[str, str]) -> Message:
    """One turn. `names` remembers what the calls' tools are called, for the results that follow."""
    match message.get("role"):
        case "user":
            return Message("user", content_of(message.get("content"), f"{where}.content", _part))
        case "assistant":
            return Message("assistant", tuple(_assistant(message, where, names)))
        case "tool":
            call = string(message, "tool_call_id", where) or ""
            content = content_of(message.get("content"), f"{where}.content", _part)
            return Message("user", (ToolResult(call, content, names.get(call, "")),))
        case role:
            raise Untranslatable(
                f"Field `{where}.role` is {role!r}, which this model has no word for; "
                "use system, developer, user, assistant or tool.",
                param=f"{where}.role",
            )


def _assistant(message: Mapping[str, Any], where: str, names: dict[str, str]) -> list[Part]:
    parts: list[Part] = []
    if reasoning := string(message, "reasoning_content", where):
        parts.append(Reasoning(reasoning))
    if message.get("content") is not None:
        parts += content_of(message["content"], f"{where}.content", _part)
    if refusal := string(message, "refusal", where):
        parts.append(Text(refusal))
    for index, call in enumerate(objects(message, "tool_calls", where)):
        here = f"{where}.tool_calls[{index}]"
        function = optional_object(call, "function", here)
        if function is None:
            raise Untranslatable(f"Field `{here}` is no function call, the only kind this model knows.", param=here)
        name = string(function, "name", f"{here}.function") or ""
        names[identity := string(call, "id", here) or ""] = name
        parts.append(ToolCall(identity, name, string(function, "arguments", here) or "{}"))
    return parts


def _part(part: Mapping[str, Any], where: str) -> Text | Image:
    match part.get("type"):
        case "text":
            return Text(string(part, "text", where) or "")
        case "refusal":
            return Text(string(part, "refusal", where) or "")
        case "image_url":
            image = optional_object(part, "image_url", where) or {}
            detail = string(image, "detail", f"{where}.image_url") or ""
            return data_url(string(image, "url", f"{where}.image_url") or "", detail)
        case kind:
            raise Untranslatable(f"Field `{where}` is of type {kind!r}; this model takes text and images.", param=where)


def _tool(tool: Mapping[str, Any], where: str) -> Tool:
    function = optional_object(tool, "function", where)
    if tool.get("type", "function") != "function" or function is None:
        raise Untranslatable(
            f"Field `{where}` is of type {tool.get('type')!r}; this model knows functions.", param=where
        )
    return function_of(function, f"{where}.function")


def _tool_choice(choice: object) -> ToolChoice | None:
    match choice:
        case None | "auto" | "none" | "required":
            return choice
        case {"type": "function", "function": {"name": str(name)}}:
            return NamedTool(name)
        case {"type": str(kind)} if kind != "function":
            raise Untranslatable(
                f"Field `tool_choice` is of type {kind!r}, which this model does not know.", param="tool_choice"
            )
        case _:
            raise InvalidField(
                "Field `tool_choice` must be auto, none, required, or name a function.", param="tool_choice"
            )


def _format(given: Mapping[str, Any] | None) -> Format | None:
    match given:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return Format()
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)} as named}:
            name = string(named, "name", "response_format.json_schema") or "answer"
            return Format(schema, name, boolean(named, "strict", "response_format.json_schema"))
        case _:
            message = "Field `response_format` must be of type text, json_object, or json_schema with a schema."
            raise InvalidField(message, param="response_format")
