"""Content codings of replies: a stream is decoded as it comes, and nothing may grow without bound."""

import contextlib
import gzip
import zlib
from collections.abc import Callable

import brotli
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.upstream.decoding import MAX_PIECE, UndecodableReply, decoder_for, zstd
from tests.gateway.upstream.conftest import Serve
from tests.gateway.upstream.loopback import Handler, Peer, Pool, TakingSink, chunks


def in_pieces(*pieces: bytes) -> Handler:
    async def handle(peer: Peer) -> None:
        while await peer.request():
            await peer.send(*pieces)

    return handle


def compressed(coding: bytes, *pieces: bytes) -> list[bytes]:
    head, *rest = chunks(*pieces)
    return [head.replace(b"\r\n\r\n", b"\r\nContent-Encoding: " + coding + b"\r\n\r\n"), *rest]


def deflated(*texts: bytes, wbits: int = zlib.MAX_WBITS | 16) -> list[bytes]:
    """Texts compressed one by one, as a stream is."""
    compressor = zlib.compressobj(wbits=wbits)
    pieces = [compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH) for text in texts]
    return [*pieces, compressor.flush()]


@pytest.mark.parametrize(
    ("coding", "wbits"),
    [(b"gzip", zlib.MAX_WBITS | 16), (b"X-GZip", zlib.MAX_WBITS | 16), (b"deflate", zlib.MAX_WBITS)],
)
async def test_a_stream_that_is_compressed_all_the_same(serve: Serve, pool: Pool, coding: bytes, wbits: int) -> None:
    sink = TakingSink()
    await pool.ask(
        await serve(in_pieces(*compressed(coding, *deflated(b"data: a\n\n", b"data: b\n\n", wbits=wbits)))), sink=sink
    )
    assert sink.body == b"data: a\n\ndata: b\n\n"
    assert sink.ended == 1


async def test_identity_is_no_coding(serve: Serve, pool: Pool) -> None:
    sink = TakingSink()
    await pool.ask(await serve(in_pieces(*compressed(b"identity", b"a"))), sink=sink)
    assert sink.body == b"a"


@pytest.mark.parametrize(
    ("coding", "body", "message"),
    [
        (b"compress", b"x", "not asked for: compress"),
        (b"gzip, gzip", b"x", "not asked for: gzip, gzip"),
        (b"gzip", b"this is not gzip", "broken"),
        (b"gzip", gzip.compress(b"0" * 50_000_000), "over 1048576 bytes"),
    ],
    ids=["unknown", "twice", "broken", "a bomb"],
)
async def test_a_stream_that_cannot_be_decoded(
    serve: Serve, pool: Pool, coding: bytes, body: bytes, message: str
) -> None:
    with pytest.raises(httpx.ReadError, match=message):
        await pool.ask(await serve(in_pieces(*compressed(coding, body))), sink=TakingSink())
    assert pool.counts == (0, 0)


async def test_a_reply_that_is_compressed_all_the_same(serve: Serve, pool: Pool) -> None:
    response = await pool.ask(await serve(in_pieces(*compressed(b"gzip", gzip.compress(b"hello")))))
    assert response.content == b"hello"


@pytest.mark.parametrize("body", [b"this is not gzip", gzip.compress(b"0" * 50_000_000)], ids=["broken", "a bomb"])
async def test_a_reply_that_cannot_be_decoded(serve: Serve, pool: Pool, body: bytes) -> None:
    server = await serve(in_pieces(*compressed(b"gzip", body)))
    with pytest.raises(httpx.TransportError):
        await pool.ask(server)
    await server.has_open(pool.counts[1])


# Without a connection


def test_nothing_to_decode() -> None:
    assert decoder_for(b"") is None
    assert decoder_for(b" Identity ") is None


TEXT = b"".join(b"data: %d\n\n" % number for number in range(500))

PACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstd.compress,
}
every_coding = pytest.mark.parametrize("coding", PACK)


def bare_deflate(data: bytes) -> bytes:
    """Deflate without zlib's head, as some servers send it."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def decode_in_pieces(coding: bytes, body: bytes, size: int) -> bytes:
    decode = decoder_for(coding)
    assert decode is not None
    return b"".join(decode(body[at : at + size]) for at in range(0, len(body), size))


@every_coding
@pytest.mark.parametrize("size", [1, 5, 1000, 100_000])
def test_any_pieces(coding: bytes, size: int) -> None:
    assert decode_in_pieces(coding, PACK[coding](TEXT), size) == TEXT


@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_deflate_without_a_head(size: int) -> None:
    assert decode_in_pieces(b"deflate", bare_deflate(TEXT), size) == TEXT


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_members_one_after_the_other(coding: bytes, size: int) -> None:
    assert decode_in_pieces(coding, PACK[coding](b"one ") + PACK[coding](b"two"), size) == b"one two"


@every_coding
def test_an_event_is_there_as_soon_as_it_was_flushed(coding: bytes) -> None:
    def flushed(*texts: bytes) -> list[bytes]:
        if coding == b"br":
            brotly = brotli.Compressor()
            return [brotly.process(text) + brotly.flush() for text in texts]
        if coding == b"zstd":
            packer = zstd.ZstdCompressor()
            return [packer.compress(text, packer.FLUSH_BLOCK) for text in texts]
        return deflated(*texts, wbits=zlib.MAX_WBITS | (16 if coding == b"gzip" else 0))[:-1]

    decode = decoder_for(coding)
    assert decode is not None
    texts = [b"data: %d\n\n" % number for number in range(50)]
    assert [decode(piece) for piece in flushed(*texts)] == texts


@every_coding
def test_the_bound_is_for_one_piece_and_can_be_met_exactly(coding: bytes) -> None:
    for size, good in ((MAX_PIECE, True), (MAX_PIECE + 1, False), (30 * MAX_PIECE, False)):
        decode = decoder_for(coding)
        assert decode is not None
        body = PACK[coding](b"0" * size)
        if good:
            assert len(decode(body)) == size
        else:
            with pytest.raises(UndecodableReply, match=str(MAX_PIECE)):
                decode(body)
    decode = decoder_for(coding, 10)
    assert decode is not None
    with pytest.raises(UndecodableReply, match="over 10 bytes"):
        decode(PACK[coding](b"0" * 11))


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
def test_the_bound_is_for_all_members_of_a_piece_together(coding: bytes) -> None:
    decode = decoder_for(coding, 10)
    assert decode is not None
    assert len(decode(PACK[coding](b"0" * 5) * 2)) == 10
    with pytest.raises(UndecodableReply, match="over 10 bytes"):
        decode(PACK[coding](b"0" * 5) * 3)


def test_a_window_that_would_take_much_memory_is_refused() -> None:
    wide = zstd.compress(TEXT, options={zstd.CompressionParameter.window_log: 27})
    frame = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    streamed = frame.compress(TEXT) + frame.flush()
    decode = decoder_for(b"zstd")
    assert decode is not None
    assert decode(wide) == TEXT  # it says how little it needs
    decode = decoder_for(b"zstd")
    assert decode is not None
    with pytest.raises(UndecodableReply, match="broken"):
        decode(streamed)


@every_coding
@given(data=st.binary(min_size=1, max_size=200))
def test_any_bytes_at_all(coding: bytes, data: bytes) -> None:
    decode = decoder_for(coding, 1000)
    assert decode is not None
    with contextlib.suppress(UndecodableReply):
        assert len(decode(data)) <= 1000
