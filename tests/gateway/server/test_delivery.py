"""Where a client goes on: at its cursor, after an explicit gap, or not at all."""

import pytest

from stream_gateway.server.delivery import Start, gap_notice, resume
from stream_gateway.streams.stream import Stream
from stream_protocols.cursor import Gap, format_cursor
from stream_protocols.errors import (
    CursorExpired,
    CursorFromFuture,
    CursorOfAnotherStream,
    EpochMismatch,
    InvalidCursor,
)
from stream_protocols.events import StreamStarted, ToolCallDelta
from tests.gateway.streams.conftest import MakeRig, make_rig, rig
from tests.gateway.streams.rig import Rig, sized, texts

__all__ = ["make_rig", "rig"]


def cursor(stream: Stream, seq: int, offset: int = 0) -> str:
    return format_cursor(stream.id, stream.log.epoch, seq, offset)


@pytest.fixture
async def stream(rig: Rig) -> Stream:
    """A beginning, two texts, and a tool call."""
    stream = rig.stream(started=False)
    stream.extend([(StreamStarted("demo"), None), *texts("añ𝄞d", "e"), (ToolCallDelta(0, "a", "b"), None)])
    return stream


@pytest.fixture
async def trimmed(make_rig: MakeRig) -> Stream:
    """A stream of twenty events of which only the last three are kept."""
    stream = (await make_rig(retain_bytes=1000)).stream()
    for record in sized(300, 19):
        stream.extend([record])
    assert stream.log.oldest == 18
    return stream


@pytest.mark.parametrize("dialect", ["native", "openai_chat"])
async def test_every_position_of_a_log_can_be_resumed(stream: Stream, dialect: str) -> None:
    assert resume(stream, None, dialect) == Start()
    for seq in range(5):
        assert resume(stream, cursor(stream, seq), dialect) == Start(seq)
    for offset in range(1, 4):
        assert resume(stream, cursor(stream, 1, offset), dialect) == Start(1, offset)


@pytest.mark.parametrize(("seq", "offset"), [(5, 0), (99, 0), (1, 4), (1, 400), (2, 1), (0, 1), (3, 1), (4, 1)])
async def test_a_position_that_does_not_exist_yet(stream: Stream, seq: int, offset: int) -> None:
    with pytest.raises(CursorFromFuture):
        resume(stream, cursor(stream, seq, offset), "native")


async def test_a_cursor_of_another_stream(stream: Stream, rig: Rig) -> None:
    with pytest.raises(CursorOfAnotherStream):
        resume(stream, cursor(rig.stream(), 0), "native")


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "a.b.-1", "a.b.1.0", "é.b.1"])
async def test_what_is_no_cursor(stream: Stream, text: str) -> None:
    with pytest.raises(InvalidCursor):
        resume(stream, text, "native")


# Gaps


async def test_a_native_client_hears_of_what_is_gone(trimmed: Stream) -> None:
    for seq in (0, 5, 16):
        start = resume(trimmed, cursor(trimmed, seq), "native")
        assert start == Start(17, 0, Gap("retention", 17 - seq, 17))
    assert resume(trimmed, cursor(trimmed, 17), "native") == Start(17)


async def test_an_offset_into_what_is_gone_is_a_gap_as_well(trimmed: Stream) -> None:
    start = resume(trimmed, cursor(trimmed, 5, 3), "native")
    assert start == Start(17, 0, Gap("retention", 12, 17))


async def test_without_a_cursor_the_beginning_is_what_a_client_wants(trimmed: Stream) -> None:
    start = resume(trimmed, None, "native")
    assert start.gap == Gap("retention", 17, 17)


@pytest.mark.parametrize("text", [None, "5"])
async def test_a_vendors_client_is_refused_and_told_where_to_begin(trimmed: Stream, text: str | None) -> None:
    shown = text and cursor(trimmed, int(text))
    with pytest.raises(CursorExpired) as caught:
        resume(trimmed, shown, "openai_chat")
    assert caught.value.status == 410
    assert cursor(trimmed, 17) in caught.value.message
    assert resume(trimmed, cursor(trimmed, 17), "openai_chat") == Start(17)


async def test_a_cursor_into_another_life_of_the_log(stream: Stream) -> None:
    other = format_cursor(stream.id, "another", 3)
    assert resume(stream, other, "native") == Start(0, 0, Gap("epoch", None, 0))
    with pytest.raises(EpochMismatch):
        resume(stream, other, "openai_chat")


async def test_the_notice_of_a_gap_is_for_machines_too(trimmed: Stream) -> None:
    notice = gap_notice(trimmed, Gap("retention", 12, 17))
    after = cursor(trimmed, 17)
    assert notice.code == "gap"
    assert notice.data == {"reason": "retention", "missed": 12, "resumes_after": after}
    assert after in notice.message
    assert "another run" in gap_notice(trimmed, Gap("epoch", None, 0)).message
