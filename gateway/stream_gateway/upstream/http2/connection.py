"""One HTTP/2 connection to a provider: many requests at once, read by the pump.

h2 keeps the protocol's state, with one exception: DATA frames never reach it. They are most of what comes, and h2 would
spend on each of them more than all the rest of the gateway's reading does; so their windows are kept here, and
h2 learns of a response's end from a frame of our own making.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import h2.connection
import httpx
import structlog
import trio
from h2 import events
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from stream_gateway.tls import TlsFilter
from stream_gateway.upstream.http2 import frames, limits
from stream_gateway.upstream.http2.exchange import Http2Exchange
from stream_gateway.upstream.http2.frames import Frame, FrameReader, Violation
from stream_gateway.upstream.http2.outbox import Outbox
from stream_gateway.upstream.pump import READ_SIZE, Pump
from stream_gateway.upstream.repeating import SendAgain

_log = structlog.get_logger()

_NEVER = float("inf")


class _Protocol(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = limits.CLOSED_STREAMS


class Http2Connection:
    """Serves requests until the provider or the pool wants no more of it.

    Args:
        sock: connected and non-blocking; the connection owns it from now on.
        tls: the TLS layer, its handshake done; None for plain TCP.
        write_timeout: seconds in which a request's body must make progress.
        streams: how many requests the provider is taken to allow until it says so.
        on_closed: called once, when the connection can no longer be used.
        on_changed: called when `streams` has changed.

    Attributes:
        streams: how many requests it takes at a time.
        leaving: it takes no new ones at all.
    """

    def __init__(
        self,
        sock: socket.socket,
        pump: Pump,
        tls: TlsFilter | None,
        *,
        max_reply_bytes: int,
        write_timeout: float,
        streams: int = limits.ASSUMED_STREAMS,
        on_closed: Callable[[Http2Connection], None] = lambda _: None,
        on_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.closed = False
        self.streams = streams
        self.leaving = False
        self._sock = sock
        self._pump = pump
        self._tls = tls
        self._max_reply_bytes = max_reply_bytes
        self._write_timeout = write_timeout
        self._on_closed = on_closed
        self._on_changed = on_changed
        self._reader = FrameReader()
        self._h2 = _open_protocol()
        self._exchanges: dict[int, Http2Exchange] = {}
        self._touched: dict[Http2Exchange, None] = {}  # what the current read has fed
        self._blocked: set[Http2Exchange] = set()  # what waits for a window or for the socket
        self._window = limits.CONNECTION_WINDOW  # what the provider may still send
        self._ours = bytearray()  # frames that are not h2's, to be sent after its own
        self._outbox = Outbox(sock, pump, tls, self._on_drained, self._on_error)
        self._last_heard = trio.current_time()
        self._pinged = _NEVER
        self._heard = trio.Event()
        self._handle: dict[type[events.Event], Callable[..., None]] = {
            events.ResponseReceived: self._on_response,
            events.StreamEnded: self._on_end,
            events.StreamReset: self._on_reset,
            events.WindowUpdated: self._on_window,
            events.RemoteSettingsChanged: self._on_settings,
        }
        pump.add(sock, self._on_readable)
        self._h2.initiate_connection()
        self._ours += frames.window_update(0, limits.CONNECTION_WINDOW - 65_535)
        self.flush()
        if tls is not None and not self.closed:
            self._guarded(self._take_plain)  # what came along with the handshake's end

    @property
    def idle(self) -> bool:
        """Whether it serves nothing."""
        return not self._exchanges

    async def handle(self, request: httpx.Request, silence_timeout: float) -> httpx.Response:
        """Send a request and wait until its response is complete.

        The body goes to the sink named in the request's extensions if that takes it, else into the response.

        Raises:
            SendAgain: the provider has not processed it, and another connection may be tried.
            httpx.TransportError: connection or stream broke, or the stream was silent for `silence_timeout` seconds.

        After an error or cancellation the stream is reset, which is how the provider learns of it; its
        neighbours go on.
        """
        if trio.current_time() - self._last_heard >= limits.PING_AFTER:
            await self._make_sure(request)
        if self.closed:
            raise SendAgain("The provider has closed the connection.", request=request)
        exchange = Http2Exchange(self, request, silence_timeout, self._max_reply_bytes)
        self._open(exchange, request)
        try:
            await exchange.send(self._write_timeout)
            await exchange.wait()
            return exchange.response()
        finally:
            self._blocked.discard(exchange)
            if self._exchanges.pop(exchange.id, None) is not None:
                self._reset(exchange.id, ErrorCodes.CANCEL)
                self.flush()
            self._close_if_done()

    async def _make_sure(self, request: httpx.Request) -> None:
        """Ask a connection that has long been silent whether it is still there, before a request depends on it."""
        self._ping(trio.current_time())
        self._heard = trio.Event()
        with trio.move_on_after(limits.PING_TIMEOUT) as scope:
            await self._heard.wait()
        if scope.cancelled_caught:
            self._broken("The provider did not answer a PING.")
            raise SendAgain("The provider did not answer a PING.", request=request)

    def _open(self, exchange: Http2Exchange, request: httpx.Request) -> None:
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, exchange.fields(), end_stream=not exchange.unsent)
        except ProtocolError:
            # It has said goodbye, or wants fewer streams, since this connection was chosen.
            raise SendAgain("The provider takes no more requests on this connection.", request=request) from None
        exchange.id = number
        self._exchanges[number] = exchange
        if number > limits.LAST_STREAM:
            self.retire()
        self._reader.earn()
        self.send_body(exchange)
        self.flush()

    # ---- what the pool asks

    def is_at_rest(self) -> bool:
        """Whether it can serve a request, after a look at what has come since the pump's last one."""
        if not self.closed:
            self._on_readable()
        return not self.closed and not self.leaving

    def retire(self) -> None:
        """Take no new requests, and close when those that run have ended."""
        if not self.leaving:
            self.leaving = True
            self.streams = 0
            self._on_changed()
        self._close_if_done()

    def close(self) -> None:
        """Close the socket; whoever waits for a response learns that it was cut off."""
        if self.closed:
            return
        with contextlib.suppress(ProtocolError):
            self._h2.close_connection()
            self.flush()
        self._broken("The connection to the provider was closed.")

    def _close_if_done(self) -> None:
        if self.leaving and not self._exchanges:
            self.close()

    def _broken(self, message: str, kind: type[httpx.TransportError] = httpx.ReadError) -> None:
        if self.closed:
            return
        self.closed = True
        self.streams = 0
        self._pump.remove(self._sock)
        self._sock.close()
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            exchange.fail(message, kind)
        self._heard.set()
        self._on_closed(self)

    # ---- whether it is alive

    @property
    def look_at(self) -> float:
        """When somebody who waits should call `look_after`."""
        if self.closed:
            return _NEVER
        if self._pinged != _NEVER:
            return self._pinged + limits.PING_TIMEOUT
        return self._last_heard + limits.PING_AFTER

    def look_after(self, now: float) -> None:
        """Ask a silent provider for a sign of life, or give it up when it has not given one."""
        if now < self.look_at:
            return
        if self._pinged != _NEVER:
            self._broken(f"The provider did not answer a PING for {limits.PING_TIMEOUT:g} seconds.")
        else:
            self._ping(now)

    def _ping(self, now: float) -> None:
        if self._pinged == _NEVER and not self.closed:
            self._pinged = now
            self._h2.ping(b"gateway?")
            self.flush()

    # ---- writing

    def send_body(self, exchange: Http2Exchange) -> None:
        """Send as much of a request's body as windows and socket admit; its task is woken when there may be more."""
        while exchange.unsent and exchange.id in self._exchanges:
            try:
                window = self._h2.local_flow_control_window(exchange.id)
                size = min(len(exchange.unsent), window, self._h2.max_outbound_frame_size, limits.MAX_UNSENT)
                if size <= 0 or self._outbox.full:
                    self._blocked.add(exchange)
                    break
                piece, exchange.unsent = bytes(exchange.unsent[:size]), exchange.unsent[size:]
                self._h2.send_data(exchange.id, piece, end_stream=not exchange.unsent)
            except ProtocolError:
                break  # it was reset, and hears of that
            self._reader.earn()
            self.flush()

    def open_window(self, stream: int, size: int) -> None:
        """Tell the provider that it may send so much more on a stream; `flush` sends it."""
        if stream in self._exchanges:
            self._ours += frames.window_update(stream, size)

    def _reset(self, stream: int, code: ErrorCodes) -> None:
        with contextlib.suppress(ProtocolError):
            self._h2.reset_stream(stream, code)

    def flush(self) -> None:
        """Send what there is to say."""
        data = self._h2.data_to_send()
        if self._ours:
            data += bytes(self._ours)
            self._ours.clear()
        if data and not self.closed:
            self._outbox.send(data)

    def _unblock(self) -> None:
        blocked, self._blocked = self._blocked, set()
        for exchange in blocked:
            exchange.wake()

    def _on_drained(self) -> None:
        self._pump.resume(self._sock)
        self._unblock()

    def _on_error(self, error: OSError) -> None:
        self._broken(f"The connection to the provider broke: {error.strerror or error}.")

    # ---- reading, in the pump's task

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_error(error)
            return
        self._last_heard = trio.current_time()
        self._pinged = _NEVER
        self._heard.set()
        self._guarded(self._take if self._tls is None else self._take_tls, data)

    def _guarded(self, take: Callable[..., None], *data: bytes) -> None:
        """Take what came; whatever is wrong with it, the connection's requests hear of it and nobody else does."""
        try:
            take(*data)
        except Violation as violation:
            with contextlib.suppress(ProtocolError):
                self._h2.close_connection(violation.code)
            self._say_why(f"The provider broke HTTP/2: {violation}.")
        except ProtocolError as error:  # h2 has prepared a GOAWAY with the right code
            self._say_why(f"The provider broke HTTP/2: {error}.")
        except OSError as error:
            self._on_error(error)
        except Exception:
            _log.exception("http2_failed")
            self._broken("The gateway could not process the provider's reply; its log says why.")
        finally:
            self._end_of_read()

    def _say_why(self, message: str) -> None:
        self.flush()
        self._broken(message, httpx.RemoteProtocolError)

    def _end_of_read(self) -> None:
        touched, self._touched = self._touched, {}
        for exchange in touched:
            exchange.flush()
        self.flush()
        if self._outbox.full and not self.closed:
            self._pump.pause(self._sock)

    def _take_tls(self, data: bytes) -> None:
        assert self._tls is not None
        self._tls.feed(data)
        self._take_plain()

    def _take_plain(self) -> None:
        assert self._tls is not None
        while (plain := self._tls.read()) is not None:
            self._take(plain)
            if not plain:
                return

    def _take(self, data: bytes) -> None:
        if not data:
            self._broken("The provider closed the connection before its reply was complete.")
        for frame in self._reader.frames(data, self._last_heard):
            exchange = self._exchanges.get(frame.stream)
            if exchange is not None:
                exchange.heard(self._last_heard)
            if frame.kind == frames.DATA:
                self._take_data(frame, exchange)
            elif frame.kind == frames.GOAWAY:
                self._take_goodbye(frame)
            elif frame.kind in (frames.RESET, frames.UPDATE) and frame.stream and exchange is None:
                self._check_known(frame.stream)  # late: RFC 9113 §5.1, "closed"
            elif frame.kind != frames.PRIORITY and frame.kind <= frames.CONTINUATION:
                for event in self._h2.receive_data(frame.content):
                    if (handle := self._handle.get(type(event))) is not None:
                        handle(event)

    def _take_data(self, frame: Frame, exchange: Http2Exchange | None) -> None:
        size = len(frame.content)
        self._window -= size
        if self._window < 0:
            raise Violation(ErrorCodes.FLOW_CONTROL_ERROR, "more data than the connection's window admits")
        if self._window < limits.CONNECTION_WINDOW // 2:
            self._ours += frames.window_update(0, limits.CONNECTION_WINDOW - self._window)
            self._window = limits.CONNECTION_WINDOW
        if exchange is None:
            self._check_known(frame.stream)  # we have left it, and what comes late is nobody's
            return
        data = frames.unpadded(frame)
        try:
            if exchange.feed(data, size):
                self._touched[exchange] = None
            if frame.flags & frames.END_STREAM:
                self._ended(exchange)
                # h2 counts no bytes, so it must not compare them with a length either.
                self._h2.receive_data(frames.reset(exchange.id, ErrorCodes.NO_ERROR))
        except Violation as violation:
            self._end_badly(exchange, violation)

    def _check_known(self, stream: int) -> None:
        """Frames of a stream that was never opened are an error of the connection (RFC 9113 §5.1, "idle")."""
        if stream % 2 == 0 or stream >= self._h2.get_next_available_stream_id():
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "a frame for a stream that does not exist")

    def _ended(self, exchange: Http2Exchange) -> None:
        exchange.end()
        del self._exchanges[exchange.id]
        if exchange.unsent:
            self._reset(exchange.id, ErrorCodes.NO_ERROR)  # nobody reads the rest of the request

    def _end_badly(self, exchange: Http2Exchange, violation: Violation) -> None:
        """A violation that concerns one stream only (RFC 9113 §5.4.2)."""
        self._exchanges.pop(exchange.id, None)
        self._reset(exchange.id, violation.code)
        exchange.fail(f"The provider broke HTTP/2: {violation}.", httpx.RemoteProtocolError)

    def _take_goodbye(self, frame: Frame) -> None:
        """It opens no more streams; those up to the last one it names may end (RFC 9113 §6.8)."""
        last, code = frames.goodbye(frame)
        for number in [number for number in self._exchanges if number > last]:
            exchange = self._exchanges.pop(number)
            exchange.fail_unprocessed(f"The provider said goodbye to the connection: {frames.code_name(code)}.")
        self.retire()

    # ---- what h2 says

    def _on_response(self, event: events.ResponseReceived) -> None:
        if (exchange := self._exchanges.get(event.stream_id)) is not None:
            try:
                if exchange.begin(event.headers):
                    self._touched[exchange] = None
            except Violation as violation:
                self._end_badly(exchange, violation)

    def _on_end(self, event: events.StreamEnded) -> None:
        if (exchange := self._exchanges.get(event.stream_id)) is not None:
            try:
                self._ended(exchange)
            except Violation as violation:
                self._end_badly(exchange, violation)

    def _on_reset(self, event: events.StreamReset) -> None:
        if (exchange := self._exchanges.pop(event.stream_id, None)) is not None:
            message = f"The provider reset the stream: {frames.code_name(int(event.error_code))}."
            if event.remote_reset and event.error_code == ErrorCodes.REFUSED_STREAM:
                exchange.fail_unprocessed(message)
            else:
                exchange.fail(message)

    def _on_window(self, event: events.WindowUpdated) -> None:
        self._unblock()

    def _on_settings(self, event: events.RemoteSettingsChanged) -> None:
        if self._h2.encoder.header_table_size > limits.HEADER_TABLE:
            self._h2.encoder.header_table_size = limits.HEADER_TABLE
        if not self.leaving:
            self.streams = min(self._h2.remote_settings.max_concurrent_streams, limits.MAX_STREAMS)
        self._unblock()
        self._on_changed()


def _open_protocol() -> _Protocol:
    # What we send needs neither lower-casing nor a check: `Http2Exchange.fields` writes it, and no client's words.
    config = H2Configuration(header_encoding=None, normalize_outbound_headers=False, validate_outbound_headers=False)
    protocol = _Protocol(config)
    protocol.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.MAX_HEAD,
        },
    )
    protocol.decoder.max_header_list_size = limits.MAX_HEAD
    return protocol
