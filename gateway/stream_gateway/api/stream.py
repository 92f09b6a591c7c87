"""A stream as an application reads it: chunk by chunk, at its own pace."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from stream_gateway.api.body import Body
from stream_gateway.api.chunk import Chunk, Mode
from stream_gateway.api.line import Line
from stream_protocols.encodings import Codec
from stream_protocols.events import StreamFinished
from stream_protocols.negotiate import rank_encodings


class ChunkStream:
    """The chunks of one generation: `async for chunk in stream`. Made by `StreamingGateway.stream` and `attach`.

    Nothing happens before the first chunk is asked for. A cancelled read loses nothing: the next one goes on where the
    last chunk was. One task at a time may read, in the event loop in which the first chunk was asked for.

    Leaving early, by `async with`, by `aclose` or by letting go of the stream (`break` out of a loop over a stream that
    has no other name), cancels the generation at its provider, unless it has a `lease`.
    """

    def __init__(self, line: Line, mode: Mode, codec: Codec | None) -> None:
        self._line = line
        self._mode = mode
        self._codec = codec

    @property
    def cursor(self) -> str | None:
        """The position after the last chunk that was given; None before the first."""
        return self._line.cursor

    @property
    def id(self) -> str | None:
        """The stream's id, None before the first chunk."""
        return None if self.cursor is None else self.cursor.partition(".")[0]

    # ---- reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk.

        Raises:
            GenerationFailed: there is no whole answer. RequestRefused: nobody was asked for one.
            ReaderLagged, GatewayStopped: see there. WrongOption: the gateway cannot start.
            StopAsyncIteration: the answer is whole, and all of it was given.
        """
        try:
            chunk = await self._line.next()
        except BaseException:
            del self  # a traceback keeps what its frames know, and must not keep the stream
            raise
        if chunk is None or (self._mode.marks_end and isinstance(chunk.event, StreamFinished)):
            raise StopAsyncIteration
        return chunk

    async def begin(self) -> Self:
        """Wait for the first chunk, which stays the next one to be read: from now on the answer has begun.

        Raises:
            As reading does, so that an HTTP response can still have the right status.
        """
        await self._line.begun()
        return self

    async def text(self) -> str:
        """The whole text of the answer, or of what is left of it.

        Raises:
            As reading does.
        """
        return "".join([chunk.text async for chunk in self])

    # ---- for an HTTP response

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a response whose body is `bytes()`."""
        headers = {"Content-Type": self._mode.media_type, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        if self._codec is not None:
            headers |= {"Content-Encoding": self._codec.name, "Vary": "Accept-Encoding"}
        return headers

    def accepting(self, header: str | None) -> Self:
        """Do not compress for a client whose `Accept-Encoding` says that it could not read that."""
        if self._codec is not None and self._codec.name not in rank_encodings(header, (self._codec.name,)):
            self._codec = None
        return self

    def bytes(self) -> Body:
        """The whole stream as the body of an HTTP response, a piece for each chunk, compressed if the gateway's
        `compression` says so, and each piece flushed.

        A generation that fails ends with the mode's in-band error, as the gateway's own responses do.
        """
        return Body(self, self._line, self._codec)

    # ---- leaving

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leave the stream (see the class). If nobody else uses the gateway, that stops it, and this waits for that."""
        self._line.drop()
        await self._line.close()

    def __del__(self) -> None:
        # `break` leaves an `async for` without telling its iterator; this is how it gets to know.
        self._line.abandon()
