"""One HTTP/2 connection: frames in, tasks for requests, frames out.

Nothing leaves a stream while the transport has unsent bytes, so nothing is buffered for a slow client beyond a piece
per stream. Streams that cannot go on stand in the connection's line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
import trio
from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

from stream_gateway.config import LimitSettings
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.http2 import limits as bounds
from stream_gateway.server.http2.exchange import Field, Http2Exchange, Http2Wire
from stream_gateway.server.http2.guard import Guard, Violation
from stream_gateway.server.http2.line import Line
from stream_gateway.server.http2.protocol import open_protocol
from stream_gateway.server.transport import Transport
from stream_gateway.streams.turn import Turn
from stream_protocols.chunking import Conditions
from stream_protocols.errors import StreamProtocolError

_log = structlog.get_logger()

LINGER: Final = 1.0
"""Seconds in which a client that is told to go is still read, so that closing does not destroy what it was told."""

Handler = Callable[[Exchange], Awaitable[None]]


class Http2Connection:
    """Serves one connection until either side ends it.

    Args:
        turn: the gateway's: what is written in one turn leaves in one send.
    """

    def __init__(self, transport: Transport, handler: Handler, limits: LimitSettings, turn: Turn) -> None:
        self.transport = transport
        self.limits = limits
        self.max_frame = bounds.MAX_FRAME
        self.turn = turn
        self._handler = handler
        self._guard = Guard(limits)
        self._h2 = open_protocol(limits)
        self._exchanges: dict[int, Http2Exchange] = {}
        self._queued = b""  # what h2 has to say while the transport is not clear
        self._unflushed = 0  # bytes of DATA that h2 holds
        self._flush = self._flush_now
        self.line = Line(transport, self._flush_now, self._broken)
        self._opened = False  # windows may have opened since the line was served
        self._goodbye = False  # no new streams: GOAWAY was sent
        self._frames = 0  # of the client's, as of when it was last given time
        self._patience = trio.CancelScope(deadline=trio.current_time() + limits.header_timeout)
        self._nursery: trio.Nursery | None = None
        self._handle: dict[type[events.Event], Callable[..., None]] = {
            events.RequestReceived: self._on_request,
            events.DataReceived: self._on_data,
            events.StreamEnded: self._on_end,
            events.StreamReset: self._on_reset,
            events.RemoteSettingsChanged: self._on_settings,
            events.WindowUpdated: self._on_window,
        }

    # ---- life

    async def serve(self, initial: bytes = b"") -> None:
        """Serve requests, `initial` being the connection's first bytes. Returns when it is to be closed."""
        farewell: Violation | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = self.line.nursery = nursery
            self._flush_now()
            if self._goodbye:
                self._say_goodbye()
            try:
                await self._read(initial)
            except Violation as violation:
                farewell = violation
            nursery.cancel_scope.cancel()
        self._nursery = self.line.nursery = None
        if not self.transport.closed:
            await self._leave(farewell or Violation(ErrorCodes.NO_ERROR, ""))

    async def _read(self, data: bytes) -> None:
        """Take frames until the connection has to end.

        Raises:
            Violation: it ends for the client's fault.
        """
        while True:
            if data:
                await self._take(data)
            while self._queued and len(self._queued) > bounds.MAX_ANSWERS:
                self.line.drained = trio.Event()
                await self.line.drained.wait()
            if self.transport.closed:  # it broke while we answered
                return
            with self._patience:
                try:
                    data = await self.transport.receive_some()
                except (OSError, trio.ClosedResourceError):
                    return
            if self._patience.cancelled_caught or not data:
                return

    async def _take(self, data: bytes) -> None:
        for part in self._guard.slices(data, trio.current_time()):
            with self.turn:
                self._handle_frames(part)
            self._flush_now()
            if self._opened:
                self._opened = False
                self.line.serve()
            if len(part) < len(data):
                await trio.lowlevel.checkpoint()
        self._be_patient()

    def _handle_frames(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                handle = self._handle.get(type(event))
                if handle is not None:
                    handle(event)
        except ProtocolError as error:
            # h2 has prepared a GOAWAY with the right code.
            raise Violation(error.error_code, "") from error

    def _be_patient(self) -> None:
        """How long the client may now be silent."""
        now = trio.current_time()
        if self._guard.block_since is not None:
            deadline = self._guard.block_since + self.limits.header_timeout
        elif self._exchanges:
            deadline = float("inf")
        elif self._guard.frames == self._frames:
            deadline = self._patience.deadline  # a frame that comes in crumbs buys no time
        elif self._goodbye or self._guard.goaway:
            deadline = now
        else:
            deadline = now + self.limits.idle_timeout
        self._frames = self._guard.frames
        self._patience = trio.CancelScope(deadline=deadline)

    def drain(self) -> None:
        """Take no new streams, and end when those that run have ended (RFC 9113 §6.8)."""
        if self._goodbye:
            return
        self._goodbye = True
        if self._nursery is not None:  # otherwise `serve` says it first of all
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        # h2 would take its own GOAWAY for the end of everything.
        frame = GoAwayFrame(0, last_stream_id=self._h2.highest_inbound_stream_id, error_code=ErrorCodes.NO_ERROR)
        self._queued += self._h2.data_to_send() + frame.serialize()
        self._flush_now()
        if not self._exchanges:
            self._patience.deadline = trio.current_time()

    async def _leave(self, violation: Violation) -> None:
        """Say goodbye, and why; then read on for a moment."""
        if violation.code is not ErrorCodes.NO_ERROR:
            _log.info("http2_violation", peer=self.transport.peer, code=violation.code.name, reason=str(violation))
        with trio.move_on_after(LINGER), contextlib.suppress(OSError):
            await self.transport.flush()
            if str(violation) or violation.code is ErrorCodes.NO_ERROR:
                with contextlib.suppress(ProtocolError):
                    self._h2.close_connection(violation.code, str(violation).encode() or None)
            await self.transport.send_all(self._queued + self._h2.data_to_send())
            await self.transport.close_gracefully()

    def _broken(self, error: Exception) -> None:
        _log.debug("connection_broke", error=str(error))
        self.transport.abort()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    # ---- what clients say

    def _on_request(self, event: events.RequestReceived) -> None:
        stream_id = event.stream_id
        if self._goodbye or len(self._exchanges) >= self.limits.streams_per_connection:
            # Nothing was done for it, so the client may try again elsewhere or later (RFC 9113 §8.7).
            self._refuse(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        try:
            exchange = Http2Exchange(self, stream_id, event.headers)
        except UnicodeError:
            self._refuse(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        if exchange.oversized:
            self._guard.count_large_head(trio.current_time())
        self._exchanges[stream_id] = exchange
        if self._nursery is not None:
            self._nursery.start_soon(self._serve, exchange)

    def _refuse(self, stream_id: int, code: ErrorCodes) -> None:
        self._guard.count_reset(trio.current_time())
        self.reset_stream(stream_id, code)

    def _on_data(self, event: events.DataReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is not None:
            exchange.inlet.feed(event.data, event.flow_controlled_length)
        else:
            self.acknowledge(event.stream_id, event.flow_controlled_length)

    def _on_end(self, event: events.StreamEnded) -> None:
        if exchange := self._exchanges.get(event.stream_id):
            exchange.inlet.end()

    def _on_reset(self, event: events.StreamReset) -> None:
        """Whoever leaves a stream leaves its generation at once, if its lease says so."""
        if not event.remote_reset:
            self._guard.count_reset(trio.current_time())
        if exchange := self._exchanges.pop(event.stream_id, None):  # what runs on does not count as a stream any more
            exchange.gone = True
            self.line.leave(exchange.outlet)
            exchange.scope.cancel()

    def _on_window(self, event: events.WindowUpdated) -> None:
        self._opened = True

    def _on_settings(self, event: events.RemoteSettingsChanged) -> None:
        self._opened = True
        self.max_frame = min(self._h2.max_outbound_frame_size, bounds.TURN_BYTES)
        if self._h2.encoder.header_table_size > bounds.HEADER_TABLE:
            self._h2.encoder.header_table_size = bounds.HEADER_TABLE

    # ---- requests

    async def _serve(self, exchange: Http2Exchange) -> None:
        code = ErrorCodes.CANCEL
        try:
            with exchange.scope as scope:
                if not scope.cancel_called:  # it asked and left at once
                    await self._answer(exchange)
                if exchange.upgraded is not None:
                    await exchange.upgraded(Http2Wire(exchange), b"")
        except OSError as error:
            _log.debug("client_gone", path=exchange.path, error=str(error))
        except Exception:
            _log.exception("stream_failed", path=exchange.path)
            code = ErrorCodes.INTERNAL_ERROR
        finally:
            self._ended(exchange, code)

    async def _answer(self, exchange: Http2Exchange) -> None:
        try:
            exchange.check()
        except StreamProtocolError as error:
            await exchange.respond_json(error.status, error.to_json())
        else:
            await self._handler(exchange)

    def _ended(self, exchange: Http2Exchange, code: ErrorCodes) -> None:
        self._exchanges.pop(exchange.outlet.id, None)
        exchange.inlet.acknowledge()
        if exchange.gone:
            pass
        elif not exchange.outlet.finished:
            exchange.outlet.reset(code)
        elif not exchange.inlet.ended:
            # It has its answer; what is left of its body nobody wants (RFC 9113 §8.1).
            self.reset_stream(exchange.outlet.id, ErrorCodes.NO_ERROR)
        if not self._exchanges and self._guard.block_since is None:
            idle = 0.0 if self._goodbye or self._guard.goaway else self.limits.idle_timeout
            self._patience.deadline = trio.current_time() + idle

    # ---- what streams say

    def conditions(self) -> Conditions:
        """What the network to the client shows."""
        return self.transport.conditions()

    def clear(self) -> bool:
        """Whether streams may write: all that was sent before has left."""
        return self.transport.clear()

    def window(self, stream_id: int) -> int:
        """Bytes that the stream's window and the connection's admit; may be negative (RFC 9113 §6.9.2)."""
        try:
            return self._h2.local_flow_control_window(stream_id)
        except ProtocolError:
            return 0  # it was reset; its task will hear of it

    def send_data(self, stream_id: int, data: bytes, *, end: bool = False, earns: bool = True) -> None:
        """Send one DATA frame that the windows admit; `earns`: the client may answer it with WINDOW_UPDATE."""
        try:
            self._h2.send_data(stream_id, data, end)
        except (ProtocolError, KeyError) as error:
            raise BrokenPipeError("the client has reset the stream") from error
        if earns:
            self._guard.refund()
        self._unflushed += len(data)
        if self._unflushed >= bounds.TURN_BYTES:
            self._flush_now()
        else:
            self.turn.defer(self._flush)

    def send_headers(self, stream_id: int, headers: Sequence[Field], *, end: bool = False) -> None:
        """Send a HEADERS frame."""
        try:
            self._h2.send_headers(stream_id, headers, end)
        except (ProtocolError, KeyError) as error:
            raise BrokenPipeError("the client has reset the stream") from error
        self.turn.defer(self._flush)

    def end_stream(self, stream_id: int) -> None:
        """Send the end of a stream."""
        try:
            self._h2.end_stream(stream_id)
        except (ProtocolError, KeyError) as error:
            raise BrokenPipeError("the client has reset the stream") from error
        self.turn.defer(self._flush)

    def reset_stream(self, stream_id: int, code: ErrorCodes) -> None:
        """Send RST_STREAM, unless the stream is closed already."""
        with contextlib.suppress(ProtocolError, KeyError):
            self._h2.reset_stream(stream_id, code)
            self.turn.defer(self._flush)

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Open the windows by what was taken."""
        with contextlib.suppress(ProtocolError):
            self._h2.acknowledge_received_data(size, stream_id)
            self.turn.defer(self._flush)

    def _flush_now(self) -> None:
        """Give what h2 has to say to the transport, if that is clear; otherwise the drain does."""
        data = self._h2.data_to_send()
        self._unflushed = 0
        if self._queued:
            data, self._queued = self._queued + data, b""
        if not data or self.transport.closed:
            return
        try:
            if not self.transport.clear():
                self._queued = data
                self.line.drain_soon()
            elif not self.transport.write_now(data):
                self.line.drain_soon()
        except OSError as error:
            self._broken(error)
