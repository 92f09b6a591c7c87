"""The streams of one connection to a provider, without I/O: frames in, frames out, each exchange told of its own.

h2 keeps the protocol's state, with one exception: DATA frames never reach it. They are most of what comes, and h2 would
spend more on each of them than all the rest of the transport does; so their windows are kept here, and
h2 learns of a response's end from a frame of our own making.
"""

import contextlib
from collections.abc import Callable
from typing import Final

import h2.connection
import httpx
from h2 import events
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from stream_gateway.upstream.http2 import frames, limits
from stream_gateway.upstream.http2.exchange import Http2Exchange
from stream_gateway.upstream.http2.frames import Frame, FrameReader, Violation

PING: Final = b"gateway?"


class _Protocol(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = limits.CLOSED_STREAMS


class Http2Streams:
    """A client's end of an HTTP/2 connection.

    Args:
        admitted: how many streams the provider is taken to allow until it says so.

    Attributes:
        admitted: how many it allows.
        goodbye: no stream may be opened any more, because the provider says so, or the numbers come to their end.
    """

    def __init__(self, admitted: int) -> None:
        self.admitted = admitted
        self.goodbye = False
        self._h2 = _open_protocol()
        self._reader = FrameReader()
        self._exchanges: dict[int, Http2Exchange] = {}
        self._touched: dict[Http2Exchange, None] = {}  # what the current read has fed
        self._blocked: dict[Http2Exchange, None] = {}  # what waits for a window, or for the socket
        self._window = limits.CONNECTION_WINDOW  # what the provider may still send
        self._ours = bytearray()  # frames that are not h2's, to be sent after its own
        self._handle: dict[type[events.Event], Callable[..., None]] = {
            events.ResponseReceived: self._on_response,
            events.StreamEnded: self._on_end,
            events.StreamReset: self._on_reset,
            events.WindowUpdated: self._on_window,
            events.RemoteSettingsChanged: self._on_settings,
        }
        self._h2.initiate_connection()
        self._ours += frames.window_update(0, limits.CONNECTION_WINDOW - 65_535)

    def __len__(self) -> int:
        """How many are open."""
        return len(self._exchanges)

    def data_to_send(self) -> bytes:
        """The frames that are due."""
        data = self._h2.data_to_send()
        if self._ours:
            data += bytes(self._ours)
            self._ours.clear()
        return data

    # ---- what we say

    def open(self, exchange: Http2Exchange) -> bool:
        """Send a request's head; False when the provider allows no more streams, or none at all."""
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, exchange.fields(), end_stream=not exchange.unsent)
        except ProtocolError:
            return False
        exchange.id = number
        self._exchanges[number] = exchange
        self._reader.earn()
        if number > limits.LAST_STREAM:
            self.goodbye = True
        return True

    def send_piece(self, exchange: Http2Exchange) -> bool:
        """Send as much of a request's body as one frame and the windows admit; False: nothing."""
        if exchange.id not in self._exchanges:
            return False
        window = self._h2.local_flow_control_window(exchange.id)
        size = min(len(exchange.unsent), window, self._h2.max_outbound_frame_size, limits.MAX_UNSENT)
        if size <= 0:
            return False
        piece, exchange.unsent = bytes(exchange.unsent[:size]), exchange.unsent[size:]
        self._h2.send_data(exchange.id, piece, end_stream=not exchange.unsent)
        self._reader.earn()
        return True

    def block(self, exchange: Http2Exchange) -> None:
        """Its body has to wait; its task is woken when there may be more to send."""
        self._blocked[exchange] = None

    def unblock(self) -> None:
        """Wake those that wait to send."""
        blocked, self._blocked = self._blocked, {}
        for exchange in blocked:
            exchange.wake()

    def open_window(self, stream: int, size: int) -> None:
        """Let the provider send so much more on a stream."""
        if stream in self._exchanges:
            self._ours += frames.window_update(stream, size)

    def leave(self, exchange: Http2Exchange) -> None:
        """Its task wants no more; a stream that is still open is reset."""
        self._blocked.pop(exchange, None)
        if self._exchanges.pop(exchange.id, None) is not None:
            self._reset(exchange.id, ErrorCodes.CANCEL)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._h2.ping(PING)

    def say_goodbye(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Tell the provider that the connection ends."""
        with contextlib.suppress(ProtocolError):  # it has been told
            self._h2.close_connection(code)

    def fail(self, message: str, kind: type[httpx.TransportError] | None) -> None:
        """The connection is gone, and all that was under way on it (see `Http2Connection`)."""
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            if kind is None:
                exchange.fail_gone(message)
            else:
                exchange.fail(message, kind)

    def _reset(self, stream: int, code: ErrorCodes) -> None:
        with contextlib.suppress(ProtocolError):
            self._h2.reset_stream(stream, code)

    # ---- what the provider says

    def take(self, data: bytes, now: float) -> None:
        """Take what was read.

        Raises:
            Violation: the connection must end.
            ProtocolError: the same, as h2 finds it.
        """
        for frame in self._reader.frames(data, now):
            exchange = self._exchanges.get(frame.stream)
            if exchange is not None:
                exchange.heard(now)
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

    def flush_sinks(self) -> None:
        """All that one read brought has been taken."""
        touched, self._touched = self._touched, {}
        for exchange in touched:
            exchange.flush()

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
                if not exchange.unsent:  # h2 has counted no bytes, so it must not compare them with a length either
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
        """It allows no more streams; those up to the last one it names may end (RFC 9113 §6.8)."""
        last, code = frames.goodbye(frame)
        self.goodbye = True
        for number in [number for number in self._exchanges if number > last]:
            exchange = self._exchanges.pop(number)
            exchange.fail_unprocessed(f"The provider said goodbye to the connection: {frames.code_name(code)}.")

    # ---- what h2 makes of it

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
            name = frames.code_name(int(event.error_code))
            if not event.remote_reset:  # h2 has reset it for what the provider did
                exchange.fail(f"The provider broke HTTP/2: {name}.", httpx.RemoteProtocolError)
            elif event.error_code == ErrorCodes.REFUSED_STREAM:
                exchange.fail_unprocessed(f"The provider reset the stream: {name}.")
            else:
                exchange.fail(f"The provider reset the stream: {name}.")

    def _on_window(self, event: events.WindowUpdated) -> None:
        self.unblock()

    def _on_settings(self, event: events.RemoteSettingsChanged) -> None:
        self._h2.encoder.header_table_size = min(self._h2.encoder.header_table_size, limits.HEADER_TABLE)
        self.admitted = min(self._h2.remote_settings.max_concurrent_streams, limits.MAX_STREAMS)
        self.unblock()


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
