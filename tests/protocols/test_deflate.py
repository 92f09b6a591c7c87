"""permessage-deflate: what is agreed, what is sent, and what is inflated, never beyond the bound."""

import contextlib
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_protocols.deflate import (
    THRESHOLD,
    WINDOW_BITS,
    Deflate,
    Inflater,
    TooLarge,
    context_packer,
    negotiate,
    shared_packer,
)
from stream_protocols.websocket import BINARY, TEXT, Packer, frame

TAIL = b"\x00\x00\xff\xff"


# ---- negotiation (RFC 7692, section 7.1)


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate", Deflate(True, 10)),
        ("permessage-deflate; server_no_context_takeover", Deflate(False, 10)),
        ("permessage-deflate; client_no_context_takeover", Deflate(True, 10)),
        ("permessage-deflate; server_max_window_bits=9", Deflate(True, 9)),
        ("permessage-deflate; server_max_window_bits=12", Deflate(True, 10)),
        ("permessage-deflate; client_max_window_bits", Deflate(True, 10, 15)),
        ("permessage-deflate; client_max_window_bits=8", Deflate(True, 10, 8)),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", Deflate(True, 10)),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; client_max_window_bits=", None),
        ("permessage-deflate; server_max_window_bits=٩", None),
        ("permessage-deflate; server_max_window_bits= 9", Deflate(True, 9)),
        ("other", None),
        ("", None),
        (None, None),
    ],
)
def test_offers(offer: str | None, agreed: Deflate | None) -> None:
    assert negotiate(offer, "context") == agreed
    assert negotiate(offer, "off") is None
    shared = negotiate(offer, "shared")
    assert (shared is None) is (agreed is None)
    assert shared is None or not shared.context


@given(st.text(max_size=200) | st.text('permsag-dflt;,=_15 "', max_size=100))
@example("permessage-deflate" + ";" * 10_000)
@example("," * 10_000)
def test_any_offer(offer: str) -> None:
    """Whatever is offered, nothing is raised."""
    negotiate(offer, "context")


@pytest.mark.parametrize(
    ("agreed", "header"),
    [
        (Deflate(True, 10), "permessage-deflate; client_no_context_takeover; server_max_window_bits=10"),
        (
            Deflate(False, 9, 12),
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover; "
            "server_max_window_bits=9; client_max_window_bits=12",
        ),
    ],
)
def test_the_answer(agreed: Deflate, header: str) -> None:
    assert agreed.header() == header


@pytest.mark.parametrize("mode", ["context", "shared"])
def test_the_answer_is_an_offer_that_would_be_met(mode: str) -> None:
    """What we say follows the grammar that we read."""
    for offer in ("permessage-deflate", "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9"):
        agreed = negotiate(offer, mode)  # type: ignore[arg-type]
        assert agreed is not None
        assert negotiate(agreed.header(), mode) == agreed  # type: ignore[arg-type]


# ---- what we send


def payload_of(data: bytes) -> tuple[bool, bytes]:
    """Whether a frame is compressed, and its payload."""
    length = data[1]
    start = 2 if length < 126 else 4 if length == 126 else 10
    return bool(data[0] & 0x40), data[start:]


messages = st.lists(st.binary(max_size=400) | st.text('ab{}":,', max_size=2000).map(str.encode), max_size=8)


@given(st.sampled_from(range(9, 16)), messages)
def test_shared_messages_stand_alone(bits: int, contents: list[bytes]) -> None:
    """Each is inflated without the others, with just the window that was agreed."""
    pack = shared_packer(bits)
    for content in contents:
        compressed, data = payload_of(pack(TEXT, content))
        if compressed:
            assert len(content) >= THRESHOLD
            assert len(data) < len(content)
            data = zlib.decompressobj(-bits).decompress(data + TAIL)
        assert data == content


@given(st.sampled_from(range(9, 16)), messages)
def test_messages_with_context_in_their_order(bits: int, contents: list[bytes]) -> None:
    pack, inflate = context_packer(bits), zlib.decompressobj(-bits)
    for content in contents:
        compressed, data = payload_of(pack(BINARY, content))
        assert compressed is (len(content) >= THRESHOLD)
        assert (inflate.decompress(data + TAIL) if compressed else data) == content


@pytest.mark.parametrize("bits", range(9, 16))
def test_shared_means_the_same_bytes(bits: int) -> None:
    """Sockets that agreed on the same parameters share a packer, and with it what was made for others."""
    assert shared_packer(bits) is shared_packer(bits)
    content = b'{"type":"event","stream":"abc","id":"abc.def.1"}' * 3
    assert shared_packer(bits)(TEXT, content) == shared_packer(bits)(TEXT, content)
    assert context_packer(bits) is not context_packer(bits)


@pytest.mark.parametrize("packer", [shared_packer, context_packer])
def test_below_the_threshold(packer: Callable[[int], Packer]) -> None:
    content = b"a" * (THRESHOLD - 1)
    assert packer(WINDOW_BITS)(TEXT, content) == frame(TEXT, content)
    assert payload_of(packer(WINDOW_BITS)(TEXT, b"a" * THRESHOLD))[0]


def test_a_compressor_is_small() -> None:
    """What a socket with a context keeps: 14 KiB, where zlib's defaults would be 262; and nothing before it is used."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        packers = [context_packer(WINDOW_BITS) for _ in range(100)]
        fresh = tracemalloc.get_traced_memory()[0] - before
        for pack in packers:
            pack(TEXT, b"x" * 1000)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert fresh / len(packers) < 1024
    assert used / len(packers) < 16_384


# ---- what we get


def deflated(data: bytes, level: int = 6, bits: int = 15, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits, strategy=strategy)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(data: bytes, max_bytes: int, step: int | None = None) -> bytes:
    inflater = Inflater(max_bytes)
    step = step or max(len(data), 1)
    parts = [inflater.feed(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join(parts) + inflater.finish()


@given(st.binary(max_size=2000), st.integers(0, 9), st.integers(9, 15), st.integers(1, 50))
def test_any_message_in_any_pieces(content: bytes, level: int, bits: int, step: int) -> None:
    data = deflated(content, level, bits)
    assert inflate(data, len(content)) == content
    assert inflate(data, len(content), step) == content


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 50))
def test_one_byte_too_many(content: bytes, step: int) -> None:
    with pytest.raises(TooLarge):
        inflate(deflated(content), len(content) - 1, step)


@given(st.binary(max_size=500), st.integers(1, 20))
def test_any_bytes(data: bytes, step: int) -> None:
    """They are inflated within the bound, or refused in one of the two ways."""
    with contextlib.suppress(TooLarge, zlib.error):
        assert len(inflate(data, 1000, step)) <= 1000


def test_one_after_another() -> None:
    """Each message by itself, and one that was refused leaves nothing behind."""
    inflater = Inflater(1000)
    for number in range(10):
        content = b"%d" % number * 100
        assert inflater.feed(deflated(content)) + inflater.finish() == content
    with pytest.raises(zlib.error):
        Inflater(1000).feed(b"\xff" * 10)


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("f248cdc9c90700"),
        bytes.fromhex("000500faff48656c6c6f00"),
        bytes.fromhex("f348cdc9c9070000"),
        bytes.fromhex("f24805000000ffffcac9c90700"),
    ],
)
def test_the_examples_of_the_standard(data: bytes) -> None:
    """RFC 7692, section 7.2.3: `Hello` in one block, uncompressed, marked as the last one, in two blocks."""
    for step in (1, 3, None):
        assert inflate(data, 5, step) == b"Hello"


def test_several_streams_in_one_message() -> None:
    """Each ends with a block that is marked as the last; what follows is a stream of its own."""
    ends = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = ends.compress(b"first ") + ends.flush(zlib.Z_FINISH)
    for step in (1, 5, None):
        assert inflate(first + deflated(b"second"), 12, step) == b"first second"
    with pytest.raises(zlib.error):
        inflate(first + b"\xff" * 1000, 100)


def test_a_bomb_is_not_inflated() -> None:
    """A thousand to one: what it takes is the bound, and not what the bomb holds."""
    bomb = deflated(bytes(50_000_000), 9)
    inflater = Inflater(10_000)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflater.feed(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 500_000


def test_nothing_that_is_fed_is_kept() -> None:
    """Not even behind the end of a stream, where zlib puts aside what it does not know what to do with."""
    ends = zlib.compressobj(9, zlib.DEFLATED, -15)
    final = ends.compress(b"x") + ends.flush(zlib.Z_FINISH)
    inflater = Inflater(1_000_000)
    empty = b"\x00\x00\x00\xff\xff" * 200
    inflater.feed(final)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            inflater.feed(empty)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
