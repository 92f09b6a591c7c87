"""A chat request as clients send it: the fields the gateway acts on, and all others untouched."""

import re
from typing import Any, Final, Literal

import msgspec

from stream_protocols.errors import InvalidField, InvalidJson

Lease = float | Literal["finish"]

MAX_CHOICES: Final = 128  # OpenAI's own limit on `n`; more would only multiply what a bad request costs
MAX_LEASE: Final = 86_400.0  # a day: a forgotten stream must end some time

IMAGES: Final = frozenset({"image_url", "input_image", "image"})
"""Types of content parts that show a picture."""

_PATH = re.compile(r"^(?P<what>.*) - at `\$(?P<path>[^`]*)`$", re.DOTALL)


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
    lease: float | Literal["finish"] | None = None
    conversation: Any = None


class _Message(msgspec.Struct):
    content: Any = None


class _Needs(msgspec.Struct):
    messages: list[_Message]
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    reasoning_effort: Any = None
    reasoning: Any = None


class _Messages(msgspec.Struct):
    messages: list[dict[str, Any]]


class ChatRequest(msgspec.Struct, frozen=True):
    """What a client asks a model.

    `body` is the client's JSON as it came; `lease` is in seconds, None when the client did not say; `native`: the
    client speaks our own dialect, in which a stream tells its usage without being asked. `conversation_id`: what the
    client calls the conversation that this belongs to, if it says so.
    """

    model: str
    stream: bool
    choices: int
    include_usage: bool
    lease: Lease | None
    body: bytes
    native: bool = False
    conversation_id: str | None = None

    def needs(self) -> frozenset[str]:
        """What a model must be able to do to answer: `tools`, `images`, `reasoning`."""
        fields = msgspec.json.decode(self.body, type=_Needs)
        parts = [part for message in fields.messages if isinstance(message.content, list) for part in message.content]
        found = {
            "tools": bool(fields.tools or fields.functions),
            "images": any(isinstance(part, dict) and part.get("type") in IMAGES for part in parts),
            "reasoning": bool(fields.reasoning_effort or fields.reasoning),
        }
        return frozenset(name for name, needed in found.items() if needed)

    def continued(self, text: str) -> "ChatRequest":
        """The request for the rest of an answer that began with `text`: it is given back as the assistant's words.

        A client may have put words into the assistant's mouth itself; then they and the text are one message.
        """
        if not text:
            return self
        fields = msgspec.json.decode(self.body, type=dict[str, msgspec.Raw])
        messages = msgspec.json.decode(fields["messages"], type=list[msgspec.Raw])
        last = msgspec.json.decode(messages[-1])
        if last["role"] == "assistant" and isinstance(last.get("content"), str):
            messages[-1] = _raw({**last, "content": last["content"] + text})
        else:
            messages.append(_raw({"role": "assistant", "content": text}))
        fields["messages"] = _raw(messages)
        return msgspec.structs.replace(self, body=msgspec.json.encode(fields))

    def messages(self) -> list[dict[str, Any]]:
        """The messages. Read again from the body, so that a running stream need not keep them."""
        return msgspec.json.decode(self.body, type=_Messages).messages

    def upstream_body(self, *, model: str, stream: bool) -> bytes:
        """The client's JSON for a provider: order and unknown fields as they came.

        Args:
            model: the provider's name for the model.
            stream: whether the provider is to stream.
        """
        fields = msgspec.json.decode(self.body, type=dict[str, msgspec.Raw])
        fields.pop("lease", None)
        fields.pop("conversation", None)
        fields["model"] = _raw(model)
        if stream:
            fields["stream"] = _raw(True)
            if self.native and not self.include_usage:
                options = msgspec.json.decode(fields.get("stream_options", b"null")) or {}
                fields["stream_options"] = _raw({**options, "include_usage": True})
        else:
            fields.pop("stream", None)
            fields.pop("stream_options", None)
        return msgspec.json.encode(fields)


def parse_request(body: bytes, *, native: bool = False) -> ChatRequest:
    """Read a request body; `native` as in `ChatRequest`.

    Raises:
        InvalidJson: it is not UTF-8, not JSON, or not an object.
        InvalidField: a field the gateway acts on is missing or has the wrong type; `param` names it.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The request body is not valid UTF-8 (byte {error.start}).") from None
    try:
        fields = msgspec.json.decode(body, type=_Fields)
    except msgspec.ValidationError as error:
        _check_syntax(body)  # a field may be wrong only because the text after it is no JSON
        raise invalid_field(str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid_json(error) from None
    return _checked(fields, body, native)


def _check_syntax(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid_json(error) from None


def _invalid_json(error: Exception) -> InvalidJson:
    return InvalidJson(f"The request body is not valid JSON: {error}.")


def invalid_field(text: str) -> InvalidField | InvalidJson:
    """msgspec's sentence about the first field that is wrong, as ours.

    `Expected `str`, got `int` - at `$.model`` becomes a message about `model`, with `param="model"`.
    """
    match = _PATH.match(text)
    if match is not None:
        path = match["path"].removeprefix(".")
        return InvalidField(f"Field `{path}` is wrong: {_lower(match['what'])}.", param=path)
    missing = re.search(r"missing required field `([^`]+)`", text)
    if missing is not None:
        return InvalidField(f"Field `{missing[1]}` is missing.", param=missing[1])
    return InvalidJson(f"The request body must be a JSON object: {_lower(text)}.")


def _checked(fields: _Fields, body: bytes, native: bool) -> ChatRequest:
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
    return ChatRequest(
        model=fields.model,
        stream=bool(fields.stream),
        choices=choices,
        include_usage=bool(options and options.include_usage),
        lease=None if fields.lease is None else check_lease(fields.lease),
        body=body,
        native=native,
        conversation_id=fields.conversation if isinstance(fields.conversation, str) else None,
    )


def check_lease(lease: Lease) -> Lease:
    """A lease within its limits, or InvalidField."""
    if lease != "finish" and not 0 <= lease <= MAX_LEASE:
        message = f'Field `lease` must be "finish" or seconds from 0 to {MAX_LEASE:.0f}, not {lease}.'
        raise InvalidField(message, param="lease")
    return lease


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text else text
