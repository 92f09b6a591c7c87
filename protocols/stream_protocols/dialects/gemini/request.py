"""Gemini's requests: what the gateway acts on is checked and named, and all else goes through as it came.

The model, and whether to stream, stand in the path. Names of fields may be written in camelCase or in snake_case, as
protocol buffers' JSON has it.
"""

import re
from typing import Any, Final

import msgspec

from stream_protocols.dialects.fields import integer
from stream_protocols.errors import InvalidField
from stream_protocols.request import Lease, Request, check_lease, decode_fields, decode_members, raw

NAME: Final = "gemini"

MAX_CHOICES: Final = 128
"""As in the other dialects; Gemini's own limit on `candidateCount` is 8."""

_SNAKE: Final = re.compile("_([a-z])")
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9._~-]")


class _Fields(msgspec.Struct):
    contents: list[dict[str, Any]]
    generation_config: dict[str, Any] | None = None
    other_generation_config: dict[str, Any] | None = msgspec.field(default=None, name="generationConfig")
    lease: Lease | None = None


def proto(fields: dict[str, Any]) -> dict[str, Any]:
    """A message's members under their camelCase names, however they were written."""
    return {_SNAKE.sub(lambda match: match[1].upper(), name): value for name, value in fields.items()}


def parse_request(body: bytes, *, model: str, stream: bool) -> Request:
    """Read a request body (see `Dialect.parse_request`)."""
    if not model:
        raise InvalidField("The path names no model.", param="model")
    fields = decode_fields(body, _Fields)
    if not fields.contents:
        raise InvalidField("Field `contents` is empty; send at least one content.", param="contents")
    config = proto(fields.other_generation_config or fields.generation_config or {})
    choices = integer(config, "candidateCount", "generationConfig") or 1
    if not 1 <= choices <= MAX_CHOICES:
        where = "generationConfig.candidateCount"
        raise InvalidField(f"Field `{where}` must be from 1 to {MAX_CHOICES}, not {choices}.", param=where)
    return Request(
        dialect=NAME,
        model=model,
        stream=stream,
        body=body,
        choices=choices,
        lease=None if fields.lease is None else check_lease(fields.lease),
    )


def patch(request: Request, *, model: str) -> bytes:
    """The client's JSON for a provider (see `Dialect.patch`)."""
    return _named(request.body, model)


def continued(request: Request, text: str) -> Request:
    """The request for the rest of an answer (see `Dialect.continued`); fields that nobody here knows stay in it.

    A client may have put words into the model's mouth itself; then they and the text are one turn.
    """
    members = decode_members(request.body)
    contents = msgspec.json.decode(members["contents"], type=list[msgspec.Raw])
    last = msgspec.json.decode(contents[-1])
    if last.get("role") == "model":
        contents[-1] = raw({**last, "parts": [*(last.get("parts") or ()), {"text": text}]})
    else:
        contents.append(raw({"role": "model", "parts": [{"text": text}]}))
    members["contents"] = raw(contents)
    return msgspec.structs.replace(request, body=msgspec.json.encode(members))


def patch_count(body: bytes, *, model: str) -> bytes:
    """The same for a body that asks how many tokens a request has, which may stand inside of it, with its model.

    Raises:
        InvalidJson: it is no JSON object.
    """
    members = decode_fields(body, dict[str, msgspec.Raw])
    for name in ("generateContentRequest", "generate_content_request"):
        if bytes(members.get(name, b"")).startswith(b"{"):
            members[name] = msgspec.Raw(_named(bytes(members[name]), model))
            body = msgspec.json.encode(members)
    return _named(body, model)


def _named(body: bytes, model: str) -> bytes:
    """A body with the provider's name for the model, if it names one, and without what is the gateway's alone."""
    members = decode_members(body)
    if not members.keys() & {"lease", "model"}:
        return body
    members.pop("lease", None)
    if "model" in members:
        members["model"] = raw(_resource(model))
    return msgspec.json.encode(members)


def path(model: str, method: str) -> str:
    """Where a provider offers a method of a model. A name cannot lead anywhere else: what is no letter is escaped."""
    collection, _, name = _resource(model).partition("/")
    escaped = _UNSAFE.sub(lambda match: b"%%%02X" % ord(match[0]), name.encode("utf-8", "replace"))
    return f"/{collection}/{escaped.decode('ascii')}:{method}"


def _resource(model: str) -> str:
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
