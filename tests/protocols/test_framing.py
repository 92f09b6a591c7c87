"""Framings: what they add can be taken off again, by somebody else's parser."""

from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_protocols.errors import UpstreamError
from stream_protocols.framing import ChunkedDecoder, chunked, identity


def read_chunked(wire: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """The body that h11 finds in a chunked response; raises `h11.RemoteProtocolError` where it finds none."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire + end)
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            raise h11.RemoteProtocolError("incomplete")
        if isinstance(event, h11.Data):
            body += event.data
    return body


@given(st.lists(st.binary(min_size=1, max_size=400), max_size=10))
def test_chunks_are_what_another_parser_takes_for_the_body(pieces: list[bytes]) -> None:
    assert read_chunked(b"".join(map(chunked, pieces))) == b"".join(pieces)


@pytest.mark.parametrize(("size", "head"), [(1, b"1"), (10, b"a"), (255, b"ff"), (65_536, b"10000")])
def test_the_length_is_hexadecimal(size: int, head: bytes) -> None:
    assert chunked(b"x" * size) == head + b"\r\n" + b"x" * size + b"\r\n"


def test_identity_adds_nothing() -> None:
    assert identity(b"data: a\n\n") == b"data: a\n\n"


# Taking chunks apart


def feed(*pieces: bytes) -> tuple[bytes, bool, bytes]:
    """The body in these pieces, whether it has ended, and what came after it in the piece that ended it."""
    decoder = ChunkedDecoder()
    body = b""
    for piece in pieces:
        body += decoder.feed(piece)
        if decoder.ended:
            break
    return body, decoder.ended, decoder.rest


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[start:end] for start, end in pairwise(edges)]


WIRE = b'3\r\nabc\r\n0A;ext="1";x\r\n0123456789\r\n2\r\n\r\n\r\n00\r\nTrailer: 1\r\nMore: 2\r\n\r\n'
BODY = b"abc0123456789\r\n"


def test_the_sample_is_what_another_parser_understands() -> None:
    assert read_chunked(WIRE, b"") == BODY


def test_whole_at_every_cut_and_byte_by_byte() -> None:
    assert feed(WIRE) == (BODY, True, b"")
    assert feed(*(WIRE[i : i + 1] for i in range(len(WIRE)))) == (BODY, True, b"")
    for first in range(len(WIRE)):
        for second in range(first, len(WIRE)):
            assert feed(WIRE[:first], WIRE[first:second], WIRE[second:]) == (BODY, True, b"")


def test_no_truncation_is_an_end() -> None:
    for size in range(len(WIRE)):
        body, ended, _ = feed(WIRE[:size])
        assert not ended
        assert BODY.startswith(body)


def test_data_comes_out_before_its_chunk_is_complete() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"5\r\nab") == b"ab"
    assert decoder.feed(b"c") == b"c"
    assert decoder.feed(b"de\r\n5\r\nfg") == b"defg"


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"000;x=y\r\n\r\n"])
def test_what_comes_after_the_end_is_kept_apart(end: bytes) -> None:
    for extra in (b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n\r\n"):
        assert feed(b"2\r\nok\r\n" + end + extra) == (b"ok", True, extra)


@pytest.mark.parametrize(
    "wire",
    [
        b"x",
        b"\r\n",
        b" 3\r\nabc",
        b"-1\r\n",
        b"0x3\r\nabc",
        b"3\nabc\r\n",
        b"3\rabc",
        b"3\r\nabcd",
        b"3\r\nabc\n3\r\n",
        b"3\r\nabc\r3",
        b"3\r\nabc3\r\n",
        b"3 x\r\n",
        b"1" * 16 + b"\r\n",
        b"3;" + b"x" * 20_000,
        b"0\r\n" + b"X: y\r\n" * 5_000,
    ],
    ids=lambda wire: wire[:12],
)
def test_what_is_no_chunk(wire: bytes) -> None:
    size = 1 if len(wire) < 1000 else 1000
    with pytest.raises(UpstreamError):
        feed(wire)
    with pytest.raises(UpstreamError):
        feed(*(wire[at : at + size] for at in range(0, len(wire), size)))


places = st.lists(st.integers(0, 500), max_size=6)
fragments = st.sampled_from([b"0", b"1", b"3", b"a", b"\r\n", b"\r", b"\n", b"abc", b";x", b" ", b"X: y", b"0\r\n\r\n"])


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), places)
def test_our_own_chunks_in_any_pieces(pieces: list[bytes], places: list[int]) -> None:
    wire = b"".join(map(chunked, pieces)) + b"0\r\n\r\n"
    assert feed(*cut(wire, places)) == (b"".join(pieces), True, b"")


def outcome(pieces: list[bytes]) -> tuple[bytes, bool, bytes] | None:
    try:
        return feed(*pieces)
    except UpstreamError:
        return None


def theirs(wire: bytes) -> bytes | None:
    try:
        return read_chunked(wire, b"")
    except h11.RemoteProtocolError:
        return None


@given(st.lists(fragments, max_size=12).map(b"".join))
@example(b"1\r\na\r\n0\r\n\r\n")
@example(b"0\r\nX: y\r\n\r\n")
def test_what_another_parser_understands_we_understand_alike(wire: bytes) -> None:
    body = theirs(wire)
    if body is not None:
        assert feed(wire)[:2] == (body, True)
    elif (result := outcome([wire])) is not None and result[1]:
        # We are more generous only with blanks before an extension, and with trailers, which we drop unread.
        assert b" ;" in wire or b"0\r\n" in wire


def test_blanks_before_an_extension() -> None:
    assert feed(b"2 \t;x\r\nok\r\n0 ;x\r\n\r\n") == (b"ok", True, b"")


@given(st.lists(fragments, max_size=12).map(b"".join), places)
def test_any_bytes_mean_the_same_in_any_pieces(wire: bytes, places: list[int]) -> None:
    whole, pieces = outcome([wire]), outcome(cut(wire, places))
    if whole is None or pieces is None:
        assert whole is pieces or (pieces is not None and pieces[1]) or (whole is not None and whole[1])
    else:
        assert whole[:2] == pieces[:2]
