"""As much of RFC 9113 as the harness needs: a client that sends requests, and reads the bodies of their responses."""

from collections.abc import Mapping

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
_WIDE = 2**31 - 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def greeting() -> bytes:
    """Opens a connection whose windows are never closed, so that no time is lost on opening them."""
    settings = (4).to_bytes(2, "big") + _WIDE.to_bytes(4, "big")
    update = (_WIDE - 65_535).to_bytes(4, "big")
    return _PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, update)


def get(stream: int, path: str, headers: Mapping[str, str]) -> bytes:
    """A request in one HEADERS frame: every field literal and never indexed (RFC 7541, section 6.2.3)."""
    fields = {":method": "GET", ":scheme": "http", ":authority": "127.0.0.1", ":path": path, **headers}
    block = b"".join(b"\x10" + _string(name) + _string(value) for name, value in fields.items())
    return frame(_HEADERS, 0x5, stream, block)


def _string(text: str) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


class Frames:
    """Reads frames from pieces cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""
        self.problem = ""
        self.replies = b""
        """Acknowledgements that are due; the caller sends and clears them."""

    def feed(self, data: bytes) -> list[tuple[int, bytes, bool]]:
        """Returns (stream, data, whether it ended) of the DATA frames that are complete."""
        data = self._rest + data
        position = 0
        found = []
        while len(data) - position >= 9:
            stop = position + 9 + int.from_bytes(data[position : position + 3], "big")
            if stop > len(data):
                break
            kind, flags = data[position + 3], data[position + 4]
            if kind == _DATA:
                stream = int.from_bytes(data[position + 5 : position + 9], "big")
                found.append((stream, data[position + 9 : stop], bool(flags & 1)))
            elif kind == _SETTINGS and not flags:
                self.replies += frame(_SETTINGS, 1, 0)
            elif kind in (_RESET, _GOAWAY):
                self.problem = f"a frame of type {kind} came: {data[position + 9 : stop]!r}"
            position = stop
        self._rest = data[position:]
        return found
