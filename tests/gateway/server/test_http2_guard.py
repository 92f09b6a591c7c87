"""The guard passes on what it is given, however it is cut, and counts what it passes."""

from __future__ import annotations

import itertools

import pytest
from h2.errors import ErrorCodes
from hyperframe import frame as f
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.config import LimitSettings
from stream_gateway.server.http2 import limits
from stream_gateway.server.http2.guard import PREFACE, Bucket, Guard, Violation
from stream_gateway.server.http2.limits import Rate

KEPT = [
    f.SettingsFrame(0, {4: 100_000}),
    f.HeadersFrame(1, b"\x82", flags=["END_HEADERS"]),
    f.DataFrame(1, b"x" * 300),
    f.WindowUpdateFrame(0, window_increment=5),
    f.DataFrame(1, b"", flags=["END_STREAM"]),
    f.PingFrame(0, b"01234567"),
    f.RstStreamFrame(1, error_code=8),
]
DROPPED = [
    f.PriorityFrame(7, depends_on=0),
    f.GoAwayFrame(0, last_stream_id=0),
]
PASSED = [frame.serialize() for frame in KEPT]
IGNORED = [*(frame.serialize() for frame in DROPPED), b"\x00\x00\x08\xee\x01\x00\x00\x00\x00anything"]


def passed(guard: Guard, data: bytes, cuts: list[int]) -> bytes:
    """What comes out when `data` arrives in these pieces."""
    edges = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    return b"".join(part for piece in pieces for part in guard.slices(piece, 1.0))


@given(order=st.permutations(PASSED + IGNORED), cuts=st.lists(st.integers(0, 10_000), max_size=40))
def test_frames_pass_whole_in_order_and_without_what_is_ignored(order: list[bytes], cuts: list[int]) -> None:
    guard = Guard(LimitSettings())
    data = PREFACE + b"".join(order)
    wanted = PREFACE + b"".join(frame for frame in order if frame not in IGNORED)
    assert passed(guard, data, cuts) == wanted
    assert guard.frames == len(order)
    assert guard.goaway


def test_byte_by_byte() -> None:
    data = PREFACE + b"".join(PASSED)
    assert passed(Guard(LimitSettings()), data, list(range(len(data)))) == data


def test_slices_are_short() -> None:
    data = PREFACE + f.DataFrame(1, b"x" * 200).serialize() * 100
    slices = list(Guard(LimitSettings()).slices(data, 1.0))
    assert b"".join(slices) == data
    assert len(slices) == -(-100 // limits.SLICE)


def test_a_frame_is_refused_by_its_head() -> None:
    """Before its payload has come: h2 would have collected it first."""
    guard = Guard(LimitSettings())
    with pytest.raises(Violation) as caught:
        list(guard.slices(PREFACE + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", 1.0))
    assert caught.value.code == ErrorCodes.FRAME_SIZE_ERROR


def test_honest_answers_to_data_are_no_flood() -> None:
    guard = Guard(LimitSettings())
    list(guard.slices(PREFACE, 1.0))
    update = f.WindowUpdateFrame(0, window_increment=5).serialize() * 2
    for _ in range(20_000):
        guard.refund()
        list(guard.slices(update, 1.0))
    with pytest.raises(Violation):
        list(guard.slices(update * 20_000, 1.0))


def test_a_bucket_fills_again() -> None:
    bucket = Bucket(Rate(3, 2))
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(12.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("last", [f.HeadersFrame(1, b"\x82", flags=["END_HEADERS"]), f.HeadersFrame(1, b"\x82")])
def test_a_block_is_complete_with_its_last_byte(last: f.HeadersFrame) -> None:
    guard = Guard(LimitSettings())
    list(guard.slices(PREFACE, 1.0))
    data = last.serialize()
    if "END_HEADERS" not in last.flags:
        data += f.ContinuationFrame(1, b"\x84", flags=["END_HEADERS"]).serialize()
    for at in range(len(data) - 1):
        list(guard.slices(data[at : at + 1], 2.0 + at))
        assert guard.block_since == (None if at < 8 else 10.0)
    list(guard.slices(data[-1:], 99.0))
    assert guard.block_since is None


def test_header_blocks_are_heavy() -> None:
    requests = b"".join(f.HeadersFrame(n, b"\x82", flags=["END_HEADERS"]).serialize() for n in range(1, 33, 2))
    slices = list(Guard(LimitSettings()).slices(PREFACE + requests, 1.0))
    assert b"".join(slices) == PREFACE + requests
    assert len(slices) == 16 * limits.BLOCK_WEIGHT // limits.SLICE


def test_a_stream_comes_to_nothing_once() -> None:
    """A client's library resets a stream again for each frame that was under way when it left."""
    guard = Guard(LimitSettings(streams_per_connection=300, resets_per_second=1))
    list(guard.slices(PREFACE, 1.0))
    left = b"".join(f.RstStreamFrame(stream, error_code=8).serialize() for stream in range(1, 600, 2))
    list(guard.slices(left * 3, 1.0))
    others = b"".join(f.RstStreamFrame(stream, error_code=8).serialize() for stream in range(601, 620, 2))
    with pytest.raises(Violation, match="came to nothing"):
        list(guard.slices(others, 1.0))


def test_resetting_one_stream_for_ever_is_a_flood_all_the_same() -> None:
    guard = Guard(LimitSettings())
    list(guard.slices(PREFACE, 1.0))
    with pytest.raises(Violation, match="say nothing"):
        list(guard.slices(f.RstStreamFrame(1, error_code=8).serialize() * 2_000, 1.0))
