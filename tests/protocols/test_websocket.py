"""Frames as servers write them, and the arithmetic of the opening handshake."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.streams import StreamReader

from stream_protocols.websocket import BINARY, TEXT, accept_key, frame


def read(data: bytes) -> Frame:
    """A frame as an independent implementation reads it; there is exactly one."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parser = Frame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(parser)
    except StopIteration as stop:
        found = stop.value
    assert isinstance(found, Frame)
    (rest,) = [reader.buffer]
    assert not rest
    return found


@given(st.sampled_from([TEXT, BINARY]), st.binary(max_size=300), st.booleans())
def test_any_frame(opcode: int, payload: bytes, compressed: bool) -> None:
    data = frame(opcode, payload, compressed)
    assert data[0] == 0x80 | (0x40 if compressed else 0) | opcode
    if not compressed:  # the reader knows of no extension
        assert read(data) == Frame(opcode, payload)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000])
def test_where_the_length_changes_its_form(size: int) -> None:
    payload = bytes(size)
    data = frame(BINARY, payload)
    assert read(data) == Frame(BINARY, payload)
    assert len(data) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


def test_the_example_of_the_standard() -> None:
    """RFC 6455, section 5.7: a single-frame unmasked text message."""
    assert frame(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert frame(BINARY, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert frame(BINARY, bytes(65_536))[:10] == bytes.fromhex("827f0000000000010000")


def test_the_accept_key_of_the_standard() -> None:
    """RFC 6455, section 1.3."""
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ== ",
        "dGhlIHNhbXBsZSBub25jZQ==\n",
        "dGhlIHNhbXBsZSBub25j-Q==",
        base64.b64encode(bytes(15)).decode(),
        base64.b64encode(bytes(17)).decode(),
        "ä" * 24,
        "\ud800" * 24,
        "=" * 24,
    ],
)
def test_what_is_no_key(key: str) -> None:
    assert accept_key(key) is None


@given(st.binary(min_size=16, max_size=16))
def test_any_key(nonce: bytes) -> None:
    assert accept_key(base64.b64encode(nonce).decode()) is not None


@given(st.text(max_size=40))
def test_any_text_for_a_key(text: str) -> None:
    """It is answered or refused, and nothing is raised."""
    assert accept_key(text) is None or len(base64.b64decode(text)) == 16
