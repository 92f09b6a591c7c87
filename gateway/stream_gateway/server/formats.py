"""Which renderer a client gets: its dialect inside its container."""

from typing import Final

from stream_gateway.streams.stream import Stream
from stream_protocols.dialects import Encoder, native, openai_chat
from stream_protocols.errors import InvalidField
from stream_protocols.render import NdjsonRenderer, Renderer, SseRenderer

SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"

DIALECTS: Final = (native.NAME, openai_chat.NAME)


def renderer_for(stream: Stream, dialect: str, container: str = SSE, *, include_usage: bool = False) -> Renderer:
    """The stream's renderer for a kind of client; all clients of a kind share one."""
    key = (dialect, container, include_usage)
    renderer = stream.renderers.get(key)
    if renderer is None:
        encoder: Encoder
        if dialect == openai_chat.NAME:
            encoder = openai_chat.OpenAIChatEncoder(stream.source, include_usage=include_usage)
        else:
            encoder = native.NativeEncoder()
        kind = SseRenderer if container == SSE else NdjsonRenderer
        renderer = kind(stream.id, stream.log.epoch, encoder, stream.dialect)
        stream.renderers[key] = renderer
    return renderer


def check_dialect(dialect: str) -> str:
    """A dialect's name, or InvalidField."""
    if dialect not in DIALECTS:
        raise InvalidField(f"There is no dialect {dialect[:64]!r}; use one of {', '.join(DIALECTS)}.", param="dialect")
    return dialect
