"""One WebSocket: trio-websocket reads frames, answers pings and closes; what we send is written through.

Everything that leaves goes through one outbox. Replies and control frames queue in it, within a bound; streams
do not: their followers write when the wire is clear, and otherwise wait in `lagging`, each served a piece in its turn.
A task that drains exists only while there is something to drain.
"""

import collections
import enum
import weakref
from collections.abc import Awaitable, Callable
from typing import Final, cast

import structlog
import trio
import wsproto
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Ping

from stream_gateway.config import SocketSettings
from stream_gateway.server.sockets.inbound import Inbound, Owner, WireStream
from stream_gateway.server.sockets.wire import Wire
from stream_gateway.streams.follower import Follower
from stream_protocols.closing import MAX_REASON_BYTES, CloseCode
from stream_protocols.deflate import Deflate, context_packer, shared_packer
from stream_protocols.framing import Framing, identity
from stream_protocols.websocket import Packer, frame

_log = structlog.get_logger()

MAX_OUTBOX: Final = 1_048_576
"""Bytes of replies that may wait for a client that sends commands and does not read."""

PIECE_BYTES: Final = 16_384
"""What one lagging stream may write before the next one's turn."""

MESSAGE_QUEUE: Final = 16
"""Messages read ahead of the session, which handles each without waiting."""

MAX_PINGS: Final = 8
"""Pings remembered without a pong: a peer may never answer one, and live as long as it says other things."""

_PONG: Final = 0x8A
_CLOSE: Final = 0x88


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
        if deflate is not None:
            self.pack = (context_packer if deflate.context else shared_packer)(deflate.window_bits)
        self.write_now = wire.write_now
        self.conditions = wire.conditions
        self._wire = wire
        self._settings = settings
        # Only `run` keeps us alive: what has closed leaves nothing to the garbage collector, which seldom looks.
        owner: Owner = weakref.proxy(self)
        self._protocol = Inbound(settings.message_bytes, deflate is not None, owner)
        self._connection = WebSocketConnection(
            WireStream(owner, wire, leftover),
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
        self._said_goodbye = False
        self._next_ping = self.last_heard + settings.ping_interval
        self._pinged = 0
        self._pings: dict[bytes, float] = {}  # those without a pong, and when they were sent
        self._unanswered: float | None = None  # when the first ping was sent since the peer was heard
        self._closing: tuple[int, str] | None = None
        self._read_all = trio.Event()
        self._nursery: trio.Nursery | None = None  # while tasks may be started

    # ---- life

    async def run(self, on_message: Callable[[str | bytes], None], end: Callable[[], None]) -> None:
        """Serve until the socket is closed, from whichever side.

        Args:
            on_message: is called with each message, and must not wait.
            end: is called as soon as the peer will hear no more, and once more at the very end.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    self.state = State.OPEN
                    nursery.start_soon(self._read)
                    if self._closing is not None:
                        self.close(*self._closing)
                    await self._receive(on_message)
                    end()
                    with trio.move_on_after(self._settings.close_timeout):
                        await self._read_all.wait()  # the peer's close, if ours was first
                        await self._settle()
                        await self._wire.close_gracefully()
                finally:
                    self._nursery = None
                nursery.cancel_scope.cancel()
        finally:
            self._ended("the connection ended")
            end()
            self._wire.close()

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run a task that ends with the socket, at the latest."""
        if self._nursery is not None:
            self._nursery.start_soon(function, *args)

    async def _read(self) -> None:
        await self._connection._reader_task()
        self._read_all.set()

    async def _receive(self, on_message: Callable[[str | bytes], None]) -> None:
        while True:
            try:
                message = await self._connection.get_message()
            except ConnectionClosed as closed:
                if closed.reason is not None and self.state is State.OPEN:
                    self._ended(f"{closed.reason.code} {closed.reason.reason or ''}".strip())
                return
            on_message(message)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, or, before `run`, have it begin at once; what was queued leaves before it."""
        if self.state is State.CONNECTING:
            self._closing = code, reason
        elif self.state is State.OPEN and self._nursery is not None:
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
        self._said_goodbye = True
        self._wire.abort()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
            self._nursery = None

    def fail(self, error: Exception) -> None:
        """Give the connection up for something that went wrong on it, whoever's task noticed."""
        if not isinstance(error, OSError | trio.ClosedResourceError):
            _log.error("socket_failed", exc_info=error)
        self.abort(str(error) or type(error).__name__)

    def _ended(self, reason: str) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.reason = self.reason or reason
            _log.debug("socket_closed", reason=self.reason)

    # ---- pings

    def heard(self) -> None:
        """The peer is there. Anything is life: a pong may be late behind a large message."""
        self.last_heard = trio.current_time()
        self._unanswered = None

    def keep_alive(self) -> float:
        """Ping when it is time to; give the peer up when for `pong_timeout` after a ping nothing came at all.

        Returns:
            When to call again, in Trio's time.
        """
        now, settings = trio.current_time(), self._settings
        if self.state is not State.OPEN:
            return now + settings.ping_interval
        if self._unanswered is not None and now >= self._unanswered + settings.pong_timeout:
            self.abort(f"no answer to a ping within {settings.pong_timeout:g} seconds")
        elif now >= self._next_ping:
            self._next_ping = now + settings.ping_interval
            self._ping(now)
        if self._unanswered is None:
            return self._next_ping
        return min(self._next_ping, self._unanswered + settings.pong_timeout)

    def _ping(self, now: float) -> None:
        if self._unanswered is None:
            self._unanswered = now
        self._pinged += 1
        payload = self._pinged.to_bytes(4, "big")
        self._pings[payload] = now
        if len(self._pings) > MAX_PINGS:
            del self._pings[next(iter(self._pings))]
        self.enqueue(self._protocol.send(Ping(payload)))

    def ponged(self, payload: bytes) -> None:
        """A pong answers its ping and those before it (RFC 6455 §5.5.3)."""
        sent = self._pings.get(payload)
        if sent is not None:
            self.round_trip = trio.current_time() - sent
            self._pings = {other: time for other, time in self._pings.items() if other > payload}

    # ---- writing: messages and control frames

    def send(self, opcode: int, payload: bytes) -> None:
        """Send a message after everything queued before it. One that the peer leaves unread too long ends it."""
        self.enqueue(self.pack(opcode, payload))

    def enqueue(self, data: bytes) -> None:
        """Queue a frame and let it leave as soon as it can. Nothing follows a close frame (RFC 6455 §5.5.1)."""
        if self._said_goodbye or not data:
            return
        self._said_goodbye = data[0] == _CLOSE
        if data[0] == _PONG and self._outbox and self._outbox[-1][0] == _PONG:
            # An unread pong is answered by the latest (RFC 6455 §5.5.3): a ping flood cannot fill the queue.
            self._outbox_bytes -= len(self._outbox.pop())
        self._outbox.append(data)
        self._outbox_bytes += len(data)
        self._drain_soon()
        if self._outbox_bytes > MAX_OUTBOX:
            self.abort("the peer sends and does not read")

    # ---- writing: streams

    def clear(self) -> bool:
        """Whether a follower may write right now."""
        return not self._said_goodbye and not self._outbox and self._wire.clear()

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

    def spoiled(self, follower: Follower, error: Exception) -> None:
        """A stream cannot be written here: end it alone, as far as the others on this socket do not depend on it."""
        if isinstance(error, OSError) or not self.shares:
            self.fail(error)  # the wire is broken; or a part was packed that is not sent, and messages build on it
        else:
            _log.error("follower_failed", stream=follower.stream.id, exc_info=error)
            follower.close("internal_error")

    def _drain_soon(self) -> None:
        if self._draining:
            return
        # Nearly always it can all leave at once, without a task.
        try:
            if self._drain_now():
                return
        except Exception as error:  # the caller may be some stream's producer, which must not feel it
            self.fail(error)
            return
        if self._nursery is not None:
            self._draining = True
            self._nursery.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            while True:
                if not self._wire.clear():
                    await self._wire.flush()
                    self.heard()  # what leaves a full buffer was taken: pings and pongs wait in there too
                if self._drain_now():
                    return
                await trio.lowlevel.checkpoint()
        except Exception as error:
            self.fail(error)
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
        while self._lagging and not self._said_goodbye:
            follower = self._lagging.popleft()
            if follower.caught_up:
                follower.go_live()  # or, when its stream has ended, it leaves
                continue
            self._lagging.append(follower)
            try:
                data = follower.next_piece(PIECE_BYTES)
            except Exception as error:
                self.spoiled(follower, error)
                continue
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
