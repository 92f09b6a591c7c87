"""Reads one HTTP/1.1 response from pieces cut anywhere: as little as a load generator needs, but correctly."""

import re

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_HEAD_LIMIT = 65_536


class BadResponse(Exception):
    """What came is not HTTP/1.1."""


class Response:
    """Takes bytes, returns body bytes; `done` tells when the response is complete."""

    __slots__ = ("_chunked", "_left", "_pending", "closes", "done", "head", "status")

    def __init__(self) -> None:
        self.status = 0
        self.head = b""
        self.done = False
        self.closes = False
        """The connection cannot be used again."""
        self._pending = b""
        self._chunked = False
        self._left = 0
        """Bytes to come, of the body or of the current chunk with its line end; -1: until the close."""

    def feed(self, data: bytes) -> bytes:
        if not self.head:
            data = self._read_head(data)
            if not self.head:
                return b""
        if self._chunked:
            return self._read_chunks(data)
        if self._left < 0:
            return data
        self._left -= len(data)
        self.done = self._left <= 0
        return data

    def end_of_file(self) -> None:
        """The peer closed: the regular end of a body that has no length, and of no other."""
        self.done = bool(self.head) and not self._chunked and self._left < 0
        self.closes = True

    def _read_head(self, data: bytes) -> bytes:
        data = self._pending + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _HEAD_LIMIT:
                raise BadResponse("a response head of more than 64 KiB")
            self._pending = data
            return b""
        status = _STATUS.match(data)
        if status is None:
            raise BadResponse(f"not HTTP/1.1: {data[:40]!r}")
        self._pending = b""
        self.head = head = data[: end + 2]
        self.status = int(status[1])
        self._chunked = bool(_CHUNKED.search(head))
        length = _LENGTH.search(head)
        self._left = 0 if self._chunked else int(length[1]) if length else -1
        if self.status == 101:
            # What follows is another protocol, whatever length the head claims.
            self._chunked, self._left = False, -1
        self.closes = self._left < 0 or bool(_CLOSE.search(head))
        return data[end + 4 :]

    def _read_chunks(self, data: bytes) -> bytes:
        if self._pending:
            data, self._pending = self._pending + data, b""
        pieces = []
        position, left, length = 0, self._left, len(data)
        while position < length:
            if left:
                # The last two of `left` are the chunk's line end, which is not body.
                pieces.append(data[position : position + left - 2] if left > 2 else b"")
                taken = min(left, length - position)
                position += taken
                left -= taken
                continue
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                break
            left = int(data[position:line_end].partition(b";")[0], 16) + 2
            if left == 2:
                if data[line_end : line_end + 4] != b"\r\n\r\n":
                    left = 0
                    break
                self.done = True
                left = 0
                position = length
                break
            position = line_end + 2
        self._left = left
        self._pending = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
