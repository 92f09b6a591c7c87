"""Neutral events: what happened in a stream, whatever vendor said it.

Rules that the classes alone do not say:

- A stream's log begins with `StreamStarted` or, when nothing came of it, with the terminal event.
- Exactly one terminal event (`StreamFinished`, `StreamFailed`, `StreamCancelled`) ends it, and is last.
- `ChoiceFinished` comes once for each choice before `StreamFinished`; `Usage` may come anywhere.
- `Opaque` is a vendor's frame that has no neutral meaning. It is numbered like any event, shown only to
  clients that speak that vendor's dialect, and never sent on the native one.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from stream_protocols.errors import StreamProtocolError


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", gc=False):
    """One immutable fact. Subclasses carry their wire name as `type`."""


class StreamStarted(Event, frozen=True, tag="stream.started"):
    """The provider accepted the request: the model's public name, Unix seconds, how many choices were asked."""

    model: str
    created: int = 0
    choices: int = 1


class TextDelta(Event, frozen=True, tag="text.delta"):
    """More of the answer's text."""

    text: str
    choice: int = 0


class ReasoningDelta(Event, frozen=True, tag="reasoning.delta"):
    """More of what the model shows of its reasoning."""

    text: str
    choice: int = 0


class RefusalDelta(Event, frozen=True, tag="refusal.delta"):
    """More of the text with which the model declines."""

    text: str
    choice: int = 0


class ToolCallDelta(Event, frozen=True, tag="tool_call.delta"):
    """More of tool call `index`: `id` and `name` come first and once, `arguments` in fragments of JSON."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    choice: int = 0


class ChoiceFinished(Event, frozen=True, tag="choice.finished"):
    """A choice is whole. `reason` is OpenAI's vocabulary: stop, length, tool_calls, content_filter."""

    reason: str
    choice: int = 0


class Usage(Event, frozen=True, tag="usage", gc=True):
    """Tokens so far, cumulative: the last one counts. `running`: another one is to come, with the answer's end.

    `details` keeps the vendor's own breakdown; `{"input": {"cached_tokens", "cache_write_tokens"}, "output":
    {"reasoning_tokens"}}` are parts of the two numbers, and are understood by every dialect that has words for them.
    """

    input_tokens: int
    output_tokens: int
    details: dict[str, Any] | None = None
    running: bool = False


class Notice(Event, frozen=True, tag="notice", gc=True):
    """Something a client should know that is no part of the answer; `data` is for machines."""

    code: str
    message: str
    data: dict[str, Any] | None = None


class StreamFinished(Event, frozen=True, tag="stream.finished"):
    """The stream is whole. `reason` is that of its first choice."""

    reason: str


class StreamFailed(Event, frozen=True, tag="stream.failed", gc=True):
    """The stream broke off. `status` is the HTTP status that says the same, `param` the client's field to blame.

    `error` is the provider's own error object, kept so that a client of the same dialect sees it as it was.
    """

    code: str
    message: str
    status: int = 502
    error_type: str = "server_error"
    retry_after: str | None = None
    error: dict[str, Any] | None = None
    param: str | None = None


class StreamCancelled(Event, frozen=True, tag="stream.cancelled"):
    """The stream was ended on purpose: `client` asked, or an `operator`, its `lease` ran out, its owner's key was
    `revoked`, or the gateway is in `shutdown`."""

    reason: str


class Opaque(Event, frozen=True, tag="opaque"):
    """A vendor's frame without neutral meaning (see the module's rules)."""


Terminal: TypeAlias = StreamFinished | StreamFailed | StreamCancelled
TERMINAL: Final = (StreamFinished, StreamFailed, StreamCancelled)

NativeEvent: TypeAlias = (
    StreamStarted
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallDelta
    | ChoiceFinished
    | Usage
    | Notice
    | StreamFinished
    | StreamFailed
    | StreamCancelled
)
"""What a native client may meet; the type to decode into."""


def last_usage(events: Iterable[Event]) -> Usage | None:
    """The usage that counts: the last one told."""
    found: Usage | None = None
    for event in events:
        if isinstance(event, Usage):
            found = event
    return found


def failure(error: StreamProtocolError) -> StreamFailed:
    """An error as the event that ends a stream."""
    return StreamFailed(error.code, error.message, error.status, error.type, param=error.param)


Record: TypeAlias = tuple[Event, bytes | None]
"""An event with the vendor's bytes beside it.

One vendor frame may yield several events. Its bytes then stand at the last of them and `COVERED` at the
others, so that a client of that vendor's dialect gets the frame once, untouched. `None`: no vendor said
this; it has to be encoded.
"""

COVERED: Final = b""
