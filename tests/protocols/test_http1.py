"""HTTP/1.1 messages: the same whatever pieces they come in, never two where another parser sees one."""

import contextlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_protocols.errors import BadRequest, HeadersTooLarge, LocalError, MalformedHttp
from stream_protocols.http1 import (
    Headers,
    ReplyHead,
    ReplyReader,
    RequestHead,
    RequestReader,
    encode_reply,
    encode_request,
)
from tests.protocols.other_parser import read_reply, read_requests

MAX_HEAD = 2_000

Message = tuple[RequestHead, bytes]


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[start:end] for start, end in pairwise(edges) if start < end]


def requests(*pieces: bytes) -> list[Message]:
    """The whole requests in these pieces."""
    found: list[Message] = []
    read(pieces, found)
    return found


def read(pieces: Iterable[bytes], found: list[Message]) -> None:
    """Append the whole requests in these pieces to `found`, also when another one breaks off."""
    reader = RequestReader(MAX_HEAD)
    head, body = None, b""
    for piece in pieces:
        reader.feed(piece)
        while True:
            if head is None:
                head, body = reader.head(), b""
                if head is None:
                    break
            body += reader.body()
            if not reader.complete:
                break
            found.append((head, body))
            head = None


def request(*pieces: bytes) -> Message:
    (found,) = requests(*pieces)
    return found


def reply(*pieces: bytes, bodiless: bool = False) -> tuple[ReplyHead, bytes]:
    """The reply that a connection brings before it ends."""
    reader = ReplyReader(MAX_HEAD)
    head, body = None, b""
    for piece in (*pieces, b""):
        reader.feed(piece)
        if head is None:
            head = reader.head(bodiless=bodiless)
        if head is not None:
            body += reader.body()
    assert head is not None
    assert reader.complete
    return head, body


# Requests

GET = b"GET /v1/models?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHOST: a\r\nX-Two:  b \t\r\nx-two:\r\nX-High: \xe9\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"


def test_a_request_and_what_it_says() -> None:
    head, body = request(POST)
    assert (head.method, head.target, head.length, body) == ("POST", "/", 5, b"hello")
    assert head.headers == [
        (b"host", b"a"),
        (b"x-two", b"b"),
        (b"x-two", b""),
        (b"x-high", b"\xe9"),
        (b"content-length", b"5"),
    ]
    assert (head.chunks, head.keep_alive, head.invited) == (True, True, False)
    for wire in (CHUNKED, CHUNKED.replace(b"chunked", b"CHUNKED")):
        head, body = request(wire)
        assert (head.length, body) == (None, b"abc")
    assert request(GET)[0].target == "/v1/models?x=1"


def test_requests_sent_ahead_at_every_cut_and_byte_by_byte() -> None:
    wire = POST + GET + CHUNKED + GET
    whole = requests(wire)
    assert [body for _, body in whole] == [b"hello", b"", b"abc", b""]
    assert requests(*(wire[at : at + 1] for at in range(len(wire)))) == whole
    for at in range(len(wire)):
        assert requests(wire[:at], wire[at:]) == whole


@pytest.mark.parametrize(
    ("fields", "keep_alive"),
    [
        (b"", True),
        (b"Connection: close\r\n", False),
        (b"Connection: x , CLOSE\r\n", False),
        (b"Connection: x\r\nConnection: close\r\n", False),
        (b"Connection: keep-alive, closed\r\n", True),
    ],
)
def test_whether_another_request_may_follow(fields: bytes, keep_alive: bool) -> None:
    assert request(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")[0].keep_alive is keep_alive


def test_http10_knows_no_chunks_and_no_second_request() -> None:
    head, _ = request(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n")
    assert (head.chunks, head.keep_alive, head.invited, head.length) == (False, False, False, 0)


def test_a_minor_version_of_the_future_is_spoken_as_ours() -> None:
    assert request(b"GET / HTTP/1.7\r\nHost: a\r\n\r\n")[0].chunks


def test_who_waits_for_an_invitation() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n"
    assert request(head + b"x")[0].invited


def test_an_upgrade_that_nobody_takes_up_is_a_request_like_any_other() -> None:
    fields = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    sized = b"POST / HTTP/1.1\r\n" + fields + b"Content-Length: 5\r\n\r\nhello"
    chunked = b"POST / HTTP/1.1\r\n" + fields + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert [body for _, body in requests(sized + chunked + GET)] == [b"hello", b"hello", b""]


def test_what_follows_an_upgrade_is_there_for_whoever_takes_it_up() -> None:
    reader = RequestReader(MAX_HEAD)
    reader.feed(GET + b"\x81\x00")
    assert reader.head() is not None
    assert reader.complete
    assert reader.waiting == b"\x81\x00"


LINE = b"POST / HTTP/1.1\r\nHost: a\r\n"

NO_REQUESTS = {
    "two lengths": LINE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "the same length twice": LINE + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "a list of lengths": LINE + b"Content-Length: 3, 3\r\n\r\n",
    "signed length": LINE + b"Content-Length: +3\r\n\r\n",
    "negative length": LINE + b"Content-Length: -3\r\n\r\n",
    "length in hex": LINE + b"Content-Length: 0x3\r\n\r\n",
    "length with a blank": LINE + b"Content-Length: 3 3\r\n\r\n",
    "length with an underscore": LINE + b"Content-Length: 1_0\r\n\r\n",
    "length in other digits": LINE + "Content-Length: ٣\r\n\r\n".encode(),
    "no length": LINE + b"Content-Length:\r\n\r\n",
    "length beyond all numbers": LINE + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
    "length and chunks": LINE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "another coding": LINE + b"Transfer-Encoding: gzip\r\n\r\n",
    "identity": LINE + b"Transfer-Encoding: identity\r\n\r\n",
    "a coding before chunked": LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "nothing before chunked": LINE + b"Transfer-Encoding: , chunked\r\n\r\n",
    "chunked twice": LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked with a parameter": LINE + b"Transfer-Encoding: chunked;a=b\r\n\r\n",
    "chunked in quotes": LINE + b'Transfer-Encoding: "chunked"\r\n\r\n',
    "chunked after a vertical tab": LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "chunked folded": LINE + b"Transfer-Encoding:\r\n chunked\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "blank before the colon": LINE + b"Content-Length : 3\r\n\r\n",
    "tab before the colon": LINE + b"Content-Length\t: 3\r\n\r\n",
    "tab in a name": LINE + b"Transfer\tEncoding: chunked\r\n\r\n",
    "blank in a name": LINE + b"X Y: 1\r\n\r\n",
    "no name": LINE + b": 1\r\n\r\n",
    "no colon": LINE + b"nonsense\r\n\r\n",
    "parenthesis in a name": LINE + b"X(): 1\r\n\r\n",
    "high byte in a name": LINE + b"X\xff: 1\r\n\r\n",
    "folded": LINE + b"X: a\r\n b\r\n\r\n",
    "folded first": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "NUL": LINE + b"X: \0\r\n\r\n",
    "control character": LINE + b"X: a\x01b\r\n\r\n",
    "DEL": LINE + b"X: a\x7fb\r\n\r\n",
    "CR in a value": LINE + b"X: a\rY: b\r\n\r\n",
    "LF in a value": LINE + b"X: a\nTransfer-Encoding: chunked\r\n\r\n",
    "LF for line ends": b"GET / HTTP/1.1\nHost: a\n\n",
    "LF for the last line end": LINE + b"\n",
    "CR for line ends": b"GET / HTTP/1.1\rHost: a\r\r",
    "empty line first": b"\r\n" + GET,
    "blank first": b" " + GET,
    "no version": b"GET /\r\n\r\n",
    "another protocol": b"GET / ICE/1.1\r\nHost: a\r\n\r\n",
    "small letters": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "long version": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "blank after the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "tabs": b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "blank in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "high byte in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "method that is no token": b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
}


@pytest.mark.parametrize("wire", NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
def test_what_is_no_request(wire: bytes) -> None:
    with pytest.raises(MalformedHttp):
        requests(wire)
    with pytest.raises(MalformedHttp):
        requests(*(wire[at : at + 1] for at in range(len(wire))))


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0"])
def test_another_version_is_named(version: bytes) -> None:
    with pytest.raises(BadRequest, match=f"HTTP/{version.decode()} cannot"):
        requests(b"GET / HTTP/" + version + b"\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize("wire", [b"G", LINE, LINE + b"\r", POST[:-1], CHUNKED[:-1]])
def test_an_end_in_the_middle(wire: bytes) -> None:
    with pytest.raises(MalformedHttp, match="ended"):
        requests(wire, b"")


def test_an_end_between_two_requests() -> None:
    assert len(requests(GET, b"")) == 1
    assert requests(b"") == []


@pytest.mark.parametrize("size", [1, 7, 500, 100_000])
@pytest.mark.parametrize("flood", [b"X: " + b"a" * 10_000, b"X: a\r\n" * 2_000, b"X: " + b" " * 10_000])
def test_a_head_has_a_limit_before_it_is_complete(flood: bytes, size: int) -> None:
    wire = LINE + flood
    reader = RequestReader(MAX_HEAD)
    fed = 0
    with pytest.raises(HeadersTooLarge, match="2000 bytes"):
        while fed < len(wire):
            reader.feed(wire[fed : fed + size])
            fed += size
            assert reader.head() is None
    assert fed <= MAX_HEAD + size


def test_a_head_at_its_limit() -> None:
    head = LINE + b"X: " + b"a" * (MAX_HEAD - len(LINE) - 7) + b"\r\n\r\n"
    assert len(head) == MAX_HEAD
    assert len(requests(head + GET)) == 2
    with pytest.raises(HeadersTooLarge):
        requests(head.replace(b"X: ", b"XX: "))


lines = st.sampled_from(
    [
        *(b"Host: a", b"X: y", b"Content-Length: 3", b"Content-Length: 0", b"Transfer-Encoding: chunked", b" folded"),
        *(b"Content-Length : 3", b"Connection: close", b"Transfer-Encoding: gzip, chunked", b"X\x0b: y", b"X: \x01"),
    ]
)
ends = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"])
bodies = st.sampled_from([b"", b"abc", b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", GET])
starts = st.sampled_from([b"POST / HTTP/1.1"] * 6 + [b"GET / HTTP/1.0", b"POST  / HTTP/1.1", b"\r\nGET / HTTP/1.1"])
heads = st.builds(
    lambda start, parts, last: start + b"\r\nHost: a\r\n" + b"".join(a + b for a, b in parts) + last,
    starts,
    st.lists(st.tuples(lines, ends), max_size=4),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
)


@given(st.lists(st.tuples(heads, bodies).map(b"".join), min_size=1, max_size=3).map(b"".join))
@example(CHUNKED + GET)
def test_what_we_take_for_requests_another_parser_takes_for_the_same(wire: bytes) -> None:
    """We refuse some that it accepts; what we accept it accepts, and sees the same bounds."""
    ours: list[Message] = []
    with contextlib.suppress(BadRequest, HeadersTooLarge):
        read([wire], ours)
    last = next((number for number, (head, _) in enumerate(ours, 1) if not head.keep_alive), len(ours))
    theirs = read_requests(wire)
    assert len(theirs) >= last
    for (head, body), (their_head, their_body) in zip(ours[:last], theirs, strict=False):
        assert (head.method, head.target, body) == (their_head.method.decode(), their_head.target.decode(), their_body)
        assert head.headers == list(their_head.headers)


@given(st.binary(max_size=200) | heads, st.lists(st.integers(0, 500), max_size=5))
def test_any_bytes_mean_the_same_in_any_pieces(wire: bytes, places: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> list[Message] | None:
        try:
            return requests(*pieces)
        except (BadRequest, HeadersTooLarge):
            return None

    assert outcome([wire]) == outcome(cut(wire, places))


# Replies

SIZED_REPLY = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nok"
CHUNKED_REPLY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("wire", "status", "body", "keep_alive"),
    [
        (SIZED_REPLY, 200, b"ok", True),
        (CHUNKED_REPLY, 200, b"ok", True),
        (b"HTTP/1.1 200 OK\r\n\r\nok", 200, b"ok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
        (CHUNKED_REPLY.replace(b"\r\n\r\n2", b"\r\nContent-Length: 9\r\n\r\n2"), 200, b"ok", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, b"", True),
        (b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", 404, b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nX: y\r\n\r\n" + SIZED_REPLY, 200, b"ok", True),
    ],
)
def test_a_reply_in_any_pieces(wire: bytes, status: int, body: bytes, keep_alive: bool) -> None:
    for pieces in ([wire], [wire[at : at + 1] for at in range(len(wire))]):
        head, found = reply(*pieces)
        assert (head.status, found, head.keep_alive) == (status, body, keep_alive)
    theirs, their_body = read_reply(wire)
    assert (theirs.status_code, their_body) == (status, body)


def test_a_reply_to_head_has_no_body() -> None:
    head, body = reply(SIZED_REPLY[:-2], bodiless=True)
    assert (head.headers, body) == ([(b"x", b"y"), (b"content-length", b"2")], b"")


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 2000 High\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200\tOK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: y\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        SIZED_REPLY[:-1],
        CHUNKED_REPLY[:-1],
    ],
)
def test_what_is_no_whole_reply(wire: bytes) -> None:
    with pytest.raises(MalformedHttp):
        reply(wire)


# Heads to send


def test_our_requests_are_what_another_parser_reads() -> None:
    headers: Headers = [(b"Host", b"a"), (b"X", b"\xe9"), (b"Content-Length", b"2")]
    ((head, body),) = read_requests(encode_request(b"POST", b"/v1", headers) + b"ok")
    assert (head.method, head.target, body) == (b"POST", b"/v1", b"ok")
    assert list(head.headers) == [(b"host", b"a"), (b"x", b"\xe9"), (b"content-length", b"2")]


@pytest.mark.parametrize("reason", ["OK", ""])
def test_our_replies_are_what_another_parser_reads(reason: str) -> None:
    head, body = read_reply(encode_reply(200, reason, [("X", "é"), ("Content-Length", "2")]) + b"ok")
    assert (head.status_code, head.reason.decode(), body) == (200, reason, b"ok")
    assert list(head.headers) == [(b"x", b"\xe9"), (b"content-length", b"2")]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "\n"])
def test_no_header_forges_another(value: str) -> None:
    with pytest.raises(LocalError):
        encode_reply(200, "OK", [("A", "b"), ("Retry-After", value)])
    with pytest.raises(LocalError):
        encode_reply(200, "OK", [(value, "b")])
    with pytest.raises(LocalError):
        encode_request(b"POST", b"/", [(b"Authorization", value.encode())])
    with pytest.raises(LocalError):
        encode_request(b"POST", value.encode(), [])


def test_a_header_must_be_latin() -> None:
    with pytest.raises(LocalError, match="cannot carry"):
        encode_reply(200, "OK", [("X", "日本")])
