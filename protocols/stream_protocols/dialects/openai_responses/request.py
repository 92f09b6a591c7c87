"""Requests for a response: what the gateway acts on is checked and named, and all else goes through as it came."""

from typing import Any, Final

import msgspec

from stream_protocols.errors import InvalidField
from stream_protocols.request import Lease, Request, check_lease, check_model, decode_fields, decode_members, raw

NAME: Final = "openai_responses"

MAX_ECHO: Final = 16_384
"""Bytes of a request's settings that its response repeats, three times in a stream and for as long as that is kept."""

_ECHOED: Final = (
    *("background", "max_output_tokens", "metadata", "parallel_tool_calls", "previous_response_id", "reasoning"),
    *("store", "temperature", "text", "tool_choice", "top_p", "truncation", "user", "instructions", "tools"),
)
"""The settings that a response repeats; those that may be long are last, so that they are the first to be left out."""

_ELSEWHERE: Final = ("previous_response_id", "conversation", "prompt")
"""Where the input may be instead of in the request."""


class _Fields(msgspec.Struct):
    model: str
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    stream: bool | None = None
    background: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[dict[str, Any]] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    lease: Lease | None = None


def parse_request(body: bytes, *, native: bool = False) -> Request:
    """Read a request body (see `Dialect.parse_request`).

    `background` is the gateway's to keep, whoever the provider is: the generation gets a lease of "finish".
    """
    fields = decode_fields(body, _Fields)
    check_model(fields.model)
    if not fields.input and not any(getattr(fields, name) for name in _ELSEWHERE):
        state = "missing" if fields.input is None else "empty"
        raise InvalidField(f"Field `input` is {state}; send a text or a list of items.", param="input")
    background = bool(fields.background)
    lease = "finish" if background and fields.lease is None else fields.lease
    return Request(
        dialect=NAME,
        model=fields.model,
        stream=bool(fields.stream),
        body=body,
        lease=None if lease is None else check_lease(lease),
        background=background,
        native=native,
    )


def patch(request: Request, *, model: str, stream: bool) -> bytes:
    """The client's JSON for a provider (see `Dialect.patch`)."""
    fields = decode_members(request.body)
    for name in ("lease", "background"):
        fields.pop(name, None)
    fields["model"] = raw(model)
    if stream:
        fields["stream"] = raw(True)
    else:
        fields.pop("stream", None)
        fields.pop("stream_options", None)
    return msgspec.json.encode(fields)


def echo(request: Request) -> bytes:
    """The settings of a request that its response repeats, as JSON of at most `MAX_ECHO` bytes."""
    fields = decode_members(request.body)
    kept: dict[str, msgspec.Raw] = {}
    size = 0
    for name in _ECHOED:
        value = fields.get(name)
        if value is None or bytes(value) == b"null":
            continue
        size += len(name) + len(bytes(value)) + len('"":,')
        if size > MAX_ECHO - len("{}"):
            break
        kept[name] = value
    return msgspec.json.encode(kept)
