"""Ending a stream on purpose, wherever it is produced."""

from typing import Final

import trio

from stream_gateway.streams.stream import Stream
from stream_protocols.errors import Overloaded

WITHIN: Final = 10.0
"""Seconds that a cancelled stream may take to end: another node may have to hear of it."""


async def end(stream: Stream, reason: str) -> None:
    """Cancel a stream, and wait for its end; nothing happens when it has ended.

    Raises:
        Overloaded: the node that produces it does not answer.
    """
    with stream.held(), trio.move_on_after(WITHIN):
        stream.cancel(reason)
        await stream.ended.wait()
    if not stream.log.sealed:
        raise Overloaded("The node that produces this stream does not answer; try again.", retry_after=1)
