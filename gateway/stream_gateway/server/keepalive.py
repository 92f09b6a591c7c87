"""Keepalive on streamed bodies: whoever has been silent too long says that it is still there."""

import contextlib
from collections.abc import Iterator

import trio

from stream_gateway.server.reminders import Reminders
from stream_gateway.streams.follower import Follower


class Keepalive(Reminders):
    """Watches followers. A write only notes its time; it is looked at when the silence might be over.

    Args:
        interval: seconds of silence after which a follower says that it is still there.
    """

    def __init__(self, interval: float) -> None:
        super().__init__()
        self.interval = interval

    @contextlib.contextmanager
    def watching(self, follower: Follower, began: float) -> Iterator[None]:
        """Keep a follower alive; it has been silent since `began` (Trio's time)."""
        follower.last_write = began

        def remind() -> float:
            now = trio.current_time()
            due = follower.last_write + self.interval
            if due > now:
                return due
            follower.keep_alive()
            # One that lags has not written: its client has enough to read, and is asked again soon.
            return max(follower.last_write, now - self.interval / 2) + self.interval

        with self.remind(began + self.interval, remind):
            yield
