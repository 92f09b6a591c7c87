"""A generateContent request's body in neutral words."""

from collections.abc import Mapping, Sequence
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
    integer,
    number,
    objects,
    optional_object,
    refuse,
    string,
    strings,
)
from stream_protocols.dialects.gemini.calls import Calls
from stream_protocols.dialects.gemini.request import proto
from stream_protocols.dialects.gemini.schemas import json_schema
from stream_protocols.dialects.gemini.thinking import read_thinking
from stream_protocols.errors import InvalidField
from stream_protocols.request import Request

_ONLY_HERE: Final = ("cachedContent",)
_ONLY_HERE_OF_CONFIG: Final = ("responseLogprobs", "logprobs", "speechConfig", "imageConfig", "continuationToken")
"""Fields without which the answer would be another one, and which no other dialect has."""

_URL_SAFE: Final = str.maketrans("-_", "+/")


def read(request: Request) -> Conversation:
    """What a request asks (see `Dialect.read`)."""
    body = proto(msgspec.json.decode(request.body))
    refuse(body, _ONLY_HERE, "Gemini")
    config = proto(optional_object(body, "generationConfig") or {})
    _check_config(config)
    calls = Calls()
    messages = [
        _message(proto(content), f"contents[{index}]", calls) for index, content in enumerate(objects(body, "contents"))
    ]
    tools, choice = _offered(_tools(body), proto(optional_object(body, "toolConfig") or {}))
    effort, budget = read_thinking(proto(optional_object(config, "thinkingConfig", "generationConfig") or {}))
    top_k = number(config, "topK", "generationConfig")
    return Conversation(
        system=tuple(_system(optional_object(body, "systemInstruction"))),
        messages=tuple(messages),
        tools=tools,
        tool_choice=choice,
        max_tokens=integer(config, "maxOutputTokens", "generationConfig"),
        temperature=number(config, "temperature", "generationConfig"),
        top_p=number(config, "topP", "generationConfig"),
        top_k=None if top_k is None else int(top_k),
        stop=strings(config, "stopSequences", "generationConfig"),
        seed=integer(config, "seed", "generationConfig"),
        presence_penalty=number(config, "presencePenalty", "generationConfig"),
        frequency_penalty=number(config, "frequencyPenalty", "generationConfig"),
        choices=request.choices,
        format=_format(config),
        effort=effort,
        reasoning_tokens=budget,
    )


def _check_config(config: Mapping[str, Any]) -> None:
    refuse(config, _ONLY_HERE_OF_CONFIG, "Gemini")
    kinds = strings(config, "responseModalities", "generationConfig")
    if any(kind.upper() != "TEXT" for kind in kinds):
        where = "generationConfig.responseModalities"
        raise Untranslatable(f"Field `{where}` asks for more than text, all that this model gives.", param=where)


def _system(instruction: Mapping[str, Any] | None) -> list[str]:
    """Each part is an instruction of its own, as others' clients write them."""
    texts = []
    parts = [] if instruction is None else objects(instruction, "parts", "systemInstruction")
    for index, part in enumerate(parts):
        where = f"systemInstruction.parts[{index}]"
        text = string(part, "text", where)
        if text is None:
            raise Untranslatable(f"Field `{where}` has no text; instructions are text.", param=where)
        texts.append(text)
    return texts


# ---- turns


def _message(content: Mapping[str, Any], where: str, calls: Calls) -> Message:
    role = string(content, "role", where) or "user"
    if role not in ("user", "model", "function"):
        raise InvalidField(f"Field `{where}.role` must be user or model, not {role[:32]!r}.", param=f"{where}.role")
    parts: list[Part] = []
    for index, part in enumerate(objects(content, "parts", where)):
        parts += _part(proto(part), f"{where}.parts[{index}]", calls)
    return Message("assistant" if role == "model" else "user", tuple(parts))


def _part(part: Mapping[str, Any], where: str, calls: Calls) -> Sequence[Part]:
    """One part; nothing for one that only carries a signature, which nobody but Gemini can read."""
    if (call := optional_object(part, "functionCall", where)) is not None:
        return [_call(call, f"{where}.functionCall", calls)]
    if (result := optional_object(part, "functionResponse", where)) is not None:
        return [_result(proto(result), f"{where}.functionResponse", calls)]
    text = string(part, "text", where)
    if text is not None:
        if boolean(part, "thought", where):
            return [Reasoning(text, string(part, "thoughtSignature", where) or "")]
        return [Text(text)] if text else []
    return [_image(part, where)] if part.keys() - {"thought", "thoughtSignature"} else []


def _call(call: Mapping[str, Any], where: str, calls: Calls) -> ToolCall:
    name = string(call, "name", where) or ""
    arguments = msgspec.json.encode(optional_object(call, "args", where) or {}).decode()
    return ToolCall(calls.begin(name, string(call, "id", where)), name, arguments)


def _result(result: Mapping[str, Any], where: str, calls: Calls) -> ToolResult:
    name = string(result, "name", where) or ""
    response = optional_object(result, "response", where) or {}
    content: list[Text | Image] = [Text(_shown(response))]
    content += [
        _image(proto(part), f"{where}.parts[{index}]") for index, part in enumerate(objects(result, "parts", where))
    ]
    identity = calls.answer(name, string(result, "id", where))
    return ToolResult(identity, tuple(content), name, failed=response.keys() == {"error"})


def _shown(response: Mapping[str, Any]) -> str:
    """A result as text: the text itself where that is all, the way Gemini's own clients wrap it, otherwise JSON."""
    if len(response) == 1:
        for name in ("result", "output", "error", "content"):
            if isinstance(text := response.get(name), str):
                return text
    return msgspec.json.encode(response).decode()


def _image(part: Mapping[str, Any], where: str) -> Image:
    if (blob := optional_object(part, "inlineData", where)) is not None:
        blob = proto(blob)
        kind = _image_type(blob, f"{where}.inlineData")
        data = (string(blob, "data", f"{where}.inlineData") or "").translate(_URL_SAFE)
        return Image(data=data + "=" * (-len(data) % 4), media_type=kind)
    if (file := optional_object(part, "fileData", where)) is not None:
        file = proto(file)
        url = string(file, "fileUri", f"{where}.fileData") or ""
        if not url.startswith(("http://", "https://")) or "://generativelanguage.googleapis.com/" in url:
            raise Untranslatable(
                f"Field `{where}.fileData.fileUri` is a file that only Google can read; send it inline.",
                param=f"{where}.fileData.fileUri",
            )
        return Image(url=url, media_type=_image_type(file, f"{where}.fileData"))
    kinds = ", ".join(sorted(part.keys() - {"thought", "thoughtSignature"}))[:64]
    raise Untranslatable(f"Field `{where}` is of a kind ({kinds}) that this model does not take.", param=where)


def _image_type(data: Mapping[str, Any], where: str) -> str:
    kind = (string(data, "mimeType", where) or "").lower()
    if not kind.startswith("image/"):
        raise Untranslatable(
            f"Field `{where}.mimeType` is {kind[:64]!r}; this model takes text and images.", param=f"{where}.mimeType"
        )
    return kind


# ---- tools


def _tools(body: Mapping[str, Any]) -> list[Tool]:
    tools = []
    for index, group in enumerate(objects(body, "tools")):
        group, where = proto(group), f"tools[{index}]"
        own = sorted(name for name in group.keys() - {"functionDeclarations"} if group[name] is not None)
        if own:
            where = f"{where}.{own[0]}"
            raise Untranslatable(f"Field `{where}` is Gemini's own tool, which this model has not.", param=where)
        for position, function in enumerate(objects(group, "functionDeclarations", where)):
            tools.append(_tool(proto(function), f"{where}.functionDeclarations[{position}]"))
    return tools


def _tool(function: Mapping[str, Any], where: str) -> Tool:
    parameters = optional_object(function, "parametersJsonSchema", where)
    if parameters is None and (schema := optional_object(function, "parameters", where)) is not None:
        parameters = json_schema(schema)
    return Tool(string(function, "name", where) or "", string(function, "description", where) or "", parameters)


def _offered(tools: Sequence[Tool], config: Mapping[str, Any]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """The tools that may be called, and how. Others have no list of allowed ones: what is not on it is not offered."""
    where = "toolConfig.functionCallingConfig"
    calling = proto(optional_object(config, "functionCallingConfig", "toolConfig") or {})
    mode = (string(calling, "mode", where) or "").upper()
    allowed = strings(calling, "allowedFunctionNames", where)
    if allowed and mode in ("ANY", "VALIDATED"):
        tools = [tool for tool in tools if tool.name in allowed]
    match mode:
        case "" | "MODE_UNSPECIFIED":
            return tuple(tools), None
        case "AUTO" | "VALIDATED":
            return tuple(tools), "auto"
        case "NONE":
            return tuple(tools), "none"
        case "ANY":
            return tuple(tools), NamedTool(allowed[0]) if len(allowed) == 1 else "required"
    raise InvalidField(f"Field `{where}.mode` must be AUTO, ANY, NONE or VALIDATED.", param=f"{where}.mode")


def _format(config: Mapping[str, Any]) -> Format | None:
    kind = string(config, "responseMimeType", "generationConfig") or "text/plain"
    schema = optional_object(config, "responseJsonSchema", "generationConfig")
    if schema is None and (given := optional_object(config, "responseSchema", "generationConfig")) is not None:
        schema = json_schema(given)
    match kind:
        case "text/plain":
            return None
        case "application/json":
            return Format(schema)
    where = "generationConfig.responseMimeType"
    raise Untranslatable(f"Field `{where}` is {kind[:64]!r}; this model gives text or JSON.", param=where)
