"""A request for a generation, as far as the gateway acts on it; all else stays in the client's bytes."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from stream_protocols.errors import InvalidField, InvalidJson

Lease = float | Literal["finish"]

MAX_LEASE: Final = 86_400.0  # a day: a forgotten stream must end some time

T = TypeVar("T")

_PATH = re.compile(r"^(?P<what>.*) - at `\$(?P<path>[^`]*)`$", re.DOTALL)


class Request(msgspec.Struct, frozen=True):
    """What a client asks.

    Attributes:
        dialect: in which the body speaks.
        model: the public name.
        stream: whether the client wants the answer as it comes.
        body: the client's JSON as it came; only its dialect can read it.
        choices: how many answers it wants side by side.
        include_usage: it asked for usage inside the stream (OpenAI's `stream_options`).
        lease: seconds or "finish"; None when the client did not say.
        background: the client wants no answer but the id by which it can fetch one.
        native: the answer is told in our own dialect, in which a stream tells its usage without being asked.
        conversation_id: what the client calls the conversation that this belongs to, if it says so.
        headers: those of the client's headers that a provider of the same dialect should see, names in lower case.
    """

    dialect: str
    model: str
    stream: bool
    body: bytes
    choices: int = 1
    include_usage: bool = False
    lease: Lease | None = None
    background: bool = False
    native: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    conversation_id: str | None = None


def check_lease(lease: Lease) -> Lease:
    """A lease within its limits, or InvalidField."""
    if lease != "finish" and not 0 <= lease <= MAX_LEASE:
        message = f'Field `lease` must be "finish" or seconds from 0 to {MAX_LEASE:.0f}, not {lease}.'
        raise InvalidField(message, param="lease")
    return lease


def check_model(model: str) -> None:
    """InvalidField when no model is named."""
    if not model:
        raise InvalidField("Field `model` is empty; name a model.", param="model")


def check_messages(messages: Sequence[dict[str, Any]]) -> None:
    """InvalidField when there are no messages, or one whose role is no text."""
    if not messages:
        raise InvalidField("Field `messages` is empty; send at least one message.", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message.get("role"), str):
            where = f"messages[{index}].role"
            raise InvalidField(f"Field `{where}` is missing or not a string.", param=where)


def decode_fields(body: bytes, kind: type[T]) -> T:
    """Read the fields of a request body that a dialect knows; others are skipped.

    Raises:
        InvalidJson: it is not UTF-8, not JSON, or not an object.
        InvalidField: a field is missing or has the wrong type; `param` names it.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The request body is not valid UTF-8 (byte {error.start}).") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        _check_syntax(body)  # a field may be wrong only because the text after it is no JSON
        raise invalid_field(str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid_json(error) from None


def take_chunking(body: bytes) -> tuple[bytes, str | None]:
    """A body without the field `chunking`, which is for us alone, and that field.

    Raises:
        InvalidField: it is no string.
    """
    if b'"chunking"' not in body:
        return body, None
    try:
        members = decode_members(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body, None  # it has an error that its dialect tells better
    asked = members.pop("chunking", None)
    if asked is None:
        return body, None
    try:
        name = msgspec.json.decode(asked, type=str | None)
    except msgspec.ValidationError as error:
        raise InvalidField(f"Field `chunking` is wrong: {_lower(str(error))}.", param="chunking") from None
    return msgspec.json.encode(members), name


def fingerprint(body: bytes) -> bytes:
    """A digest of a request, the same for the same JSON however it came: by HTTP, or as a command on a socket."""
    return hashlib.sha256(msgspec.json.encode(msgspec.json.decode(body))).digest()


def decode_members(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of a body that `decode_fields` has let pass, their order and text untouched."""
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


def raw(value: object) -> msgspec.Raw:
    """A value to put among such members."""
    return msgspec.Raw(msgspec.json.encode(value))


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


def _check_syntax(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid_json(error) from None


def _invalid_json(error: Exception) -> InvalidJson:
    return InvalidJson(f"The request body is not valid JSON: {error}.")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text else text
