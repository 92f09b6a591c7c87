"""HTTP/1.1 without sockets: messages out of bytes, and heads into bytes (RFC 9112).

A reader is fed what was read, and asked for a head, and then for the body, for as long as there is something.

It is strict, because leniency is how a request is smuggled inside another one past a proxy that reads differently:

- lines end in CRLF, which stands nowhere else; no line is folded; there is no empty line before the first one;
- names are tokens, right before their colon; values hold no control character but the tab;
- a request says where its body ends once, and in one way; a reply may say it twice, but not differently;
- `chunked` is the only transfer coding.

And it is fast, because a head is taken apart as a whole by two regular expressions, which give nothing back of
what they have matched, so that no input makes them slow.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from stream_protocols.bodies import TOKEN, VALUE, BodyDecoder, ChunkedDecoder, SizedDecoder, UnsizedDecoder
from stream_protocols.errors import BadRequest, HeadersTooLarge, LocalError, MalformedHttp

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Names in lower case; in the order in which they came, repeated ones included."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_REQUEST_LINE: Final = re.compile(rb"(%b) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])\r\n" % TOKEN)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: %b)?\r\n" % VALUE)
_FIELD: Final = re.compile(rb"^(%b):[\t ]*+(%b)\r\n" % (TOKEN, VALUE), re.MULTILINE)

_END: Final = b"\r\n\r\n"
_HOPELESS: Final = re.compile(rb"\A[^!-~]|(?<!\r)\n|\r(?=[^\n])|\x00")
"""In the beginning of a head: it will never be one, so nobody need wait for the rest."""

_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_ACTED_ON: Final = frozenset((b"content-length", b"transfer-encoding", b"connection", b"host", b"expect"))
"""The headers that say something to HTTP itself."""

_NO_HEAD: Final = "This is no HTTP/1.1 message: its first line is malformed, or a line does not end in CRLF."
_CUT: Final = "The connection ended in the middle of a message's head."


class RequestHead(msgspec.Struct, frozen=True):
    """What comes before a request's body.

    Attributes:
        chunks: whether its sender understands chunked bodies, as whoever speaks HTTP/1.1 must.
        keep_alive: whether its sender may send another request on this connection.
        length: of the body, in bytes; None when it is chunked.
        invited: whether its sender waits for `CONTINUE` before it sends the body (RFC 9110 §10.1.1).
    """

    method: str
    target: str
    headers: Headers
    chunks: bool
    keep_alive: bool
    length: int | None
    invited: bool


class ReplyHead(msgspec.Struct, frozen=True):
    """What comes before a reply's body; `keep_alive`: whether the connection can be used for another request."""

    status: int
    headers: Headers
    keep_alive: bool


class _Reader:
    """The messages of one connection, one after the other.

    Args:
        max_head: bytes that a head may have; bounds what is kept of one that is not complete.

    Attributes:
        waiting: what has come, and belongs to nothing that was taken yet.
        complete: whether the message at hand has come whole, or none has begun.
        ended: whether the connection has.
    """

    __slots__ = ("_body", "_max_head", "_searched", "complete", "ended", "waiting")

    def __init__(self, max_head: int) -> None:
        self.waiting = b""
        self.complete = True
        self.ended = False
        self._max_head = max_head
        self._searched = 0
        self._body: BodyDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Take what was read; nothing means that the connection has ended."""
        if not data:
            self.ended = True
        self.waiting = self.waiting + data if self.waiting else data

    def body(self) -> bytes:
        """What has come of the body since the last call.

        Raises:
            MalformedHttp: it breaks HTTP, or the connection ended too early.
        """
        body = self._body
        if body is None:
            return b""
        data, self.waiting = self.waiting, b""
        piece = body.feed(data)
        if self.ended and not body.ended:
            body.close()
        if body.ended:
            self.waiting = body.rest
            self.complete, self._body = True, None
        return piece

    def _expect(self, body: BodyDecoder) -> None:
        self.complete = body.ended
        self._body = None if body.ended else body

    def _take_head(self) -> bytes | None:
        """The next head, its empty line included; None when it has not come whole."""
        data = self.waiting
        end = data.find(_END, self._searched)
        if (len(data) if end < 0 else end + len(_END)) > self._max_head:
            raise HeadersTooLarge(f"The head of the message is larger than {self._max_head} bytes.")
        if end >= 0:
            self._searched = 0
            self.waiting = data[end + len(_END) :]
            return data[: end + len(_END)]
        if _HOPELESS.search(data, max(self._searched - 1, 0)):
            raise MalformedHttp(_NO_HEAD)
        if data and self.ended:
            raise MalformedHttp(_CUT)
        self._searched = max(len(data) - len(_END) + 1, 0)
        return None


class RequestReader(_Reader):
    """Reads requests (see `_Reader`)."""

    __slots__ = ()

    def head(self) -> RequestHead | None:
        """The next request's head, once the one before is complete; None until it has come whole.

        Raises:
            MalformedHttp: this is no request.
            BadRequest: it is one of another version of HTTP.
            HeadersTooLarge: it has too large a head.
        """
        data = self._take_head()
        if data is None:
            return None
        head = parse_request(data)
        self._expect(ChunkedDecoder() if head.length is None else SizedDecoder(head.length))
        return head


class ReplyReader(_Reader):
    """Reads replies (see `_Reader`)."""

    __slots__ = ()

    def head(self, *, bodiless: bool = False) -> ReplyHead | None:
        """The final reply's head; None until it has come whole. Interim ones (1xx) are passed over.

        Args:
            bodiless: the request was HEAD, so that no body follows whatever the head says.

        Raises:
            MalformedHttp: this is no reply, or it switches to a protocol that nobody has asked for.
            HeadersTooLarge: it has too large a head.
        """
        while (data := self._take_head()) is not None:
            head, body = parse_reply(data, bodiless=bodiless)
            if head.status >= 200:
                self._expect(body)
                return head
            if head.status == 101:
                raise MalformedHttp("The reply switches to another protocol, which nobody has asked for.")
        return None


def parse_request(data: bytes) -> RequestHead:
    """Take a request's head apart (RFC 9112 §3); see `RequestReader.head`."""
    line = _REQUEST_LINE.match(data)
    if line is None:
        raise MalformedHttp(_NO_HEAD)
    method, target, major, minor = line.groups()
    if major != b"1":
        version = f"{major.decode()}.{minor.decode()}"
        raise BadRequest(f"HTTP/{version} cannot be spoken in this form; use HTTP/1.1.")
    chunks = minor != b"0"
    headers, said = _fields(data, line.end())
    hosts = len(said.get(b"host", ()))
    if hosts > 1 or (chunks and not hosts):
        raise MalformedHttp("A request must have one Host header, and no more.")
    return RequestHead(
        method.decode(),
        target.decode(),
        headers,
        chunks,
        chunks and b"close" not in _options(said, b"connection"),
        _request_length(said, chunks),
        chunks and b"100-continue" in _options(said, b"expect"),
    )


def parse_reply(data: bytes, *, bodiless: bool = False) -> tuple[ReplyHead, BodyDecoder]:
    """Take a reply's head apart (RFC 9112 §4), and choose what takes its body; see `ReplyReader.head`."""
    line = _STATUS_LINE.match(data)
    if line is None:
        raise MalformedHttp(_NO_HEAD)
    minor, status = line.groups()
    headers, said = _fields(data, line.end())
    keep_alive = minor != b"0" and b"close" not in _options(said, b"connection")
    body, clear = _reply_body(int(status), said, bodiless)
    return ReplyHead(int(status), headers, keep_alive and clear), body


def _fields(data: bytes, at: int) -> tuple[Headers, dict[bytes, list[bytes]]]:
    """The header fields from `at` on, and what those of `_ACTED_ON` say."""
    fields = _FIELD.findall(data, at)
    if len(fields) != data.count(b"\n", at) - 1:  # the last one ends the head
        raise MalformedHttp("A header is malformed: each is a name, a colon and a value on one line of its own.")
    headers = []
    said: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        field = name.lower(), value.rstrip(b"\t ")
        headers.append(field)
        if field[0] in _ACTED_ON:
            said.setdefault(field[0], []).append(field[1])
    return headers, said


def _options(said: dict[bytes, list[bytes]], name: bytes) -> list[bytes]:
    """The members of a header that is a list of words (RFC 9110 §5.6.1)."""
    values = said.get(name)
    return [option.strip(b"\t ") for option in b",".join(values).lower().split(b",")] if values else []


def _request_length(said: dict[bytes, list[bytes]], chunks: bool) -> int | None:
    """How long a request's body is, None for chunks (RFC 9112 §6.3)."""
    codings, lengths = said.get(b"transfer-encoding"), said.get(b"content-length")
    if codings is None and lengths is None:
        return 0
    if codings is not None and lengths is not None:
        raise MalformedHttp("The request has both Content-Length and Transfer-Encoding; send one of them.")
    if lengths is not None:
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise MalformedHttp("Content-Length must be given once, and be one number of bytes.")
        return int(lengths[0])
    if not chunks or [coding.lower() for coding in codings or ()] != [b"chunked"]:
        raise MalformedHttp("Transfer-Encoding can only be chunked, given once, in HTTP/1.1.")
    return None


def _reply_body(status: int, said: dict[bytes, list[bytes]], bodiless: bool) -> tuple[BodyDecoder, bool]:
    """What takes a reply's body, and whether it is clear where that ends (RFC 9112 §6.3)."""
    codings, lengths = said.get(b"transfer-encoding"), said.get(b"content-length")
    if bodiless or status < 200 or status in (204, 304):
        return SizedDecoder(0), True
    if codings is not None:
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise MalformedHttp("The reply has a transfer coding that was not asked for.")
        return ChunkedDecoder(), lengths is None  # chunks count, but somebody on the way may have seen it otherwise
    if lengths is not None:
        if len(set(lengths)) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise MalformedHttp("The reply's Content-Length is not one number of bytes.")
        return SizedDecoder(int(lengths[0])), True
    return UnsizedDecoder(), False


def encode_request(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A request's head.

    Raises:
        LocalError: a header holds a line end or NUL, and would forge another one.
    """
    lines = [b"%b %b HTTP/1.1" % (method, target), *[b"%b: %b" % field for field in headers], b"\r\n"]
    return _checked(b"\r\n".join(lines), len(lines))


def encode_reply(status: int, reason: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A reply's head; `reason` is for people, and may be empty.

    Raises:
        LocalError: a header holds a line end or NUL, and would forge another one; or it is not Latin-1.
    """
    lines = [f"HTTP/1.1 {status} {reason}", *[f"{name}: {value}" for name, value in headers], "\r\n"]
    try:
        head = "\r\n".join(lines).encode("latin-1")
    except UnicodeEncodeError:
        raise LocalError("A header to be sent holds a character that HTTP/1.1 cannot carry.") from None
    return _checked(head, len(lines))


def _checked(head: bytes, lines: int) -> bytes:
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise LocalError("A header to be sent holds a line end or NUL.")
    return head
