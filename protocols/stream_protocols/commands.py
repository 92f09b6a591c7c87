"""The WebSocket subprotocol: commands from clients, replies and pushes to them, in JSON and MessagePack.

`ref` is the client's own and comes back in the reply; every command has exactly one reply, `ok`, one of its own, or
`error`. Pushes have no `ref`: `event`, and `stream.unsubscribed` when the gateway ends a subscription.
"""

from typing import Any, Final, Protocol, TypeAlias, get_args

import msgspec

from stream_protocols.cursor import Gap
from stream_protocols.errors import (
    BadRequest,
    InvalidField,
    InvalidJson,
    Overloaded,
    StreamProtocolError,
    TooManyRequests,
)
from stream_protocols.events import Event, Opaque
from stream_protocols.request import Lease, invalid_field
from stream_protocols.websocket import BINARY, TEXT

JSON_PROTOCOL: Final = "stream-gateway.v1+json"
MSGPACK_PROTOCOL: Final = "stream-gateway.v1+msgpack"
PROTOCOLS: Final = (JSON_PROTOCOL, MSGPACK_PROTOCOL)

MAX_KEY: Final = 128
"""Characters of an idempotency key: it is kept as long as its stream."""

Ref: TypeAlias = int | str | None


class _Command(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    ref: Ref = None


class Create(_Command, frozen=True, tag="stream.create"):
    """Start a generation, and subscribe to it. The same `key` again gives the same stream, not a second one."""

    request: dict[str, Any]
    lease: Lease | None = None
    key: str | None = None
    chunking: str | None = None


class Subscribe(_Command, frozen=True, tag="stream.subscribe"):
    """Follow a stream from its beginning, or from after a cursor."""

    stream: str
    after: str | None = None
    chunking: str | None = None


class Unsubscribe(_Command, frozen=True, tag="stream.unsubscribe"):
    """Stop following a stream."""

    stream: str


class Cancel(_Command, frozen=True, tag="stream.cancel"):
    """End a generation at its provider."""

    stream: str


class Auth(_Command, frozen=True, tag="auth"):
    """Say who asks, where the handshake could not, or show something newer."""

    token: str

    def __repr__(self) -> str:
        return f"Auth(ref={self.ref!r})"


class Ping(_Command, frozen=True, tag="ping"):
    """Ask for an `ok`: a browser cannot send WebSocket pings."""


Command: TypeAlias = Create | Subscribe | Unsubscribe | Cancel | Auth | Ping

_TYPES: Final = "stream.create, stream.subscribe, stream.unsubscribe, stream.cancel, auth or ping"


class _Message(msgspec.Struct, frozen=True, tag_field="type"):
    pass


class Created(_Message, frozen=True, tag="stream.created", omit_defaults=True):
    """`gap`, when there is one: a create by key found a stream whose beginning is no longer kept."""

    ref: Ref
    stream: str
    cursor: str
    gap: Gap | None = None


class Subscribed(_Message, frozen=True, tag="stream.subscribed", omit_defaults=True):
    """`ended`: the stream has ended, and nothing of it comes after the cursor."""

    ref: Ref
    stream: str
    gap: Gap | None
    ended: bool = False


class Ok(_Message, frozen=True, tag="ok"):
    ref: Ref


class Error(_Message, frozen=True, tag="error"):
    """`retry_after`: seconds to wait, where that helps."""

    ref: Ref
    code: str
    message: str
    param: str | None = None
    retry_after: int | msgspec.UnsetType = msgspec.UNSET


class Unsubscribed(_Message, frozen=True, tag="stream.unsubscribed"):
    """The gateway ended the subscription; `after` is where to resume."""

    stream: str
    code: str
    after: str
    message: str


class Pushed(_Message, frozen=True, tag="event"):
    """An event of a stream, and the cursor after it; for clients, who read the event with their dialect's decoder."""

    stream: str
    id: str
    event: msgspec.Raw


Message: TypeAlias = Created | Subscribed | Ok | Error | Unsubscribed


class _Typed(msgspec.Struct):
    type: str


_incoming: Final[msgspec.json.Decoder[Message | Pushed]] = msgspec.json.Decoder(Message | Pushed)
_type: Final = msgspec.json.Decoder(_Typed)
_KNOWN: Final = frozenset(kind.__struct_config__.tag for kind in (*get_args(Message), Pushed))


def decode_message(data: str | bytes) -> Message | Pushed | None:
    """A gateway's message in JSON, as a client reads it; None for one of a type that is newer than this package.

    Raises:
        msgspec.DecodeError: it is none, or a known one with fields that are wrong.
    """
    try:
        return _incoming.decode(data)
    except msgspec.ValidationError:
        if _type.decode(data).type in _KNOWN:
            raise
        return None


class Codec(Protocol):
    """One encoding of the subprotocol."""

    name: str
    """The subprotocol's name."""

    opcode: int
    """The kind of WebSocket message that carries it."""

    def decode(self, message: str | bytes) -> Command:
        """Read a command.

        Raises:
            InvalidJson, InvalidField, BadRequest: it is none.
        """

    def ref_of(self, message: str | bytes) -> Ref:
        """The `ref` of a message that is no good command, if one can be made out."""

    def encode(self, message: Message) -> bytes:
        """A reply's or push's payload."""

    def event_prefix(self, stream: str) -> bytes:
        """What `event` needs of a stream, made once."""

    def event(self, prefix: bytes, cursor: str, event: Event) -> bytes | None:
        """The payload of an event's push; None for `Opaque`, which is some vendor's own."""


class JsonCodec:
    """JSON in text messages."""

    name = JSON_PROTOCOL
    opcode = TEXT

    def __init__(self) -> None:
        self._decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
        self._encode = msgspec.json.Encoder().encode

    def decode(self, message: str | bytes) -> Command:
        """Read a command (see `Codec`)."""
        if isinstance(message, bytes):
            raise BadRequest("This subprotocol takes text messages only; use the MessagePack one for binary.")
        try:
            return self._decoder.decode(message)
        except msgspec.ValidationError as error:
            raise _explain(error) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidJson(f"The message is not valid JSON: {error}.") from None

    def ref_of(self, message: str | bytes) -> Ref:
        """The `ref`, if any (see `Codec`)."""
        try:
            return _ref(msgspec.json.decode(message))
        except (msgspec.DecodeError, RecursionError):
            return None

    def encode(self, message: Message) -> bytes:
        """A payload (see `Codec`)."""
        return self._encode(message)

    def event_prefix(self, stream: str) -> bytes:
        """Made once a stream (see `Codec`)."""
        return b'{"type":"event","stream":%b,"id":"' % self._encode(stream)

    def event(self, prefix: bytes, cursor: str, event: Event) -> bytes | None:
        """An event's push (see `Codec`)."""
        return None if type(event) is Opaque else b'%b%b","event":%b}' % (prefix, cursor.encode(), self._encode(event))


class MsgpackCodec:
    """MessagePack in binary messages; the same maps as in JSON."""

    name = MSGPACK_PROTOCOL
    opcode = BINARY

    def __init__(self) -> None:
        self._decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
        self._encode = msgspec.msgpack.Encoder().encode

    def decode(self, message: str | bytes) -> Command:
        """Read a command (see `Codec`)."""
        if isinstance(message, str):
            raise BadRequest("This subprotocol takes binary messages only; use the JSON one for text.")
        try:
            return self._decoder.decode(message)
        except msgspec.ValidationError as error:
            raise _explain(error) from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest(f"The message is not valid MessagePack: {error}.") from None

    def ref_of(self, message: str | bytes) -> Ref:
        """The `ref`, if any (see `Codec`)."""
        try:
            return _ref(msgspec.msgpack.decode(message if isinstance(message, bytes) else message.encode()))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None

    def encode(self, message: Message) -> bytes:
        """A payload (see `Codec`)."""
        return self._encode(message)

    def event_prefix(self, stream: str) -> bytes:
        """Made once a stream: a map of four, up to the cursor (see `Codec`)."""
        parts = ("type", "event", "stream", stream, "id")
        return b"\x84" + b"".join(self._encode(part) for part in parts)

    def event(self, prefix: bytes, cursor: str, event: Event) -> bytes | None:
        """An event's push (see `Codec`)."""
        if type(event) is Opaque:
            return None
        return b"%b%b\xa5event%b" % (prefix, self._encode(cursor), self._encode(event))


CODECS: Final[dict[str, Codec]] = {JSON_PROTOCOL: JsonCodec(), MSGPACK_PROTOCOL: MsgpackCodec()}


def error_reply(ref: Ref, error: StreamProtocolError) -> Error:
    """The reply that says what was wrong with a command."""
    wait = error.retry_after if isinstance(error, TooManyRequests | Overloaded) else None
    return Error(ref, error.code, error.message, error.param, msgspec.UNSET if wait is None else wait)


def check_key(key: str | None, *, param: str = "key") -> str | None:
    """An idempotency key within its limits, or InvalidField; `param` is what the client calls it."""
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise InvalidField(f"`{param}` must have from 1 to {MAX_KEY} characters.", param=param)
    return key


def _explain(error: msgspec.ValidationError) -> StreamProtocolError:
    found = invalid_field(str(error))
    if isinstance(found, InvalidField):
        # msgspec repeats the value, however long it is; which values there are helps more.
        if found.param == "type":
            return InvalidField(f"Field `type` must name a command: {_TYPES}.", param="type")
        return found
    return BadRequest(f"The message is no command: {error}.")


def _ref(message: object) -> Ref:
    ref = message.get("ref") if isinstance(message, dict) else None
    return ref if isinstance(ref, int | str) and not isinstance(ref, bool) else None
