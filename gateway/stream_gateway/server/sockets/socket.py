"""One WebSocket: trio-websocket reads frames, answers pings and closes; what we send is written through.

Everything that leaves goes through one outbox. Replies and control frames queue in it, within a bound; streams
do not: their followers write when the wire is clear, and otherwise wait in `lagging`, each served a piece in its turn.
A task that drains exists only while there is something to drain.
"""

import collections
import enum
import zlib
from collections.abc import Callable
from typing import Any, Final, cast

import structlog
import trio
import wsproto
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import CloseConnection
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

from stream_gateway.config import SocketSettings
from stream_gateway.server.sockets.wire import Wire
from stream_gateway.streams.follower import Follower
from stream_protocols.closing import MAX_REASON_BYTES, CloseCode
from stream_protocols.deflate import Deflate, Inflater, TooLarge, context_packer, shared_packer
from stream_protocols.framing import Framing, identity
from stream_protocols.websocket import Packer, frame

_log = structlog.get_logger()

MAX_OUTBOX: Final = 1_048_576
"""Bytes of replies that may wait for a client that sends commands and does not read."""

PIECE_BYTES: Final = 16_384
"""What one lagging stream may write before the next one's turn."""

MESSAGE_QUEUE: Final = 16
"""Messages read ahead of the session, which handles each without waiting."""

_PONG: Final = 0x8A


class State(enum.StrEnum):
    """Where a socket is."""

    CONNECTING = "connecting"
    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


class WebSocket:
    """A socket on a wire (see the module). Also the outlet of the followers that share it.

    Attributes:
        state, reason: where it is, and why when it is draining or closed.
        round_trip: seconds that the last ping took, None before the first.
        pack: puts messages into frames, as agreed in the handshake.
        shares: whether what `pack` makes is the same on every such socket.
    """

    def __init__(self, wire: Wire, leftover: bytes, settings: SocketSettings, deflate: Deflate | None) -> None:
        self.framing: Framing = identity
        self.state = State.CONNECTING
        self.reason: str | None = None
        self.round_trip: float | None = None
        self.last_heard = trio.current_time()
        self.pack: Packer = frame
        self.shares = deflate is None or not deflate.context
        extensions: list[Extension] = []
        if deflate is not None:
            self.pack = (context_packer if deflate.context else shared_packer)(deflate.window_bits)
            extensions.append(_Inflate(settings.message_bytes))
        self._wire = wire
        self._settings = settings
        self._protocol = Connection(SERVER, extensions)
        self._connection = WebSocketConnection(
            _WireStream(self, wire, leftover),
            # The handshake is done: what trio-websocket needs of a WSConnection, an open Connection has.
            cast(wsproto.WSConnection, self._protocol),
            max_message_size=settings.message_bytes,
            message_queue_size=MESSAGE_QUEUE,
        )
        self._outbox: collections.deque[bytes] = collections.deque()
        self._outbox_bytes = 0
        self._lagging: collections.deque[Follower] = collections.deque()
        self._drained = trio.Event()
        self._draining = False
        self._read_all = trio.Event()
        self._nursery: trio.Nursery | None = None

    # ---- life

    async def run(self, on_message: Callable[[str | bytes], None]) -> None:
        """Serve until the socket is closed, from whichever side. `on_message` must not wait."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.state = State.OPEN
                nursery.start_soon(self._read)
                await self._receive(on_message)
                with trio.move_on_after(self._settings.close_timeout):
                    await self._read_all.wait()  # the peer's close, if ours was first
                    await self._settle()
                    await self._wire.close_gracefully()
                nursery.cancel_scope.cancel()
        finally:
            self._ended("the connection ended")
            self._nursery = None
            self._wire.close()

    async def _read(self) -> None:
        await self._connection._reader_task()
        self._read_all.set()

    async def _receive(self, on_message: Callable[[str | bytes], None]) -> None:
        while True:
            try:
                message = await self._connection.get_message()
            except ConnectionClosed as closed:
                if closed.reason is not None:
                    self._ended(f"{closed.reason.code} {closed.reason.reason or ''}".strip())
                return
            on_message(message)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; the rest of what was queued still leaves before it."""
        if self.state is State.OPEN and self._nursery is not None:
            self.state = State.DRAINING
            self.reason = f"{code} {reason}"
            self._nursery.start_soon(self._close, code, reason)

    async def _close(self, code: int, reason: str) -> None:
        text = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        with trio.move_on_after(self._settings.close_timeout) as scope:
            await self._connection.aclose(code, text)
        if scope.cancelled_caught:
            self.abort("the peer did not close")

    def abort(self, reason: str) -> None:
        """Give the connection up at once."""
        self._ended(reason)
        self._wire.abort()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _ended(self, reason: str) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.reason = self.reason or reason
            _log.debug("socket_closed", reason=self.reason)

    # ---- pings

    def ping(self) -> None:
        """Ask whether the peer is there; when nothing at all comes back in time, give it up."""
        if self._nursery is not None and self.state is State.OPEN:
            self._nursery.start_soon(self._ping)

    async def _ping(self) -> None:
        sent = trio.current_time()
        with trio.move_on_after(self._settings.pong_timeout) as scope:
            try:
                await self._connection.ping()
            except ConnectionClosed:
                return
            self.round_trip = trio.current_time() - sent
        # Anything that was heard is life: a pong may be late behind a large message.
        if scope.cancelled_caught and self.last_heard <= sent:
            self.abort(f"no answer to a ping within {self._settings.pong_timeout:g} seconds")

    # ---- writing: messages and control frames

    def send(self, opcode: int, payload: bytes) -> None:
        """Send a message after everything queued before it. One that the peer leaves unread too long ends it."""
        self.enqueue(self.pack(opcode, payload))

    def enqueue(self, data: bytes) -> None:
        """Queue a frame and let it leave as soon as it can."""
        if data[0] == _PONG and self._outbox and self._outbox[-1][0] == _PONG:
            # An unread pong is answered by the latest (RFC 6455 §5.5.3): a ping flood cannot fill the queue.
            self._outbox_bytes -= len(self._outbox.pop())
        self._outbox.append(data)
        self._outbox_bytes += len(data)
        if self._outbox_bytes > MAX_OUTBOX:
            self.abort("the peer sends and does not read")
        else:
            self._drain_soon()

    # ---- writing: streams

    def clear(self) -> bool:
        """Whether a follower may write right now."""
        return not self._outbox and self._wire.clear()

    def write_now(self, data: bytes) -> bool:
        """Write frames through (see `Outlet`)."""
        return self._wire.write_now(data)

    async def flush(self) -> None:
        """Wait until nothing is left over (see `Outlet`)."""
        await self._wire.flush()

    def lags(self, follower: Follower) -> None:
        """A follower needs its turn: it has fallen behind, or its stream has ended."""
        self._lagging.append(follower)
        self._drain_soon()

    def forget(self, follower: Follower) -> None:
        """A follower leaves; it has no turn any more."""
        if follower in self._lagging:
            self._lagging.remove(follower)

    def _drain_soon(self) -> None:
        if self._draining:
            return
        # Nearly always it can all leave at once, without a task.
        try:
            if self._drain_now():
                return
        except OSError as error:
            self.abort(str(error))
            return
        if self._nursery is not None:
            self._draining = True
            self._nursery.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            while True:
                await self._wire.flush()
                if self._drain_now():
                    return
                await trio.lowlevel.checkpoint()
        except OSError as error:
            self.abort(str(error))
        finally:
            self._draining = False
            self._drained.set()

    def _drain_now(self) -> bool:
        """Write what waits for as long as the wire takes it whole; True when nothing waits any more.

        At most one piece of a stream: between two, the loop's other tasks, and this socket's replies, have their turn.
        """
        if not self._wire.clear():
            return False
        if self._outbox:
            data = b"".join(self._outbox)
            self._outbox.clear()
            self._outbox_bytes = 0
            if not self._wire.write_now(data):
                return False
        while self._lagging:
            follower = self._lagging.popleft()
            if follower.caught_up:
                follower.go_live()  # or, when its stream has ended, it leaves
                continue
            self._lagging.append(follower)
            data = follower.next_piece(PIECE_BYTES)
            if data:
                follower.last_write = trio.current_time()
                self._wire.write_now(data)
            return False
        return True

    async def finish(self) -> None:
        """Let what is queued leave; trio-websocket calls this when it is done."""
        if self._protocol.state is ConnectionState.OPEN and self._connection.closed is not None:
            # The peer broke the protocol: wsproto only reports it, and the peer should hear why.
            reason = self._connection.closed
            code = reason.code if reason.code != CloseCode.ABNORMAL else CloseCode.PROTOCOL_ERROR
            text = (reason.reason or "").encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            self.enqueue(self._protocol.send(CloseConnection(code=code, reason=text)))
        with trio.move_on_after(self._settings.close_timeout):
            await self._settle()

    async def _settle(self) -> None:
        """Wait until nothing is left to be written."""
        while self._draining:
            self._drained = trio.Event()
            await self._drained.wait()


class _WireStream(trio.abc.Stream):
    """The wire as trio-websocket sees it: reading is the wire's, writing goes to the socket's outbox."""

    def __init__(self, socket: WebSocket, wire: Wire, leftover: bytes) -> None:
        self._socket = socket
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
        self._socket.last_heard = trio.current_time()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._socket.enqueue(bytes(data))
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._closed = True
        await self._socket.finish()


class _Inflate(Extension):
    """wsproto's hook for compressed messages from the client: bounded, and without context."""

    name = "permessage-deflate"

    def __init__(self, max_bytes: int) -> None:
        self._inflater = Inflater(max_bytes)
        self._compressed = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        return False

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int) -> Any:
        if opcode.iscontrol():
            return CloseReason.PROTOCOL_ERROR if rsv.rsv1 else RsvBits(False, False, False)
        if opcode is Opcode.CONTINUATION:
            return CloseReason.PROTOCOL_ERROR if rsv.rsv1 else RsvBits(False, False, False)
        self._compressed = rsv.rsv1
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
        if not self._compressed or proto.effective_opcode.iscontrol():
            return data
        return self._inflated(lambda: self._inflater.feed(bytes(data)))

    def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
        if not fin or not self._compressed or proto.effective_opcode.iscontrol():
            return None
        return self._inflated(self._inflater.finish)

    def _inflated(self, inflate: Callable[[], bytes]) -> Any:
        try:
            return inflate()
        except TooLarge:
            return CloseReason.MESSAGE_TOO_BIG
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
