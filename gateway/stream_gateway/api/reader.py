"""A reader: a follower whose client is a task of this very process, and which pulls."""

from stream_gateway.api.chunk import Batch, ChunkRenderer, Deliver
from stream_gateway.api.errors import ReaderLagged
from stream_gateway.streams.follower import Follower
from stream_gateway.streams.stream import Stream
from stream_protocols.chunking import Chunker, Conditions
from stream_protocols.framing import Framing, identity


class _Hand:
    """What a reader writes into: open when something is wanted, and full with one write (see `Outlet`)."""

    def __init__(self, renderer: ChunkRenderer, deliver: Deliver) -> None:
        self.open = False
        self.framing: Framing = identity
        self._renderer = renderer
        self._deliver = deliver

    def conditions(self) -> Conditions:
        return Conditions()

    def clear(self) -> bool:
        return self.open

    def write_now(self, data: bytes) -> bool:
        self.give(self._renderer.take())
        return False

    def give(self, batch: Batch) -> None:
        """Answer the question for more."""
        self.open = False
        self._deliver(batch)

    async def flush(self) -> None:
        """Nothing stays here."""


class Reader(Follower):
    """Delivers a batch of chunks each time it is asked to. In between its position stands still: the stream feels it.

    Everything happens in plain calls, so there is no task to leave behind.
    """

    __slots__ = ("_attached", "_hand", "_lagged")

    def __init__(
        self,
        stream: Stream,
        renderer: ChunkRenderer,
        deliver: Deliver,
        *,
        after: int = 0,
        offset: int = 0,
        chunker: Chunker | None = None,
    ) -> None:
        self._hand = _Hand(renderer, deliver)
        super().__init__(stream, renderer, self._hand, after=after, offset=offset, chunker=chunker)
        self._lagged = False
        self._attached = True
        stream.attach(self)

    def want(self) -> None:
        """Have the next batch delivered: now if there is something, else as soon as there is."""
        self._hand.open = True
        self._pull()

    def _pull(self) -> None:
        while self._hand.open:
            if self.broken is not None or self._lagged:
                self._hand.give(self.broken or ReaderLagged(None))
            elif not self.caught_up:
                self._read()
            elif self.stream.over:
                self._hand.give(None)
            else:
                self.go_live()
                return

    def _read(self) -> None:
        try:
            data = self.next_piece()
        except Exception as error:  # for whoever reads, not for whoever happens to append
            self.broken = error
        else:
            self.write(data)

    def wake(self) -> None:
        """See `Follower`: what could not be written through is pulled."""
        self._pull()

    def close(self, reason: str) -> None:
        """See `Follower`: it has kept its producer waiting for too long."""
        self._lagged = True
        self.leave()

    def leave(self) -> None:
        """Nobody reads any more; the stream's lease begins."""
        if self._attached:
            self._attached = False
            self._hand.open = False
            self.stream.detach(self)
