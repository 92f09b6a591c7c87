"""A conversation as the body of a generateContent request."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from stream_protocols.conversation import (
    Conversation,
    Image,
    NamedTool,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Untranslatable,
)
from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.fields import said
from stream_protocols.dialects.gemini.models import is_newer
from stream_protocols.dialects.gemini.thinking import write_thinking

UNSIGNED: Final = "skip_thought_signature_validator"
"""What Google has in place of a signature for a function call that no model of its own has made.

From generation 3 on, a request is refused whose latest calls are not signed, and clients of other dialects have no
place to keep a signature.
"""

_SEEDS: Final = 2**31
"""A seed has 32 bits here: larger ones are folded, so that equal ones stay equal."""

_IMAGE_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
}


def write(conversation: Conversation, *, model: str) -> bytes:
    """The body of a request (see `Dialect.write`).

    Gemini has no word for one call at a time; a client that can take no more must not be given several.

    Raises:
        Untranslatable: there is something that Gemini has no words for.
    """
    if conversation.parallel_tool_calls is False and conversation.tools and conversation.tool_choice != "none":
        raise Untranslatable(
            "This model cannot be kept to one tool call at a time; leave out `parallel_tool_calls`.",
            param="parallel_tool_calls",
        )
    system = [{"text": text} for text in conversation.system if text]
    tools = [_tool(tool) for tool in conversation.tools]
    body = said(
        contents=_contents(conversation, signed=is_newer(model)),
        systemInstruction={"parts": system} if system else None,
        tools=[{"functionDeclarations": tools}] if tools else None,
        toolConfig=_tool_config(conversation) if tools else None,
        generationConfig=_config(conversation, model) or None,
    )
    return msgspec.json.encode(body)


def _config(conversation: Conversation, model: str) -> dict[str, Any]:
    schema = None if conversation.format is None else conversation.format.schema
    return said(
        maxOutputTokens=conversation.max_tokens,
        temperature=conversation.temperature,
        topP=conversation.top_p,
        topK=conversation.top_k,
        stopSequences=list(conversation.stop) or None,
        seed=None if conversation.seed is None else conversation.seed % _SEEDS,
        presencePenalty=conversation.presence_penalty,
        frequencyPenalty=conversation.frequency_penalty,
        candidateCount=conversation.choices if conversation.choices > 1 else None,
        responseMimeType=None if conversation.format is None else "application/json",
        responseJsonSchema=schema,
        thinkingConfig=write_thinking(conversation, model),
    )


# ---- turns


def _contents(conversation: Conversation, *, signed: bool) -> list[dict[str, Any]]:
    """Turns that alternate: neighbours of one role are joined, and a turn that says nothing is none."""
    names = {
        part.id: part.name
        for message in conversation.messages
        for part in message.parts
        if isinstance(part, ToolCall) and part.id
    }
    contents: list[dict[str, Any]] = []
    for message in conversation.messages:
        role = "model" if message.role == "assistant" else "user"
        parts = _parts(message.parts, names)
        if parts and contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})
    if not contents:
        raise Untranslatable("This model needs at least one message that says something.", param="messages")
    for content in contents if signed else ():
        _sign(content["parts"])
    return contents


def _sign(parts: Sequence[dict[str, Any]]) -> None:
    """Of several calls at once the first one is signed."""
    for part in parts:
        if "functionCall" in part:
            part["thoughtSignature"] = UNSIGNED
            return


def _parts(parts: Sequence[Part], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The content of one turn. Reasoning is not said again: its signature, if it has one, is another vendor's."""
    written: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Text(text=text) if text:
                written.append({"text": text})
            case Image():
                written.append(_image(part))
            case ToolCall():
                written.append(_call(part))
            case ToolResult():
                written += _result(part, names)
    return written


def _call(call: ToolCall) -> dict[str, Any]:
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
    return {"functionCall": said(id=call.id or None, name=call.name, args=msgspec.Raw(arguments.encode()))}


def _result(result: ToolResult, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A result, and after it its images, which have no place inside of it in models before generation 3."""
    name = result.name or names.get(result.id, "")
    if not name:
        raise Untranslatable(
            f"The result of tool call {result.id[:64]!r} is for no call of this conversation, and this model wants "
            "the tool's name.",
            param="messages",
        )
    text = "\n".join(part.text for part in result.content if isinstance(part, Text))
    response = {"error" if result.failed else "output": text}
    images = [_image(part) for part in result.content if isinstance(part, Image)]
    return [{"functionResponse": said(id=result.id or None, name=name, response=response)}, *images]


def _image(image: Image) -> dict[str, Any]:
    if image.url:
        ending = image.url.partition("?")[0].rpartition(".")[2].lower()
        kind = image.media_type or _IMAGE_TYPES.get(ending)
        return {"fileData": said(mimeType=kind, fileUri=image.url)}
    return {"inlineData": {"mimeType": image.media_type, "data": image.data}}


# ---- tools


def _tool(tool: Tool) -> dict[str, Any]:
    return said(name=tool.name, description=tool.description or None, parametersJsonSchema=tool.parameters)


def _tool_config(conversation: Conversation) -> dict[str, Any] | None:
    match conversation.tool_choice:
        case None:
            return None
        case NamedTool(name=name):
            calling: dict[str, Any] = {"mode": "ANY", "allowedFunctionNames": [name]}
        case "required":
            calling = {"mode": "ANY"}
        case choice:
            calling = {"mode": choice.upper()}
    return {"functionCallingConfig": calling}
