"""Long polls: `GET /v1/streams/{id}/events?wait=25`, for clients behind what lets no stream through.

The answer is one JSON document, whole or not at all, with what there is after the client's cursor. While there is
nothing the answer waits, and its client counts as a subscriber; between two polls the stream's lease runs.
"""

import math
from typing import Final

import msgspec
import trio

from stream_gateway.server.delivery import Start
from stream_gateway.server.exchange import Exchange
from stream_gateway.streams.follower import Follower, Outlet
from stream_gateway.streams.stream import Stream
from stream_protocols.chunking import Conditions
from stream_protocols.cursor import format_cursor
from stream_protocols.dialects import native
from stream_protocols.errors import InvalidField
from stream_protocols.framing import identity
from stream_protocols.render import NdjsonRenderer

MAX_WAIT: Final = 55.0
"""Seconds: many proxies end a request that has had no answer after 60. Who asks for more gets this."""

MAX_ANSWER: Final = 262_144
"""Bytes of log in one answer, about; the rest is in the next one. Bounds what is rendered at once."""


class _Nowhere(Outlet):
    """A poll is answered when it ends; until then nothing is written."""

    framing = staticmethod(identity)

    def conditions(self) -> Conditions:
        return Conditions()

    def clear(self) -> bool:
        return True

    def write_now(self, data: bytes) -> bool:
        return True

    async def flush(self) -> None:
        """There is nothing."""


class Poll(Follower):
    """One question: a cursor that is attached to its stream until there is something after it."""

    __slots__ = ("_let_go", "_news")

    def __init__(self, stream: Stream, start: Start) -> None:
        renderer = NdjsonRenderer(stream.id, stream.log.epoch, native.NativeEncoder(), stream.dialect)
        super().__init__(stream, renderer, _Nowhere(), after=start.after, offset=start.offset)
        self._news = trio.Event()
        self._let_go = False

    def __enter__(self) -> "Poll":
        self.stream.attach(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stream.detach(self)

    async def events(self, wait: float) -> bytes:
        """What comes after the cursor, as JSON objects with commas between; empty if `wait` seconds bring nothing."""
        with trio.move_on_after(wait):
            while True:
                piece = self.next_piece(MAX_ANSWER)
                if piece:
                    return piece.rstrip().replace(b"\n", b",")  # JSON has no line ends inside
                if not self.caught_up:
                    await trio.lowlevel.checkpoint()
                    continue
                if self.stream.log.sealed or self._let_go:
                    break
                self._news = trio.Event()
                self.go_live()
                await self._news.wait()
        return b""

    def push(self) -> None:
        """There is something: from now on the poll's own task is at work."""
        self._stop_being_live()

    def say(self, aside: bytes) -> None:
        """An answer of one piece has no room for that."""

    def wake(self) -> None:
        """Let the poll's task look."""
        self._news.set()

    def close(self, reason: str) -> None:
        """Answer at once: the stream's producer waits, and this client is in its way."""
        self._let_go = True
        self._news.set()

    @property
    def cursor(self) -> str:
        """The position after what `events` gave."""
        return format_cursor(self.stream.id, self.stream.log.epoch, self.position, self._offset)

    @property
    def ended(self) -> bool:
        """Whether nothing will come after the cursor."""
        return self.stream.log.sealed and self.caught_up


async def answer(exchange: Exchange, stream: Stream, start: Start, wait: float) -> None:
    """Answer a poll: `{"events": […], "cursor", "ended", "gap"}`."""
    with Poll(stream, start) as poll:
        events = await poll.events(0 if exchange.method == "HEAD" else wait)
        rest = msgspec.json.encode({"cursor": poll.cursor, "ended": poll.ended, "gap": start.gap})
    body = b'{"events":[%b],%b' % (events, rest[1:])
    headers = [("Stream-Id", stream.id), ("Cache-Control", "no-store")]
    await exchange.respond_json(200, body, headers)


def wait_of(text: str) -> float:
    """The parameter `wait`: seconds, at most `MAX_WAIT`.

    Raises:
        InvalidField: it is no number of seconds.
    """
    try:
        wait = float(text)
    except ValueError:
        wait = math.nan
    if not wait >= 0:
        raise InvalidField(f"Parameter `wait` must be a number of seconds, not {text[:64]!r}.", param="wait")
    return min(wait, MAX_WAIT)
