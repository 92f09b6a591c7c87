"""Reading HTTP/1.1 responses strictly, for clients that look at single bytes.

It shares no code with the gateway, and forgives nothing: a chunk whose length is wrong is a failing test.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_EOL = b"\r\n"


class Truncated(Exception):
    """The connection ended before the response did."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Status line and header fields of one response."""

    version: str
    status: int
    reason: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The value of a field that occurs once at most; its values, joined, when it is repeated."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self}"
        return value


def take_head(data: bytearray) -> Head | None:
    """Remove a head from the front of `data` and return it, or `None` as long as it is incomplete."""
    end = data.find(_EOL + _EOL)
    if end < 0:
        return None
    first, *rest = bytes(data[:end]).decode("latin-1").split("\r\n")
    del data[: end + 4]
    version, status, reason = (*first.split(" ", 2), "")[:3]
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in rest)]
    assert all(name and name == name.strip() for name, _ in fields), rest
    return Head(version=version, status=int(status), reason=reason, fields=fields)


class Body:
    """Takes the bytes of a body out of what has arrived. `ended` says that its last byte is out."""

    ended = False

    def take(self, data: bytearray) -> bytes:
        raise NotImplementedError

    def end_of_connection(self) -> None:
        """Accept that no more bytes come, or raise `Truncated`."""
        if not self.ended:
            raise Truncated


class SizedBody(Body):
    """A body with a Content-Length."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.ended = size == 0

    def take(self, data: bytearray) -> bytes:
        taken = bytes(data[: self._left])
        del data[: self._left]
        self._left -= len(taken)
        self.ended = self._left == 0
        return taken


class ChunkedBody(Body):
    """A body in HTTP/1.1 chunks."""

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the current chunk still to come, its line end included."""

    def take(self, data: bytearray) -> bytes:
        taken = bytearray()
        while data and not self.ended and self._advance(data, taken):
            pass
        return bytes(taken)

    def _advance(self, data: bytearray, taken: bytearray) -> bool:
        """Take what is there of one chunk; false when more bytes have to come first."""
        if self._left > 2:
            piece = data[: self._left - 2]
            taken += piece
            del data[: len(piece)]
            self._left -= len(piece)
        elif self._left:
            if len(data) < 2:
                return False
            assert data[:2] == _EOL, f"chunk is longer than it says: {bytes(data[:40])!r}"
            del data[:2]
            self._left = 0
        else:
            return self._open(data)
        return True

    def _open(self, data: bytearray) -> bool:
        end = data.find(_EOL)
        if end < 0:
            return False
        size = int(data[:end], 16)
        if size == 0 and len(data) < end + 4:
            return False
        self.ended = size == 0
        assert not self.ended or data[end + 2 : end + 4] == _EOL, "trailers are not expected"
        del data[: end + (4 if self.ended else 2)]
        self._left = size + 2
        return True


class BodyUntilClose(Body):
    """A body that ends with the connection, as HTTP/1.0 clients get it."""

    def take(self, data: bytearray) -> bytes:
        taken = bytes(data)
        data.clear()
        return taken

    def end_of_connection(self) -> None:
        self.ended = True


def body_of(head: Head, method: str) -> Body:
    """How the body that follows `head` is delimited (RFC 9112, section 6.3)."""
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return SizedBody(0)
    encoding, length = head.get("transfer-encoding"), head.get("content-length")
    assert encoding is None or length is None, f"both framings at once: {head}"
    if encoding is not None:
        assert encoding.lower() == "chunked", head
        return ChunkedBody()
    return BodyUntilClose() if length is None else SizedBody(int(length))
