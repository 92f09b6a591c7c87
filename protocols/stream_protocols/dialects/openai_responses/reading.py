"""A request for a response in neutral words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

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

Role = Literal["user", "assistant"]

_INSTRUCTIONS: Final = ("system", "developer")

_KEPT_ELSEWHERE: Final = ("previous_response_id", "conversation", "prompt")

_ONLY_HERE: Final = ("context_management", "moderation", "top_logprobs")
"""Fields without which the answer would be another one, and which no other dialect has."""

_LOGPROBS: Final = "message.output_text.logprobs"


def read(request: Request) -> Conversation:
    """What a request for a response asks (see `Dialect.read`)."""
    body: dict[str, Any] = msgspec.json.decode(request.body)
    for name in _KEPT_ELSEWHERE:
        if body.get(name):
            message = f"Field `{name}` names what OpenAI keeps, and this model is another vendor's; send it as `input`."
            raise Untranslatable(message, param=name)
    refuse(body, _ONLY_HERE, "OpenAI's responses")
    if _LOGPROBS in strings(body, "include"):
        raise Untranslatable(f"Field `include` asks for {_LOGPROBS}, which this model does not give.", param="include")
    instructions = string(body, "instructions")
    turns = _Turns([instructions] if instructions else [])
    given = body.get("input")
    if isinstance(given, str):
        turns.messages.append(("user", [Text(given)]))
    else:
        for index, item in enumerate(objects(body, "input")):
            turns.add(item, f"input[{index}]")
    tools = tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(objects(body, "tools")))
    choice, tools = _tool_choice(body.get("tool_choice"), tools)
    return Conversation(
        system=tuple(turns.system),
        messages=tuple(Message(role, tuple(parts)) for role, parts in turns.messages),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=boolean(body, "parallel_tool_calls"),
        max_tokens=integer(body, "max_output_tokens"),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        format=_format(optional_object(optional_object(body, "text") or {}, "format", "text")),
        effort=string(optional_object(body, "reasoning") or {}, "effort", "reasoning"),
        user=string(body, "safety_identifier") or string(body, "user"),
    )


class _Turns:
    """Items become turns: what a model said in one go (reasoning, a text, calls) is one, though it is several items."""

    def __init__(self, system: list[str]) -> None:
        self.system = system
        self.messages: list[tuple[Role, list[Part]]] = []
        self._names: dict[str, str] = {}  # what the calls' tools are called, for the results that follow

    def add(self, item: Mapping[str, Any], where: str) -> None:
        match item.get("type") or "message":
            case "message":
                self._message(item, where)
            case "reasoning":
                if text := _reasoning(item, where):
                    self._said(Reasoning(text))
            case "function_call":
                name = string(item, "name", where) or ""
                call = string(item, "call_id", where) or ""
                self._names[call] = name
                self._said(ToolCall(call, name, string(item, "arguments", where) or "{}"))
            case "function_call_output":
                call = string(item, "call_id", where) or ""
                content = content_of(item.get("output"), f"{where}.output", _part)
                self.messages.append(("user", [ToolResult(call, content, self._names.get(call, ""))]))
            case kind:
                raise Untranslatable(
                    f"Field `{where}` is of type {kind!r}, which only OpenAI's responses have; "
                    "this model takes messages, reasoning, function calls and their outputs.",
                    param=where,
                )

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        role, content = item.get("role"), item.get("content")
        if role in _INSTRUCTIONS:
            self.system.append(text_of(content, f"{where}.content"))
        elif role == "user":
            self.messages.append(("user", list(content_of(content, f"{where}.content", _part))))
        elif role == "assistant":
            self._said(*content_of(content, f"{where}.content", _part))
        else:
            message = f"Field `{where}.role` is {role!r}; use system, developer, user or assistant."
            raise InvalidField(message, param=f"{where}.role")

    def _said(self, *parts: Part) -> None:
        """The model's turn goes on, or begins: anew with reasoning, or with a text after one or after a call."""
        role, turn = self.messages[-1] if self.messages else ("user", [])
        first = next(iter(parts), None)
        silent = all(isinstance(part, Reasoning) for part in turn)
        if role == "assistant" and (isinstance(first, ToolCall) or (isinstance(first, Text | Image) and silent)):
            turn += parts
        else:
            self.messages.append(("assistant", list(parts)))


def _reasoning(item: Mapping[str, Any], where: str) -> str:
    """What was shown of it. What is encrypted in it only its own vendor could read."""
    parts = [*objects(item, "summary", where), *objects(item, "content", where)]
    return "\n\n".join(text for part in parts if (text := string(part, "text", where)))


def _part(part: Mapping[str, Any], where: str) -> Text | Image:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return Text(string(part, "text", where) or "")
        case "refusal":
            return Text(string(part, "refusal", where) or "")
        case "input_image":
            url = string(part, "image_url", where)
            if not url:
                message = (
                    f"Field `{where}` has no `image_url`; files that OpenAI keeps are not within this model's reach."
                )
                raise Untranslatable(message, param=where)
            detail = string(part, "detail", where) or "auto"
            return data_url(url, "" if detail == "auto" else detail)
        case kind:
            raise Untranslatable(f"Field `{where}` is of type {kind!r}; this model takes text and images.", param=where)


def _tool(tool: Mapping[str, Any], where: str) -> Tool:
    if tool.get("type") != "function":
        raise Untranslatable(
            f"Field `{where}` is of type {tool.get('type')!r}, which only OpenAI's responses have; "
            "this model knows functions.",
            param=where,
        )
    return function_of(tool, where)


def _tool_choice(choice: object, tools: tuple[Tool, ...]) -> tuple[ToolChoice | None, tuple[Tool, ...]]:
    """The choice, and the tools that it leaves: `allowed_tools` is a choice among fewer."""
    match choice:
        case None | "auto" | "none" | "required":
            return choice, tools
        case {"type": "function", "name": str(name)}:
            return NamedTool(name), tools
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": list(allowed)}:
            names = _names(allowed)
            return mode, tuple(tool for tool in tools if tool.name in names)
        case {"type": str(kind)} if kind not in ("function", "allowed_tools"):
            raise Untranslatable(
                f"Field `tool_choice` is of type {kind!r}, which this model does not know.", param="tool_choice"
            )
        case _:
            raise InvalidField(
                "Field `tool_choice` must be auto, none, required, name a function, or list allowed tools.",
                param="tool_choice",
            )


def _names(allowed: Sequence[object]) -> set[str]:
    entries = [entry.get("name") for entry in allowed if isinstance(entry, dict)]
    return {name for name in entries if isinstance(name, str)}


def _format(given: Mapping[str, Any] | None) -> Format | None:
    match given:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return Format()
        case {"type": "json_schema", "schema": dict(schema)}:
            name = string(given, "name", "text.format") or "answer"
            return Format(schema, name, boolean(given, "strict", "text.format"))
        case _:
            message = "Field `text.format` must be of type text, json_object, or json_schema with a schema."
            raise InvalidField(message, param="text.format")
