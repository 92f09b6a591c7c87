"""Framings that carry context, as compressors do: every piece goes through one once, in order, and is written."""

from __future__ import annotations

import trio

from stream_protocols.events import StreamFinished
from stream_protocols.framing import ContextFraming, chunked
from stream_protocols.render import SseRenderer
from tests.gateway.streams.rig import Reader, Rig, settle, texts
from tests.gateway.streams.test_fanout import CountingEncoder


class Numbering(ContextFraming):
    """Numbers what it frames; breaks when it is told to."""

    def __init__(self) -> None:
        self.made: list[bytes] = []
        self.error: Exception | None = None

    def __call__(self, data: bytes) -> bytes:
        if self.error is not None:
            raise self.error
        self.made.append(b"#%d %b" % (len(self.made), data))
        return self.made[-1]


async def numbered(rig: Rig, count: int) -> tuple[list[Reader], CountingEncoder]:
    """Readers of one stream, each with a framing of its own."""
    stream = rig.stream()
    encoder = CountingEncoder()
    renderer = SseRenderer(stream.id, stream.log.epoch, encoder, None)
    readers = []
    for _ in range(count):
        reader = await rig.reader(stream, renderer=renderer, after=stream.log.head)
        reader.outlet.framing = Numbering()
        readers.append(reader)
    encoder.count = 0
    return readers, encoder


def made_by(reader: Reader) -> list[bytes]:
    assert isinstance(reader.outlet.framing, Numbering)
    return reader.outlet.framing.made


async def test_what_is_inside_is_rendered_once_and_framed_for_each(rig: Rig) -> None:
    readers, encoder = await numbered(rig, 100)
    stream = readers[0].subscription.stream
    plain = await rig.reader(stream, renderer=readers[0].subscription.renderer, after=stream.log.head)
    for number in range(5):
        stream.extend(texts(str(number)))
        await settle()
        assert encoder.count == number + 1
    for reader in readers:
        assert reader.outlet.writes == made_by(reader)
        assert [piece[:3] for piece in made_by(reader)] == [b"#%d " % number for number in range(5)]
        assert b"".join(piece[3:] for piece in made_by(reader)) == plain.outlet.taken
    assert len({id(reader.outlet.writes[-1]) for reader in readers}) == 100


async def test_nothing_is_framed_that_is_not_written(rig: Rig) -> None:
    readers, _ = await numbered(rig, 3)
    slow = readers[1]
    stream = slow.subscription.stream
    slow.outlet.room = 10
    for number in range(20):
        stream.extend(texts(str(number)))
        assert slow.outlet.writes == made_by(slow)
    slow.outlet.allow(float("inf"))
    await settle()
    stream.extend([*texts("end"), (StreamFinished("stop"), None)])
    await settle()
    for reader in readers:
        assert reader.outlet.writes == made_by(reader)
        assert reader.outcome is None
        assert reader.outlet.taken.count(b"text.delta") == 21


async def test_one_that_breaks_ends_its_own_client_only(rig: Rig) -> None:
    readers, _ = await numbered(rig, 3)
    stream = readers[0].subscription.stream
    error = readers[1].outlet.framing.error = ValueError("no luck")  # type: ignore[attr-defined]
    stream.extend(texts("a"))
    await settle()
    assert [reader.outcome for reader in readers] == ["running", error, "running"]
    assert readers[1].outlet.writes == []


async def test_one_that_breaks_at_a_keepalive_ends_its_client(rig: Rig) -> None:
    readers, _ = await numbered(rig, 1)
    error = readers[0].outlet.framing.error = ValueError("no luck")  # type: ignore[attr-defined]
    readers[0].subscription.keep_alive()
    await settle()
    assert readers[0].outcome is error
    assert readers[0].left.is_set()


async def test_a_keepalive_goes_through_it_as_well(rig: Rig) -> None:
    readers, _ = await numbered(rig, 2)
    for reader in readers:
        reader.subscription.keep_alive()
        assert reader.outlet.writes == made_by(reader) == [b"#0 :\n"]
    stream = readers[0].subscription.stream
    readers[0].outlet.framing = chunked
    stream.extend(texts("a"))
    assert made_by(readers[1])[1].startswith(b"#1 id: ")
    assert trio.current_time() >= readers[0].subscription.last_write
