"""Messages requests: what the gateway acts on is checked and named, and all else goes through as it came."""

import re
from typing import Any, Final

import msgspec

from stream_protocols.errors import InvalidField
from stream_protocols.request import Lease, Request, check_lease, decode_fields, decode_members, raw

NAME: Final = "anthropic"

_UNSIGNED: Final = re.compile(rb'"signature"\s*:\s*""')


class _Fields(msgspec.Struct, kw_only=True):
    model: str
    messages: list[dict[str, Any]]
    max_tokens: int | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[dict[str, Any]] | None = None
    lease: Lease | None = None


class _Asked(_Fields, kw_only=True):
    max_tokens: int


def parse_request(body: bytes, *, native: bool = False) -> Request:
    """Read a request body (see `Dialect.parse_request`)."""
    fields = _checked(body, _Asked)
    return Request(
        dialect=NAME,
        model=fields.model,
        stream=bool(fields.stream),
        body=body,
        lease=None if fields.lease is None else check_lease(fields.lease),
        native=native,
    )


def parse_count(body: bytes) -> Request:
    """Read the body of a request to count tokens; it may leave out what only an answer needs.

    Raises:
        InvalidJson, InvalidField: as `Dialect.parse_request`.
    """
    return Request(dialect=NAME, model=_checked(body, _Fields).model, stream=False, body=body)


def _checked(body: bytes, kind: type[_Fields]) -> _Fields:
    fields = decode_fields(body, kind)
    if not fields.model:
        raise InvalidField("Field `model` is empty; name a model.", param="model")
    if not fields.messages:
        raise InvalidField("Field `messages` is empty; send at least one message.", param="messages")
    if fields.max_tokens is not None and fields.max_tokens < 0:
        raise InvalidField(f"Field `max_tokens` must not be negative, but is {fields.max_tokens}.", param="max_tokens")
    for index, message in enumerate(fields.messages):
        if not isinstance(message.get("role"), str):
            where = f"messages[{index}].role"
            raise InvalidField(f"Field `{where}` is missing or not a string.", param=where)
    return fields


def patch(request: Request, *, model: str, stream: bool) -> bytes:
    """The client's JSON for a provider (see `Dialect.patch`)."""
    fields = decode_members(request.body)
    fields.pop("lease", None)
    fields["model"] = raw(model)
    if stream:
        fields["stream"] = raw(True)
    else:
        fields.pop("stream", None)
    if _UNSIGNED.search(request.body):
        fields["messages"] = raw(_signed(msgspec.json.decode(fields["messages"])))
    return msgspec.json.encode(fields)


def continued(request: Request, text: str) -> Request:
    """The request for the rest of an answer (see `Dialect.continued`); fields that nobody here knows stay in it.

    A client may have begun the answer itself: then its words and the text are one. White space at the end Anthropic
    refuses.
    """
    fields = decode_members(request.body)
    messages = msgspec.json.decode(fields["messages"], type=list[msgspec.Raw])
    last = msgspec.json.decode(messages[-1])
    content = last.get("content")
    if last["role"] != "assistant" or not isinstance(content, str | list):
        messages.append(raw({"role": "assistant", "content": text.rstrip()}))
    elif isinstance(content, str):
        messages[-1] = raw({**last, "content": (content + text).rstrip()})
    else:
        *before, words = content or [{}]
        if isinstance(words, dict) and isinstance(words.get("text"), str):
            text, content = words["text"] + text, before
        messages[-1] = raw({**last, "content": [*content, {"type": "text", "text": text.rstrip()}]})
    fields["messages"] = raw(messages)
    return msgspec.structs.replace(request, body=msgspec.json.encode(fields))


def _signed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages without the thinking that another vendor's model gave: it is unsigned, and Anthropic refuses it."""
    kept = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            blocks = [block for block in content if not _is_unsigned(block)]
            if content and not blocks:
                continue
            message = {**message, "content": blocks}
        kept.append(message)
    return kept


def _is_unsigned(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") == "thinking" and block.get("signature") == ""
