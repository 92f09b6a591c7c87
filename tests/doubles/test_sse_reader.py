"""The strict readers accept what is promised and nothing else."""

from __future__ import annotations

import pytest

from tests.doubles.http_reader import Body, ChunkedBody, Truncated, take_head
from tests.doubles.sse_reader import SseReader

GOOD = b":\nid: a\ndata: 1\n\n:\n:\nid: b\nevent: e\ndata: 2\ndata: 3\n\n"


@pytest.mark.parametrize("size", range(1, len(GOOD) + 1))
def test_reads_events_however_they_are_split(size: int) -> None:
    reader = SseReader()
    pieces = [GOOD[at : at + size] for at in range(0, len(GOOD), size)]
    events = [event for piece in pieces for event in reader.feed(piece)]
    assert [(event.id, event.event, event.data) for event in events] == [("a", None, "1"), ("b", "e", "2\n3")]
    assert reader.comments == 3
    assert reader.between_events


@pytest.mark.parametrize("bad", [b"data: 1\n:\n\n", b":\n\n", b"id: a\n\n", b"dat: 1\n\n"])
def test_refuses_what_the_gateway_never_sends(bad: bytes) -> None:
    with pytest.raises(AssertionError):
        SseReader().feed(bad)


def take_by(body: Body, data: bytes, size: int) -> bytes:
    unread, taken = bytearray(), b""
    for at in range(0, len(data), size):
        unread += data[at : at + size]
        taken += body.take(unread)
    assert bytes(unread) == b"NEXT"[: len(unread)]
    return taken


@pytest.mark.parametrize("size", range(1, 40))
def test_reads_chunks_however_they_are_split(size: int) -> None:
    body = ChunkedBody()
    assert take_by(body, b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", size) == b"abc0123456789"
    assert body.ended


def test_leaves_the_next_response_alone() -> None:
    unread = bytearray(b"1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n")
    assert ChunkedBody().take(unread) == b"x"
    head = take_head(unread)
    assert head is not None
    assert (head.status, head["a"]) == (200, "b")


def test_tells_an_end_from_a_truncation() -> None:
    body = ChunkedBody()
    body.take(bytearray(b"3\r\nabc\r\n"))
    with pytest.raises(Truncated):
        body.end_of_connection()
