"""Content codings of replies: a stream is decoded as it comes, and nothing may grow without bound."""

import gzip
import zlib

import httpx
import pytest

from stream_gateway.upstream.decoding import MAX_PIECE, UndecodableReply, decoder_for
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


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_any_pieces(size: int) -> None:
    text = b"".join(b"data: %d\n\n" % number for number in range(500))
    body = gzip.compress(text)
    decode = decoder_for(b"gzip")
    assert decode is not None
    assert b"".join(decode(body[at : at + size]) for at in range(0, len(body), size)) == text


def test_the_bound_is_for_one_piece_and_can_be_met_exactly() -> None:
    for size, good in ((MAX_PIECE, True), (MAX_PIECE + 1, False)):
        decode = decoder_for(b"gzip")
        assert decode is not None
        body = gzip.compress(b"0" * size)
        if good:
            assert len(decode(body)) == size
        else:
            with pytest.raises(UndecodableReply, match=str(MAX_PIECE)):
                decode(body)
    decode = decoder_for(b"gzip", 10)
    assert decode is not None
    with pytest.raises(UndecodableReply, match="over 10 bytes"):
        decode(gzip.compress(b"0" * 11))
