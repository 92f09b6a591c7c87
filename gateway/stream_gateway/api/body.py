"""The body of an HTTP response that an application sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from stream_gateway.api.line import Line
from stream_protocols.encodings import Codec

if TYPE_CHECKING:
    from stream_gateway.api.stream import ChunkStream


class Body:
    """Pieces of a body, each of which a client can decode with those before it: `async for piece in body`.

    Args:
        stream: whose body it is; it lives as long as this.
        line: the stream's.
        codec: compresses it; None: it is sent as it is.
    """

    def __init__(self, stream: ChunkStream, line: Line, codec: Codec | None) -> None:
        self._stream = stream
        self._line = line
        self._compressor = None if codec is None else codec.compressor(0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece.

        Raises:
            RequestRefused, ReaderLagged, GatewayStopped: as reading chunks does; the body is not whole then.
        """
        try:
            chunk = await self._line.take()
        except BaseException:
            del self  # see `ChunkStream`
            raise
        if chunk is not None:
            return chunk.encode() if self._compressor is None else self._compressor.feed(chunk.encode())
        compressor, self._compressor = self._compressor, None
        last = b"" if compressor is None else compressor.finish()
        if not last:
            raise StopAsyncIteration
        return last

    async def aclose(self) -> None:
        """Leave the stream."""
        await self._stream.aclose()
