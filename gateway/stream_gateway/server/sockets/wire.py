"""What carries a WebSocket's bytes: a TCP connection, or one stream of a connection that has many."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from stream_protocols.chunking import Conditions


class Wire(Protocol):
    """A byte stream after the opening handshake. `Transport` is one."""

    def conditions(self) -> Conditions:
        """What the network to the peer shows."""

    def clear(self) -> bool:
        """Whether all that was written has left, so that `write_now` may be called."""

    def write_now(self, data: bytes) -> bool:
        """Write without waiting. False when some is left over; then nothing more until it has left."""

    async def flush(self) -> None:
        """Wait until all that was written has left."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes, or none at the end. Raises OSError when it is broken."""

    async def close_gracefully(self) -> None:
        """Say that nothing more comes, and read on until the peer has closed as well: it gets all that was written."""

    def close(self) -> None:
        """Close, whatever the peer may still want to say."""

    def abort(self) -> None:
        """Close at once."""


Serve = Callable[[Wire, bytes], Awaitable[None]]
"""Serves a wire; the bytes are what came with the handshake and belong to it."""
