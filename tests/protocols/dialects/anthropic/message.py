"""A strict reader of Anthropic's frames: builds the message, and insists on the order of its events."""

import json
from collections.abc import Iterable
from typing import Any

from stream_protocols.dialects import Frame

Json = dict[str, Any]

_DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "json"),
}


class Reader:
    """Takes frames in; `message` is what they build, `error` how it broke off."""

    def __init__(self) -> None:
        self.message: Json | None = None
        self.error: Json | None = None
        self.stopped = False
        self._open: set[int] = set()

    @property
    def content(self) -> list[Json]:
        assert self.message is not None
        blocks: list[Json] = self.message["content"]
        return blocks

    def take(self, frames: Iterable[Frame]) -> None:
        for name, payload in frames:
            assert b"\n" not in name + payload
            data = json.loads(payload)
            assert name.decode() == data["type"]
            assert not self.stopped, data
            assert self.error is None, data
            getattr(self, "_" + name.decode())(data)

    def _ping(self, data: Json) -> None:
        pass

    def _error(self, data: Json) -> None:
        self.error = data["error"]
        assert {"type", "message"} <= data["error"].keys()

    def _message_start(self, data: Json) -> None:
        assert self.message is None
        self.message = data["message"]
        assert self.content == []

    def _content_block_start(self, data: Json) -> None:
        assert data["index"] == len(self.content)
        self.content.append({**data["content_block"], "json": ""})
        self._open.add(data["index"])

    def _content_block_delta(self, data: Json) -> None:
        assert data["index"] in self._open
        block, delta = self.content[data["index"]], data["delta"]
        kind, member = _DELTAS[delta["type"]]
        assert block["type"] == kind
        block[member] += delta["partial_json" if member == "json" else member]

    def _content_block_stop(self, data: Json) -> None:
        self._open.remove(data["index"])

    def _message_delta(self, data: Json) -> None:
        assert self.message is not None
        assert not self._open
        assert self.message["stop_reason"] is None
        self.message |= data["delta"]
        self.message["usage"] |= data["usage"]

    def _message_stop(self, data: Json) -> None:
        assert self.message is not None
        assert self.message["stop_reason"]
        self.stopped = True


def read(frames: Iterable[Frame]) -> Reader:
    """What frames build."""
    reader = Reader()
    reader.take(frames)
    return reader
