"""Keepalive on streamed bodies: whoever has been silent too long says that it is still there."""

import random
from collections.abc import Iterable
from functools import partial
from typing import Final

import trio

from stream_gateway.streams.follower import Follower
from stream_gateway.streams.reminders import Reminder, Reminders
from stream_gateway.streams.stream import Stream
from stream_protocols import sse

COME_BACK: Final = (500, 5000)
"""Milliseconds between which clients wait before they come back after a drain: not all at once."""


class Keepalive(Reminders):
    """Watches followers. A write only notes its time; it is looked at when the silence might be over.

    Args:
        interval: seconds of silence after which a follower says that it is still there.
    """

    def __init__(self, interval: float) -> None:
        super().__init__()
        self.interval = interval

    def watching(self, follower: Follower, began: float) -> Reminder:
        """Keep a follower alive in the context that this returns; silent since `began` (Trio's time)."""
        follower.last_write = began
        return self.remind(began + self.interval, partial(self._look_at, follower))

    def _look_at(self, follower: Follower) -> float:
        now = trio.current_time()
        due = follower.last_write + self.interval
        if due > now:
            return due
        follower.keep_alive()
        # One that lags has not written: its client has enough to read, and is asked again soon.
        return max(follower.last_write, now - self.interval / 2) + self.interval


def say_when_to_come_back(streams: Iterable[Stream]) -> None:
    """Tell readers of server-sent events, between two of them, how long to wait once their connections have ended."""
    for stream in streams:
        for follower in list(stream.followers):
            if follower.renderer.keepalive == sse.KEEPALIVE:
                follower.say(sse.retry(random.randint(*COME_BACK)))
