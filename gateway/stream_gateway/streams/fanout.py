"""Long fan-outs in slices, so that five hundred subscribers of one stream hold up no other stream."""

import trio

from stream_gateway.streams.stream import FANOUT_SLICE, Stream
from stream_gateway.streams.turn import Turn


class FanOut:
    """Serves, a slice at a time, the live subscriptions that an append did not reach."""

    def __init__(self, turn: Turn | None = None) -> None:
        self._turn = turn or Turn()
        self._streams: dict[Stream, None] = {}
        self._wanted = trio.Event()

    def add(self, stream: Stream) -> None:
        """Serve this stream's remaining subscriptions soon."""
        self._streams[stream] = None
        self._wanted.set()

    async def run(self) -> None:
        """Serve until cancelled; streams take turns."""
        while True:
            await self._wanted.wait()
            while self._streams:
                for stream in list(self._streams):
                    behind = stream.behind()
                    with self._turn:
                        for subscription in behind[:FANOUT_SLICE]:
                            subscription.push()
                    stream.moved()  # a full log may have waited for them
                    if len(behind) <= FANOUT_SLICE:
                        del self._streams[stream]
                    await trio.lowlevel.checkpoint()
            self._wanted = trio.Event()
