"""Reading server-sent events strictly, as a client that checks the gateway's promises about them.

It shares no code with the gateway. Beyond the specification it insists on what the gateway promises: comments
stand between events, a comment has no blank line after it, and every event carries data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SseEvent:
    """One event. `raw` is what stood on the wire, without the comments before it."""

    id: str | None
    event: str | None
    data: str
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class SseReader:
    """Turns bytes, however they are split, into events; counts the comments between them."""

    def __init__(self) -> None:
        self.comments = 0
        self.retry: str | None = None
        self._line = bytearray()
        self._raw = bytearray()
        self._fields: list[tuple[str, str]] = []

    @property
    def between_events(self) -> bool:
        """Whether a stream that stops here stops at a boundary."""
        return not self._line and not self._fields

    def feed(self, data: bytes) -> list[SseEvent]:
        """Take bytes in; return the events they completed."""
        self._line += data
        *lines, rest = self._line.split(b"\n")
        self._line = bytearray(rest)
        return [event for line in lines if (event := self._take(bytes(line))) is not None]

    def _take(self, line: bytes) -> SseEvent | None:
        if line.startswith(b":"):
            assert not self._fields, f"comment inside an event, after {bytes(self._raw)!r}"
            self.comments += 1
            return None
        self._raw += line + b"\n"
        if line:
            name, _, value = line.decode().partition(":")
            self._fields.append((name, value.removeprefix(" ")))
            return None
        return self._dispatch()

    def _dispatch(self) -> SseEvent | None:
        assert self._fields, "a blank line that ends no event"
        raw, fields = bytes(self._raw), self._fields
        self._raw, self._fields = bytearray(), []
        unknown = {name for name, _ in fields} - {"id", "event", "data", "retry"}
        assert not unknown, raw
        named = dict(fields)
        self.retry = named.get("retry", self.retry)
        data = [value for name, value in fields if name == "data"]
        if set(named) == {"retry"}:
            return None
        assert data, f"an event without data: {raw!r}"
        return SseEvent(id=named.get("id"), event=named.get("event"), data="\n".join(data), raw=raw)
