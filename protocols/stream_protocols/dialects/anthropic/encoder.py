"""From neutral events to Anthropic's named frames."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.anthropic.failures import error_json
from stream_protocols.dialects.anthropic.shapes import MAX_OPEN_CALLS, stop_reason_of, usage_json
from stream_protocols.dialects.base import Frame, SequenceEncoder, Source
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_encode = msgspec.json.encode

_DELTA: Final = b"content_block_delta"
_RAW_DELTA: Final = b'{"type":"content_block_delta",'
_NAME: Final = re.compile("[a-z_]{1,64}")  # what may stand in an `event:` line; a provider's JSON may hold line ends


class _Kind(msgspec.Struct):
    type: str = ""


class _Head(msgspec.Struct):
    """What has to be known of a frame that the provider wrote."""

    type: str = ""
    index: int = 0
    content_block: _Kind | None = None


class AnthropicEncoder(SequenceEncoder):
    """Encodes for one client (see `stream_protocols.dialects.SequenceEncoder` for the contract).

    One block of text or thinking is open at a time. Blocks of tool calls stay open to the end, because more of any of
    them may come. A stream of several choices is told as its first one: the dialect knows no others.
    """

    passthrough = "anthropic"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._started = False
        self._next = 0  # index of the next block
        self._kind = ""  # of the block of text or thinking that is open, if any
        self._index = 0  # of that block
        self._calls: dict[int, int] = {}  # the blocks of tool calls
        self._reason = "stop"
        self._refused = False
        self._usage: Usage | None = None
        self._told = False  # that the message is whole, and why
        self._over = False

    def encode(self, event: Event) -> Sequence[Frame]:
        """The frames that an event becomes, possibly none."""
        choice: int = getattr(event, "choice", 0)
        if self._over or choice:
            return ()
        self._note(event)
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text) if text:
                return [*self._open("text"), Frame(_DELTA, _delta(self._index, b"text_delta", b"text", text))]
            case ReasoningDelta(text=text) if text:
                return [
                    *self._open("thinking"),
                    Frame(_DELTA, _delta(self._index, b"thinking_delta", b"thinking", text)),
                ]
            case ToolCallDelta():
                return self._tool_call(event)
            case StreamStarted():
                return self._start()
            case ChoiceFinished():
                return self._close_all()
            case StreamFinished():
                self._over = True
                return [*self._start(), *self._close_all(), *self._conclude(), _frame("message_stop")]
            case StreamFailed() | StreamCancelled():
                self._over = True
                return [Frame(b"error", error_json(event))]
        return ()

    def relay(self, event: Event, raw: bytes) -> Sequence[Frame]:
        """Take note of an event that the vendor said itself; its own frame, or none where another record carries it."""
        self._note(event)
        if not raw or self._over:
            return ()
        if isinstance(event, StreamFailed):
            return (Frame(b"error", raw),)
        if raw.startswith(_RAW_DELTA):
            return (Frame(_DELTA, raw),)
        try:
            head = msgspec.json.decode(raw, type=_Head)
        except NOT_JSON:
            return (Frame(_name_in(raw), raw),)
        before = self._follow(head, event)
        return (*before, Frame(head.type.encode() if _NAME.fullmatch(head.type) else b"", raw))

    def _note(self, event: Event) -> None:
        match event:
            case Usage():
                self._usage = event
            case ChoiceFinished(reason=reason, choice=0):
                self._reason = reason
            case RefusalDelta():
                self._refused = True

    def _follow(self, head: _Head, event: Event) -> Sequence[Frame]:
        """Keep in step with the provider's frame; what its clients have to be told before it."""
        match head.type:
            case "message_start":
                self._started = True
            case "content_block_start":
                self._next = max(self._next, head.index + 1)
                kind = head.content_block.type if head.content_block is not None else ""
                if isinstance(event, ToolCallDelta):
                    self._calls[event.index] = head.index
                elif kind in ("text", "thinking"):
                    self._kind, self._index = kind, head.index
            case "content_block_stop":
                self._forget(head.index)
            case "message_delta":
                self._told = True
            case "message_stop":
                return self._conclude()
        return ()

    def _forget(self, index: int) -> None:
        if self._kind and self._index == index:
            self._kind = ""
        self._calls = {call: block for call, block in self._calls.items() if block != index}

    # ---- parts of a message

    def _start(self) -> list[Frame]:
        if self._started:
            return []
        self._started = True
        message = {
            **message_head(self._source),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_json(self._usage),
        }
        return [_frame("message_start", message=message)]

    def _open(self, kind: str) -> list[Frame]:
        """Make the block of this kind the open one."""
        if self._kind == kind:
            return []
        block = {"type": kind, kind: ""}
        if kind == "thinking":
            block["signature"] = ""
        frames = [*self._start(), *self._close()]
        self._kind, self._index = kind, self._next
        return [*frames, self._begin(block)]

    def _begin(self, block: dict[str, Any]) -> Frame:
        self._next += 1
        return _frame("content_block_start", index=self._next - 1, content_block=block)

    def _close(self) -> list[Frame]:
        if not self._kind:
            return []
        self._kind = ""
        return [_frame("content_block_stop", index=self._index)]

    def _close_all(self) -> list[Frame]:
        calls, self._calls = self._calls, {}
        return [*self._close(), *(_frame("content_block_stop", index=index) for index in calls.values())]

    def _tool_call(self, event: ToolCallDelta) -> list[Frame]:
        frames: list[Frame] = []
        if event.index not in self._calls:
            if not event.id and not event.name:
                return []  # more of a call whose block has been closed, or never was opened: nobody could place it
            if len(self._calls) >= MAX_OPEN_CALLS:
                self._over = True
                message = f"The answer has more than {MAX_OPEN_CALLS} tool calls under way at once."
                return [Frame(b"error", error_json(StreamFailed("too_many_tool_calls", message)))]
            frames = [*self._start(), *self._close()]
            self._calls[event.index] = self._next
            identity = event.id or f"toolu_{self._source.stream}_{event.index}"
            frames.append(self._begin({"type": "tool_use", "id": identity, "name": event.name, "input": {}}))
        if event.arguments:
            index = self._calls[event.index]
            frames.append(Frame(_DELTA, _delta(index, b"input_json_delta", b"partial_json", event.arguments)))
        return frames

    def _conclude(self) -> list[Frame]:
        if self._told:
            return []
        self._told = True
        reason = "refusal" if self._refused and self._reason == "stop" else stop_reason_of(self._reason)
        delta = {"stop_reason": reason, "stop_sequence": None}
        return [_frame("message_delta", delta=delta, usage=usage_json(self._usage))]


def message_head(source: Source) -> dict[str, Any]:
    """What identifies a message, streamed or whole."""
    return {"id": "msg_" + source.stream, "type": "message", "role": "assistant", "model": source.model}


def _frame(name: str, **fields: Any) -> Frame:
    return Frame(name.encode(), _encode({"type": name, **fields}))


def _delta(index: int, kind: bytes, member: bytes, text: str) -> bytes:
    """By hand, because nearly every frame is one of these."""
    return b'{"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":%b}}' % (
        index,
        kind,
        member,
        _encode(text),
    )


def _name_in(raw: bytes) -> bytes:
    """The name of a frame of which nothing else is as it should be."""
    try:
        name = msgspec.json.decode(raw, type=_Kind).type
    except NOT_JSON:
        return b""
    return name.encode() if _NAME.fullmatch(name) else b""
