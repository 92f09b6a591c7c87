"""The producer: the one task that appends to a stream, and makes sure that the stream ends."""

from collections.abc import Awaitable, Callable

import structlog

from stream_gateway.streams.stream import Stream
from stream_protocols.errors import StreamProtocolError
from stream_protocols.events import StreamCancelled, StreamFailed

_log = structlog.get_logger()


async def produce(stream: Stream, generate: Callable[[Stream], Awaitable[None]]) -> None:
    """Run `generate`, which appends to the stream, under the stream's lease.

    Whatever happens, the stream has a terminal record afterwards, and nothing but cancellation from outside
    (the gateway shuts down) leaves this function.
    """
    try:
        with stream.scope:
            await generate(stream)
        if stream.scope.cancelled_caught:
            stream.conclude()
        else:
            stream.fail("upstream_truncated", "The provider ended the stream before the answer was whole.", 502)
    except StreamProtocolError as error:
        stream.conclude(StreamFailed(error.code, error.message, error.status, error.type))
    except Exception:
        _log.exception("producer_failed", stream=stream.id)
        stream.fail("internal_error", "The gateway failed while producing this stream; its log says why.")
    except BaseException:  # cancellation from outside, alone or in a nursery's group
        stream.conclude(StreamCancelled("shutdown"))
        raise
