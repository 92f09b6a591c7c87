"""The bytes both ends of a measurement agree on: a mark in every chunk, and a script in every request.

A mark is `[SEQUENCE:NANOSECONDS]` inside the text a chunk carries. It has a fixed width and uses only
characters that no JSON encoder escapes, so it survives any proxy that re-writes the JSON around it.
CLOCK_MONOTONIC is one clock for all processes of a Linux machine: received minus stamped is the latency.

A script steers the upstream: `bench;n=100;gap=20000;` anywhere in the request's body, usually in the
message's text, because that is the one place which every gateway hands on untouched.
"""

import dataclasses
import re

MARK = re.compile(rb"\[(\d{8}):(\d{19})\]")
MARK_LENGTH = 30
STAMP = b"0" * 19
"""Stands where the time goes in a chunk that is built ahead."""

_SCRIPT = re.compile(rb"bench;((?:[a-z]+=[0-9]+;)+)")


@dataclasses.dataclass(frozen=True, slots=True)
class Script:
    """What the upstream does with one request. Times are in microseconds, sizes in bytes."""

    id: int = 0
    """Names the request in the upstream's report of clients that left; 0 is not reported."""
    n: int = 20
    """Chunks of text."""
    gap: int = 0
    """Mean time between two chunks; 0 sends as fast as the socket takes them."""
    first: int = 0
    """Time before the first chunk, or before a reply that is not streamed."""
    size: int = 250
    """Of one server-sent event."""
    block: int = 0
    """With no gap: bytes per write. 0 writes each chunk by itself."""
    hold: int = 0
    """1: after the last chunk fall silent and stay open."""

    def text(self) -> str:
        default = Script()
        changed = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != getattr(default, field.name)
        }
        return "bench;" + "".join(f"{name}={value};" for name, value in ({"n": self.n} | changed).items())


_NAMES = frozenset(field.name for field in dataclasses.fields(Script))


def parse_script(body: bytes) -> Script:
    """Finds the script in a request's body, whatever JSON is around it."""
    found = _SCRIPT.search(body)
    if found is None:
        return Script()
    pairs = (pair.split("=") for pair in found[1].decode().split(";") if pair)
    return Script(**{name: int(value) for name, value in pairs if name in _NAMES})


class Scanner:
    """Finds the marks in a body that arrives in pieces cut anywhere."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Returns (sequence, stamp) of each mark that is complete now."""
        if self._tail:
            data = self._tail + data
        start = data.rfind(b"[")
        self._tail = data[start:] if start >= 0 and len(data) - start < MARK_LENGTH else b""
        return MARK.findall(data)
