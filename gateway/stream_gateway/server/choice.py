"""What a request asks of chunking, wherever it says so."""

from typing import Final

from stream_gateway.server.exchange import Exchange
from stream_gateway.streams.chunkers import Chunkers
from stream_protocols.chunking.registry import MakeChunker

HEADER: Final = "Stream-Chunking"
"""For clients that can add neither a query nor a field to the body."""


def chosen(exchange: Exchange, chunkers: Chunkers, field: str | None = None) -> MakeChunker | None:
    """The strategy that a request asks for: in its query, in a header, or in a field of its body; None: in none.

    Raises:
        InvalidField: it is none that we know.
    """
    text = exchange.query("chunking")
    if text is not None:
        return chunkers.named(text)
    text = exchange.headers.get(HEADER.lower())
    if text is not None:
        return chunkers.named(text, HEADER)
    return None if field is None else chunkers.named(field)
