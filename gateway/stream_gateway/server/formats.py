"""Which renderer a client gets: its dialect inside its container."""

from typing import Final

from stream_gateway.streams.stream import Stream
from stream_protocols.dialects import SequenceEncoder, native
from stream_protocols.dialects.registry import DIALECTS
from stream_protocols.errors import CursorExpired, InvalidField
from stream_protocols.events import Record
from stream_protocols.render import ArrayRenderer, BareRenderer, NdjsonRenderer, Renderer, SequenceRenderer, SseRenderer
from stream_protocols.request import Request

SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
BARE: Final = "bare"
"""Server-sent events without ids and comments, for SDKs that take neither."""
ARRAY: Final = "array"
"""A JSON array."""

_SEQUENCES: Final = {SSE: SequenceRenderer, BARE: BareRenderer, ARRAY: ArrayRenderer}


def renderer_for(
    stream: Stream,
    dialect: str,
    container: str = SSE,
    *,
    request: Request | None = None,
    after: int = 0,
    offset: int = 0,
    skip: int = 0,
) -> Renderer:
    """A renderer for a kind of client: one for all of them, unless their dialect's frames build on each other.

    Args:
        request: what the client asked, where this answers it.
        after, offset: what the client has seen already.
        skip: how many frames it has seen, where its dialect counts them instead.

    Raises:
        CursorExpired: what the client has seen is not kept any more, and its dialect cannot go on without it.
    """
    key = (dialect, container, request is not None and request.include_usage)
    renderer = stream.renderers.get(key)
    if renderer is not None:
        return renderer
    names = stream.id, stream.log.epoch
    if dialect == native.NAME:
        kind = SseRenderer if container == SSE else NdjsonRenderer
        renderer = kind(*names, native.NativeEncoder(), stream.dialect)
    else:
        encoder = DIALECTS[dialect].encoder(stream.source, request)
        if isinstance(encoder, SequenceEncoder):
            own = _SEQUENCES[container](*names, encoder, stream.dialect, skip=skip)
            own.recall(whole_log(stream)[: after + (offset > 0)], offset)
            return own
        renderer = SseRenderer(*names, encoder, stream.dialect)
    stream.renderers[key] = renderer
    return renderer


def whole_log(stream: Stream) -> list[Record]:
    """All records of a stream so far.

    Raises:
        CursorExpired: the first ones are not kept any more.
    """
    log = stream.log
    if log.oldest > 1:
        raise CursorExpired(
            f"The first {log.oldest - 1} events of this stream are no longer kept, and its dialect cannot be told "
            "without them; read it as ?dialect=native."
        )
    return log.after(0)


def check_dialect(dialect: str) -> str:
    """A dialect's name, or InvalidField."""
    known = (native.NAME, *DIALECTS)
    if dialect not in known:
        raise InvalidField(f"There is no dialect {dialect[:64]!r}; use one of {', '.join(known)}.", param="dialect")
    return dialect
