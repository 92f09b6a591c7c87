"""The producer: the one task that appends to a stream, and makes sure that the stream ends."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.provider import failing
from stream_protocols.errors import StreamProtocolError
from stream_protocols.events import failure

_log = structlog.get_logger()

Generate = Callable[[Stream], Awaitable[None]]
"""Appends to a stream until its end."""


def produce(stream: Stream, generate: Generate) -> Coroutine[Any, Any, None]:
    """Run `generate`, which appends to the stream, under the stream's lease.

    It is called when this is, before the producer's task has its first turn: what it can do without waiting is
    done then. What it returns is awaited by that task.

    Whatever happens, the stream has a terminal record afterwards, and nothing but cancellation from outside
    (the gateway shuts down) leaves the task.
    """
    try:
        rest = generate(stream)
    except Exception as error:
        rest = failing(error)
    return _run(stream, rest)


async def _run(stream: Stream, rest: Awaitable[None]) -> None:
    structlog.contextvars.bind_contextvars(stream=stream.id)
    try:
        with stream.scope:
            await rest
        if stream.scope.cancelled_caught:
            stream.conclude()
        else:
            stream.fail("upstream_truncated", "The provider ended the stream before the answer was whole.", 502)
    except StreamProtocolError as error:
        stream.conclude(failure(error))
    except Exception:
        _log.exception("producer_failed", stream=stream.id)
        stream.fail("internal_error", "The gateway failed while producing this stream; its log says why.")
    except BaseException:  # cancellation from outside, alone or in a nursery's group
        stream.shut_down()
        raise
    finally:
        stream.produced()
