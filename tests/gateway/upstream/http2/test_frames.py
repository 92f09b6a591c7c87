"""Frames are cut out whole, however they arrive, and what is too much is refused."""

from __future__ import annotations

import itertools

import pytest
from h2.errors import ErrorCodes
from hyperframe import frame as f
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.upstream.http2 import frames, limits
from stream_gateway.upstream.http2.frames import Frame, FrameReader, Violation

GREETING = f.SettingsFrame(0, {4: 100_000})
FRAMES = [
    f.HeadersFrame(1, b"\x88", flags=["END_HEADERS"]),
    f.HeadersFrame(3, b"\x88"),
    f.ContinuationFrame(3, b"\x40\x01a\x01b", flags=["END_HEADERS"]),
    f.DataFrame(1, b"x" * 300),
    f.DataFrame(1, b""),
    f.DataFrame(1, b"padded", pad_length=3, flags=["PADDED"]),
    f.WindowUpdateFrame(0, window_increment=5),
    f.PingFrame(0, b"01234567"),
    f.RstStreamFrame(1, error_code=8),
    f.GoAwayFrame(0, last_stream_id=7, error_code=11),
]
WIRE = GREETING.serialize() + b"".join(frame.serialize() for frame in FRAMES)


def read(pieces: list[bytes]) -> list[Frame]:
    reader = FrameReader()
    return [frame for piece in pieces for frame in reader.frames(piece, 1.0)]


@given(cuts=st.lists(st.integers(0, len(WIRE)), max_size=40))
def test_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WIRE)]
    found = read([WIRE[begin:end] for begin, end in itertools.pairwise(edges)])
    assert [(frame.kind, frame.stream) for frame in found] == [
        (frame.type, frame.stream_id) for frame in [GREETING, *FRAMES]
    ]
    assert b"".join(frame.content for frame in found if frame.kind == frames.DATA) == b"x" * 300 + b"\x03padded\0\0\0"
    assert all(frame.content in WIRE for frame in found)


def test_byte_by_byte() -> None:
    assert read([bytes([byte]) for byte in WIRE]) == read([WIRE])


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorCodes.PROTOCOL_ERROR),
        (f.PingFrame(0, b"01234567").serialize(), ErrorCodes.PROTOCOL_ERROR),
        (f.SettingsFrame(0, flags=["ACK"]).serialize(), ErrorCodes.PROTOCOL_ERROR),
        (GREETING.serialize() + f.DataFrame(1, b"x" * 16_385).serialize(), ErrorCodes.FRAME_SIZE_ERROR),
        (GREETING.serialize() + f.HeadersFrame(1, b"").serialize() * 2, ErrorCodes.PROTOCOL_ERROR),
        (
            GREETING.serialize() + f.HeadersFrame(1, b"").serialize() + f.ContinuationFrame(3, b"").serialize(),
            ErrorCodes.PROTOCOL_ERROR,
        ),
    ],
)
def test_what_breaks_the_rules(said: bytes, code: ErrorCodes) -> None:
    with pytest.raises(Violation) as caught:
        read([said])
    assert caught.value.code == code


def test_what_comes_before_a_violation_counts() -> None:
    reader = FrameReader()
    found = []
    with pytest.raises(Violation):
        for frame in reader.frames(WIRE + b"\xff\xff\xff\0\0\0\0\0\1", 1.0):
            found.append(frame)
    assert len(found) == 1 + len(FRAMES)


def test_overhead_is_earned_back_by_time_and_by_what_we_send() -> None:
    reader = FrameReader()
    ping = f.PingFrame(0, b"01234567").serialize()
    burst = int(limits.OVERHEAD_BURST) - 1
    list(reader.frames(GREETING.serialize() + ping * burst, 1.0))
    with pytest.raises(Violation):
        list(reader.frames(ping, 1.0))
    list(reader.frames(ping * 100, 2.0))
    for _ in range(100):
        reader.earn()
    list(reader.frames(ping * 400, 2.0))


def test_data_is_no_overhead() -> None:
    assert len(read([GREETING.serialize() + f.DataFrame(1, b"x").serialize() * 10_000])) == 10_001


def test_a_goodbye() -> None:
    (frame,) = read([GREETING.serialize() + FRAMES[-1].serialize()])[1:]
    assert frames.goodbye(frame) == (7, 11)
    assert frames.code_name(11) == "ENHANCE_YOUR_CALM"
    assert frames.code_name(4711) == "error 4711"


@pytest.mark.parametrize("content", [b"", b"\x01", b"\xff" + b"x" * 10])
def test_more_padding_than_frame(content: bytes) -> None:
    with pytest.raises(Violation):
        frames.unpadded(Frame(frames.DATA, 0x8, 1, content))


def test_frames_of_our_own() -> None:
    assert frames.window_update(5, 77) == f.WindowUpdateFrame(5, window_increment=77).serialize()
    assert frames.reset(5, 8) == f.RstStreamFrame(5, error_code=8).serialize()
