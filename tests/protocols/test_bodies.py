"""Bodies of HTTP/1.1: the same from one piece or many, and never ended by a truncation."""

import re
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_protocols.bodies import ChunkedDecoder, SizedDecoder, UnsizedDecoder
from stream_protocols.errors import MalformedHttp
from stream_protocols.framing import chunked
from tests.protocols.other_parser import read_chunked

LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
"""A line end that is none."""


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
    assert read_chunked(WIRE) == BODY


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
        b"3;\0\r\nabc\r\n",
        b"0\r\nX Y: z\r\n\r\n",
        b"0\r\nX: y\nZ: z\r\n\r\n",
        b"0\r\n Folded: x\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ],
    ids=lambda wire: wire[:12],
)
def test_what_is_no_chunk(wire: bytes) -> None:
    size = 1 if len(wire) < 1000 else 1000
    with pytest.raises(MalformedHttp):
        feed(wire)
    with pytest.raises(MalformedHttp):
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
    except MalformedHttp:
        return None


def theirs(wire: bytes) -> bytes | None:
    try:
        return read_chunked(wire)
    except h11.RemoteProtocolError:
        return None


@given(st.lists(fragments, max_size=12).map(b"".join))
@example(b"1\r\na\r\n0\r\n\r\n")
@example(b"0\r\nX: y\r\n\r\n")
@example(b"0;x\r0\r\n\r\n")
def test_what_another_parser_understands_we_understand_alike_or_not_at_all(wire: bytes) -> None:
    ours, body = outcome([wire]), theirs(wire)
    if body is not None:
        assert (ours is None and LONE.search(wire)) or (ours is not None and ours[:2] == (body, True))
    elif ours is not None and ours[1]:
        assert b" ;" in wire  # a blank before an extension is the only thing in which we are more generous


def test_blanks_before_an_extension() -> None:
    assert feed(b"2 \t;x\r\nok\r\n0 ;x\r\n\r\n") == (b"ok", True, b"")


@given(st.lists(fragments, max_size=12).map(b"".join), places)
def test_any_bytes_mean_the_same_in_any_pieces(wire: bytes, places: list[int]) -> None:
    whole, pieces = outcome([wire]), outcome(cut(wire, places))
    if whole is None or pieces is None:
        assert whole is pieces or (pieces is not None and pieces[1]) or (whole is not None and whole[1])
    else:
        assert whole[:2] == pieces[:2]


# Bodies that are not chunked


@given(st.binary(max_size=60), st.binary(max_size=20), places)
def test_a_sized_body_in_any_pieces(body: bytes, extra: bytes, places: list[int]) -> None:
    decoder = SizedDecoder(len(body))
    found = rest = b""
    for piece in cut(body + extra, places):
        if decoder.ended:
            rest += piece
        else:
            found += decoder.feed(piece)
            rest = decoder.rest
    assert (found, rest, decoder.ended) == (body, extra if body else body + extra, True)


def test_an_unsized_body_is_all_there_is() -> None:
    decoder = UnsizedDecoder()
    assert decoder.feed(b"a") + decoder.feed(b"b") == b"ab"
    assert not decoder.ended
    decoder.close()
    assert decoder.ended


@pytest.mark.parametrize("decoder", [SizedDecoder(3), ChunkedDecoder()])
def test_a_truncation_is_told(decoder: SizedDecoder | ChunkedDecoder) -> None:
    decoder.feed(b"1\r")
    with pytest.raises(MalformedHttp):
        decoder.close()
    assert not decoder.ended
