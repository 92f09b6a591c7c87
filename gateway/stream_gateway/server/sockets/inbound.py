"""What trio-websocket and wsproto need of us to read a socket: a stream, a protocol object, and limits."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol

import trio
from wsproto.connection import SERVER, Connection
from wsproto.events import CloseConnection, Event, Pong
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits
from wsproto.utilities import LocalProtocolError

from stream_gateway.server.sockets.wire import Wire
from stream_protocols.deflate import Inflater, TooLarge

FRAMES_PER_KIB: Final = 64
"""Frames in which a message may come, for each KiB that it may have: all are kept until the last has come."""

_NO_BITS: Final = RsvBits(False, False, False)
_COMPRESSED: Final = RsvBits(True, False, False)  # RFC 7692 §6


class Owner(Protocol):
    """Whose socket it is."""

    def heard(self) -> None:
        """The peer has said something."""

    def enqueue(self, data: bytes) -> None:
        """Send a frame; nothing is none."""

    def ponged(self, payload: bytes) -> None:
        """A pong has come."""

    async def finish(self) -> None:
        """Nothing will be read any more: let what is queued leave."""


class WireStream(trio.abc.Stream):
    """The wire as trio-websocket sees it: reading is the wire's, writing goes to the owner's outbox."""

    def __init__(self, owner: Owner, wire: Wire, leftover: bytes) -> None:
        self._owner = owner
        self._wire = wire
        self._leftover = leftover
        self._closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError
        if self._leftover:
            data, self._leftover = self._leftover, b""
            await trio.lowlevel.checkpoint()
            return data
        try:
            data = await self._wire.receive_some(max_bytes)
        except OSError as error:
            raise trio.BrokenResourceError from error
        self._owner.heard()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._owner.enqueue(bytes(data))
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._closed = True
        await self._owner.finish()


class Inbound(Connection):
    """wsproto's connection after the handshake, forgiving where trio-websocket expects it, with limits of our own.

    Args:
        max_bytes: of a message, inflated.
        deflate: whether messages may come compressed.
        owner: hears of each pong.
    """

    def __init__(self, max_bytes: int, deflate: bool, owner: Owner) -> None:
        self._owner = owner
        self._limits = _Limits(max_bytes, Inflater(max_bytes) if deflate else None)
        super().__init__(SERVER, [self._limits])

    def send(self, event: Event) -> bytes:
        """A frame, or nothing once a close frame was sent: trio-websocket answers pings and errors even then."""
        try:
            return super().send(event)
        except LocalProtocolError:
            return b""

    def events(self) -> Generator[Event, None, None]:
        """What the peer says, but for pongs; that it broke a limit is said in words of ours."""
        for event in super().events():
            if isinstance(event, Pong):
                self._owner.ponged(bytes(event.payload))
            elif isinstance(event, CloseConnection) and self._limits.complaint is not None:
                yield CloseConnection(event.code, self._limits.complaint)
            else:
                yield event


class _Limits(Extension):
    """wsproto's hook into each frame: bounds a message's size and frames as they come, and inflates it.

    Without it an endless message is collected as long as its frames are small, empty ones at no size at all.
    """

    name = "permessage-deflate"

    def __init__(self, max_bytes: int, inflater: Inflater | None) -> None:
        self.complaint: str | None = None
        self._max_bytes = max_bytes
        self._max_frames = FRAMES_PER_KIB * (1 + max_bytes // 1024)
        self._inflater = inflater
        self._compressed = False
        self._bytes = 0
        self._frames = 0

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        return False

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int) -> Any:
        if opcode >= Opcode.CLOSE:  # a control frame
            return _NO_BITS
        first = opcode is not Opcode.CONTINUATION
        if first:
            self._compressed = self._inflater is not None and rsv.rsv1
            self._bytes = self._frames = 0
        self._bytes += payload_length
        self._frames += 1
        if self._bytes > self._max_bytes + (self._overhead if self._compressed else 0):
            return self._too_large()
        if self._frames > self._max_frames:
            return self._complain(CloseReason.POLICY_VIOLATION, f"a message in more than {self._max_frames} frames")
        return _COMPRESSED if first and self._compressed else _NO_BITS

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
        if not self._compressed or self._inflater is None or proto.effective_opcode.iscontrol():
            return data
        inflater = self._inflater
        return self._inflated(lambda: inflater.feed(data))

    def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
        if not fin or not self._compressed or self._inflater is None or proto.effective_opcode.iscontrol():
            return None
        return self._inflated(self._inflater.finish)

    @property
    def _overhead(self) -> int:
        """By how much deflate may make a message larger that cannot be compressed (RFC 1951 §3.2.4), amply."""
        return 64 + self._max_bytes // 16

    def _inflated(self, inflate: Callable[[], bytes]) -> Any:
        try:
            return inflate()
        except TooLarge:
            return self._too_large()
        except zlib.error:
            return self._complain(CloseReason.INVALID_FRAME_PAYLOAD_DATA, "a compressed message cannot be inflated")

    def _too_large(self) -> CloseReason:
        return self._complain(CloseReason.MESSAGE_TOO_BIG, f"a message of more than {self._max_bytes} bytes")

    def _complain(self, code: CloseReason, reason: str) -> CloseReason:
        self.complaint = reason
        return code
