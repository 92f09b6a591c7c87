"""An accepted byte stream that we own: its socket is written without a task switch where that is possible."""

import contextlib
import socket
import struct
from typing import Final

import trio

from stream_gateway.server.conditions import conditions, is_tcp, unsent
from stream_protocols.chunking import Conditions

READ_SIZE: Final = 65_536

GLANCE_BYTES: Final = 2_048
"""Written bytes after which the kernel is asked how much of them has not been sent: a dozen small events."""

MAX_UNSENT: Final = 2_048
"""Unsent bytes from which on the client is slow: a network that keeps up leaves none."""

UNSENT_LOWAT: Final = 4_096
"""`TCP_NOTSENT_LOWAT`: a socket counts as writable again when less than half of it waits, one and a half packets."""


class Transport(trio.abc.Stream):
    """A TCP connection from a client.

    Writing has one rule: `write_now` may leave a rest, and until `flush` has returned nothing more may be
    written. So at most one piece waits here, frames stay whole, and two writers cannot interleave.

    The kernel takes much more than a slow network does, and what it has taken can be merged with nothing. So a client
    counts as slow (`clear`) as soon as some of it waits there, long before the kernel's buffer is full.

    Args:
        sock: connected and non-blocking; the transport owns it from now on.
        peer: the client's address, for limits and logs.
        write_timeout: seconds without any progress after which a write gives the connection up.
    """

    def __init__(self, sock: socket.socket, write_timeout: float, peer: str = "") -> None:
        self.peer = peer
        self.sock = sock
        self.write_timeout = write_timeout
        self._rest: memoryview | None = None
        self._crowded = False  # what the kernel took last waits there
        self._unwatched = 0  # bytes written since it was asked
        self._watches = is_tcp(sock)
        self.closed = False

    def clear(self) -> bool:
        """Whether all that was written has left for the kernel, and does not wait there for the network."""
        return self._rest is None and not self._crowded

    def conditions(self) -> Conditions:
        """What the kernel knows of the network to the client."""
        return conditions(self.sock)

    def write_now(self, data: bytes) -> bool:
        """Write without waiting; False when a rest is left, which `flush` will write.

        Raises:
            OSError: the connection is broken.
        """
        if self._rest is not None:
            raise RuntimeError("write_now while an earlier write is not flushed")
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            self._unwatched += sent
            if self._unwatched >= GLANCE_BYTES:
                self._unwatched = 0
                self._crowded = self._watches and unsent(self.sock) > MAX_UNSENT
            return True
        self._rest = memoryview(data)[sent:]
        return False

    async def flush(self) -> None:
        """Wait until all that was written has left for the kernel, and nearly all of it for the network.

        Raises:
            OSError: the connection is broken; TimeoutError: no progress for `write_timeout` seconds.
        """
        while not self.clear():
            with trio.move_on_after(self.write_timeout) as scope:
                await trio.lowlevel.wait_writable(self.sock)
            if scope.cancelled_caught:
                raise TimeoutError(f"the client took nothing for {self.write_timeout:g} seconds")
            self._crowded = False
            if self._rest is not None:
                try:
                    sent = self.sock.send(self._rest)
                except BlockingIOError:
                    continue
                self._rest = self._rest[sent:] if sent < len(self._rest) else None

    async def write(self, data: bytes) -> None:
        """Write everything; unlike `send_all` without giving others a turn when there is nothing to wait for.

        Raises:
            OSError, TimeoutError: see `flush`. After that, and after cancellation, a part may have been written.
        """
        await self.flush()
        if data and not self.write_now(data):
            await self.flush()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write everything (Trio's interface). After an error or cancellation a part may have been written."""
        await self.write(bytes(data))
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until a rest has left (Trio's interface)."""
        await self.flush()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes, or none at the end of the connection.

        Raises:
            OSError: the connection is broken.
        """
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            try:
                return self.sock.recv(max_bytes or READ_SIZE)
            except BlockingIOError:
                continue

    def shut_down_writing(self) -> None:
        """Say that nothing more will be written."""
        with contextlib.suppress(OSError):  # it is broken already
            self.sock.shutdown(socket.SHUT_WR)

    async def close_gracefully(self) -> None:
        """Say that nothing more comes, and read on until the peer has closed as well (see `Wire`).

        A socket closed with unread bytes resets the connection, and the peer may lose what was written last.
        """
        self.shut_down_writing()
        with contextlib.suppress(OSError):
            while await self.receive_some():
                pass
        self.close()

    def abort(self) -> None:
        """Close at once; the kernel drops what the client has not taken."""
        if not self.closed:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def close(self) -> None:
        """Close; the kernel still delivers what was written."""
        if not self.closed:
            self.closed = True
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()

    async def aclose(self) -> None:
        """Close (Trio's interface)."""
        self.close()
        await trio.lowlevel.checkpoint()
