"""The outlet of one stream: what it sends, and when it stops."""

from __future__ import annotations

from typing import cast

import pytest

from stream_gateway.server.http2.connection import Http2Connection
from stream_gateway.server.http2.outlet import DEFAULT_URGENCY, Http2Outlet

FRAME = 16_384


class Frames:
    """A connection as an outlet sees it. Its transport is full once `takes` bytes were sent."""

    max_frame = FRAME

    def __init__(self, *, window: int, takes: int) -> None:
        self.sent: list[bytes] = []
        self.earned: list[bool] = []
        self._window = window
        self._takes = takes

    def clear(self) -> bool:
        return sum(map(len, self.sent)) < self._takes

    def window(self, stream_id: int) -> int:
        return self._window - sum(map(len, self.sent))

    def send_data(self, stream_id: int, data: bytes, *, end: bool = False, earns: bool = True) -> None:
        self.sent.append(data)
        self.earned.append(earns)


def outlet_on(frames: Frames) -> Http2Outlet:
    return Http2Outlet(cast(Http2Connection, frames), 1, DEFAULT_URGENCY)


def test_a_large_piece_stops_where_the_transport_does() -> None:
    """A client may open its windows wide and not read: what it has not taken is not copied for it."""
    frames = Frames(window=100_000_000, takes=3 * FRAME)
    assert not outlet_on(frames).write_now(b"x" * 10_000_000)
    assert [len(data) for data in frames.sent] == [FRAME] * 3


@pytest.mark.parametrize(
    ("size", "window", "earned"),
    [
        (100, 1_000, [True]),
        (FRAME + 10, 1_000_000, [True, True]),  # the end of a piece, and no crumb of a window
        (FRAME + 500, FRAME + 200, [True, True]),
        (FRAME + 500, FRAME + 10, [True, False]),
        (500, 1, [False]),
    ],
)
def test_what_an_honest_client_answers(size: int, window: int, earned: list[bool]) -> None:
    frames = Frames(window=window, takes=1_000_000)
    outlet_on(frames).write_now(b"x" * size)
    assert frames.earned == earned
