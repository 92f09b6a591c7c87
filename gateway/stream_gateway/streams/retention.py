"""Retention: for how long streams that have ended are kept, and which of them make room for others."""

from collections.abc import Callable

import trio

from stream_gateway.streams.budget import Budget
from stream_gateway.streams.stream import Stream


class Retention:
    """Streams that have ended, oldest first, each until its time is up or its bytes are needed.

    Args:
        budget: gets the bytes of forgotten ones back.
        seconds: for which one is kept that somebody still reads when its time is up.
        remove: makes that a stream cannot be found any more.
    """

    def __init__(self, budget: Budget, seconds: Callable[[], float], remove: Callable[[Stream], None]) -> None:
        self._budget = budget
        self._seconds = seconds
        self._remove = remove
        self._due: dict[Stream, float] = {}
        self._news = trio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._due

    def keep(self, stream: Stream, seconds: float) -> None:
        """A stream has ended: forget it after so many seconds."""
        self._due[stream] = trio.current_time() + seconds
        self._news.set()

    def let_go(self, stream: Stream) -> None:
        """It is somebody else's business."""
        self._due.pop(stream, None)

    def forget(self, stream: Stream) -> None:
        """Its time is up."""
        del self._due[stream]
        self._remove(stream)
        self._budget.account(-stream.log.size)

    def make_room(self) -> None:
        """Forget streams, oldest first, while the budget is used up; spare those being read."""
        if self._budget.full:
            for stream in [stream for stream in self._due if not stream.needed]:
                self.forget(stream)
                if not self._budget.full:
                    break

    async def run(self) -> None:
        """Forget streams when their time is up, until cancelled."""
        while True:
            await self._news.wait()
            while self._due:
                stream, due = next(iter(self._due.items()))
                await trio.sleep_until(due)
                # Meanwhile its bytes may have been needed, and somebody may be reading it right now.
                if stream in self._due:
                    if stream.needed:
                        del self._due[stream]
                        self.keep(stream, self._seconds())
                    else:
                        self.forget(stream)
            self._news = trio.Event()
