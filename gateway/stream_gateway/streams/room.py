"""Room in a log: a stream holds at most so much, and never drops what an attached client has not seen.

When there is no room the producer is paused. Each client is charged for the time for which it, by its position,
keeps the producer waiting; one that has used up `stall_timeout` since it last had caught up is let go, so that a
client which reads a little now and then cannot hold up the others for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from stream_gateway.config import StreamSettings
from stream_gateway.streams.follower import Follower

if TYPE_CHECKING:
    from stream_gateway.streams.registry import Registry
    from stream_gateway.streams.stream import Stream

LAGGED: Final = "lagged"


class Room:
    """Watches over one stream's log.

    Attributes:
        limit: bytes that the log may hold while the stream runs.
        paused, since: whether the producer waits for room, and since when, in Trio's time.
    """

    def __init__(self, stream: Stream, registry: Registry, settings: StreamSettings) -> None:
        self.limit = settings.retain_bytes
        self.paused = False
        self.since = 0.0
        self._stream = stream
        self._registry = registry
        self._patience = settings.stall_timeout
        self._charged_until = 0.0
        self._found: trio.Event | None = None
        self._culprits: list[Follower] = []  # who has been in the way since the time up to which all are charged

    def look(self) -> None:
        """Drop what all have seen and is too much; pause or resume the producer accordingly."""
        if self.paused:
            self._charge()
        log, limit = self._stream.log, self.limit - self._stream.waiting
        self._registry.account(-log.trim(self._stream.floor, limit))
        full = log.size > limit and not log.sealed
        if full and not self.paused:
            self._pause()
        elif self.paused and not full:
            self.release()
        self._culprits = self._in_the_way() if self.paused else []

    def _pause(self) -> None:
        self.paused = True
        self.since = self._charged_until = trio.current_time()
        self._stream.pulse.meter.pauses += 1
        self._found = trio.Event()
        if self._stream.valve is not None:
            self._stream.valve.pause()
        self._registry.start_soon(self._lose_patience, self._found)
        for follower in list(self._stream.followers):
            follower.release()  # nobody waits for a sentence's end while the producer waits for room

    def release(self) -> None:
        """Let the producer go on."""
        self.paused = False
        self._stream.pulse.meter.paused_for += trio.current_time() - self.since
        if self._found is not None:
            self._found.set()
        if self._stream.valve is not None:
            self._stream.valve.resume()

    async def wait(self) -> None:
        """Wait until there is room."""
        while self.paused and self._found is not None:
            await self._found.wait()

    def _in_the_way(self) -> list[Follower]:
        """Who has not seen what would have to be dropped."""
        surplus = self._stream.log.surplus(self.limit)
        return [follower for follower in self._stream.followers if follower.position < surplus]

    def _charge(self) -> None:
        """Charge who was in the way until now; whoever has just moved out of it has been there too."""
        now = trio.current_time()
        waited, self._charged_until = now - self._charged_until, now
        for follower in self._culprits:
            follower.held_up += waited

    async def _lose_patience(self, found: trio.Event) -> None:
        """While the producer waits: let go whoever has had it wait for too long in all."""
        while not found.is_set():
            used = max((follower.held_up for follower in self._culprits), default=0.0)
            with trio.move_on_after(max(self._patience - used, 0)):
                await found.wait()
                return
            self._charge()
            self._culprits = self._in_the_way()
            for follower in self._culprits:
                if follower.held_up >= self._patience:
                    self._stream.pulse.meter.lagged += 1
                    follower.close(LAGGED)
            await trio.lowlevel.checkpoint()
