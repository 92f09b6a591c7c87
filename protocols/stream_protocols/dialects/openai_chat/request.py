"""Chat requests: what the gateway acts on is checked and named, and all else goes through as it came."""

from typing import Any, Final

import msgspec

from stream_protocols.errors import InvalidField
from stream_protocols.request import Lease, Request, check_lease, decode_fields, decode_members, raw

NAME: Final = "openai_chat"

MAX_CHOICES: Final = 128  # OpenAI's own limit on `n`; more would only multiply what a bad request costs

IMAGES: Final = frozenset({"image_url", "input_image", "image"})
"""Types of content parts that show a picture."""


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Fields(msgspec.Struct):
    model: str
    messages: list[dict[str, Any]]
    stream: bool | None = None
    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    stream_options: StreamOptions | None = None
    lease: Lease | None = None
    conversation: Any = None


class _Message(msgspec.Struct):
    content: Any = None


class _Needs(msgspec.Struct):
    messages: list[_Message]
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    reasoning_effort: Any = None
    reasoning: Any = None


def parse_request(body: bytes, *, native: bool = False) -> Request:
    """Read a request body (see `Dialect.parse_request`)."""
    fields = decode_fields(body, _Fields)
    if not fields.model:
        raise InvalidField("Field `model` is empty; name a model.", param="model")
    if not fields.messages:
        raise InvalidField("Field `messages` is empty; send at least one message.", param="messages")
    for index, message in enumerate(fields.messages):
        if not isinstance(message.get("role"), str):
            where = f"messages[{index}].role"
            raise InvalidField(f"Field `{where}` is missing or not a string.", param=where)
    choices = 1 if fields.n is None else fields.n
    if not 1 <= choices <= MAX_CHOICES:
        raise InvalidField(f"Field `n` must be from 1 to {MAX_CHOICES}, not {choices}.", param="n")
    options = fields.stream_options
    return Request(
        dialect=NAME,
        model=fields.model,
        stream=bool(fields.stream),
        body=body,
        choices=choices,
        include_usage=bool(options and options.include_usage),
        lease=None if fields.lease is None else check_lease(fields.lease),
        native=native,
        conversation_id=fields.conversation if isinstance(fields.conversation, str) else None,
    )


def patch(request: Request, *, model: str, stream: bool) -> bytes:
    """The client's JSON for a provider (see `Dialect.patch`)."""
    fields = decode_members(request.body)
    fields.pop("lease", None)
    fields.pop("conversation", None)
    fields["model"] = raw(model)
    if stream:
        fields["stream"] = raw(True)
        if request.native and not request.include_usage:
            options = msgspec.json.decode(fields.get("stream_options", b"null")) or {}
            fields["stream_options"] = raw({**options, "include_usage": True})
    else:
        fields.pop("stream", None)
        fields.pop("stream_options", None)
    return msgspec.json.encode(fields)


def needs(request: Request) -> frozenset[str]:
    """What a model must be able to do to answer (see `Dialect.needs`)."""
    fields = msgspec.json.decode(request.body, type=_Needs)
    parts = [part for message in fields.messages if isinstance(message.content, list) for part in message.content]
    found = {
        "tools": bool(fields.tools or fields.functions),
        "images": any(isinstance(part, dict) and part.get("type") in IMAGES for part in parts),
        "reasoning": bool(fields.reasoning_effort or fields.reasoning),
    }
    return frozenset(name for name, needed in found.items() if needed)


def continued(request: Request, text: str) -> Request:
    """The request for the rest of an answer (see `Dialect.continued`); fields that nobody here knows stay in it.

    A client may have put words into the assistant's mouth itself; then they and the text are one message.
    """
    fields = decode_members(request.body)
    messages = msgspec.json.decode(fields["messages"], type=list[msgspec.Raw])
    last = msgspec.json.decode(messages[-1])
    if last["role"] == "assistant" and isinstance(last.get("content"), str):
        messages[-1] = raw({**last, "content": last["content"] + text})
    else:
        messages.append(raw({"role": "assistant", "content": text}))
    fields["messages"] = raw(messages)
    return msgspec.structs.replace(request, body=msgspec.json.encode(fields))
