"""One HTTP/2 connection to a provider: many requests at once, read by the pump."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import structlog
import trio
from h2.exceptions import ProtocolError

from stream_gateway.tls import TlsFilter
from stream_gateway.upstream.http2 import limits
from stream_gateway.upstream.http2.exchange import Http2Exchange
from stream_gateway.upstream.http2.frames import Violation
from stream_gateway.upstream.http2.outbox import Outbox
from stream_gateway.upstream.http2.streams import Http2Streams
from stream_gateway.upstream.pump import READ_SIZE, Pump
from stream_gateway.upstream.repeating import SendAgain

_log = structlog.get_logger()

_NEVER = float("inf")


class Http2Connection:
    """Serves requests until the provider or the pool wants no more of it.

    Args:
        sock: connected and non-blocking; the connection owns it from now on.
        tls: the TLS layer, its handshake done; None for plain TCP.
        write_timeout: seconds in which a request's body must make progress.
        streams: how many requests the provider is taken to allow until it says so.
        on_closed: called once, when the connection can no longer be used.
        on_changed: called when `streams` or `leaving` may have changed.
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
        self._sock = sock
        self._pump = pump
        self._tls = tls
        self._max_reply_bytes = max_reply_bytes
        self._write_timeout = write_timeout
        self._on_closed = on_closed
        self._on_changed = on_changed
        self._streams = Http2Streams(streams)
        self._outbox = Outbox(sock, pump, tls, self._on_drained, self._on_error)
        self._retired = False
        self._last_heard = trio.current_time()
        self._pinged = _NEVER  # when, if there was no answer yet
        self._heard = trio.Event()
        pump.add(sock, self._on_readable)
        self.flush()
        if tls is not None and not self.closed:
            self._guarded(self._take_plain)  # what came along with the handshake's end

    @property
    def streams(self) -> int:
        """How many requests it takes at a time; 0 when it takes no new ones."""
        return 0 if self.leaving else self._streams.admitted

    @property
    def leaving(self) -> bool:
        """Whether it takes no new requests any more."""
        return self.closed or self._retired or self._streams.goodbye

    @property
    def idle(self) -> bool:
        """Whether it serves nothing."""
        return not self._streams

    def handle(
        self, request: httpx.Request, silence_timeout: float, *, repeatable: bool = False
    ) -> Coroutine[Any, Any, httpx.Response]:
        """Send a request and wait until its response is complete.

        It is sent when this is called, as far as windows and socket admit it, unless the connection was silent for so
        long that it has to be asked first; the result must be awaited for the rest. The body goes to the sink named
        in the request's extensions if that takes it, else into the response.

        Args:
            repeatable: it may be sent once more, if the connection turns out to have been dead.

        Raises:
            SendAgain: the provider has not processed it, or it is repeatable; another connection may be tried.
            httpx.TransportError: connection or stream broke, or the stream was silent for `silence_timeout` seconds.

        After an error or cancellation the stream is reset, which is how the provider learns of it; its
        neighbours go on.
        """
        exchange = Http2Exchange(self, request, silence_timeout, self._max_reply_bytes, repeatable=repeatable)
        postponed = trio.current_time() - self._last_heard >= limits.PING_AFTER
        error = None
        try:
            if not postponed:
                self._begin(exchange)
        except Exception as caught:
            error = caught  # for whoever awaits
        return self._finish(exchange, postponed, error)

    async def _finish(self, exchange: Http2Exchange, postponed: bool, error: Exception | None) -> httpx.Response:
        try:
            if error is not None:
                raise error
            if postponed:
                await self._make_sure()
                self._begin(exchange)
            if not exchange.id:
                message = "The provider takes no more requests on this connection."
                raise SendAgain(message, request=exchange.request)
            await exchange.send(self._write_timeout)
            await exchange.wait()
            return exchange.response()
        finally:
            self._streams.leave(exchange)
            self.flush()
            self._close_if_done()

    def _begin(self, exchange: Http2Exchange) -> None:
        """Open a stream, unless the connection takes no more of them."""
        if not self.closed and self._streams.open(exchange):
            self.send_body(exchange)

    async def _make_sure(self) -> None:
        """Ask a connection that has long been silent whether it is still there, before a request depends on it."""
        self._ping(trio.current_time())
        if self._heard.is_set():  # otherwise others wait for the same answer
            self._heard = trio.Event()
        with trio.move_on_after(limits.PING_TIMEOUT) as scope:
            await self._heard.wait()
        if scope.cancelled_caught:
            self._break("The provider did not answer a PING.")

    # ---- what the pool asks

    def is_at_rest(self) -> bool:
        """Whether it can serve a request, after a look at what has come since the pump's last one."""
        if not self.closed:
            self._on_readable()
        return not self.leaving

    def retire(self) -> None:
        """Take no new requests, and close when those that run have ended."""
        self._retired = True
        self._close_if_done()

    def close(self) -> None:
        """Close the socket; whoever waits for a response learns that it was cut off."""
        if not self.closed:
            self._streams.say_goodbye()
            self.flush()
            self._break("The connection to the provider was closed.")

    def _close_if_done(self) -> None:
        if self.leaving and not self._streams:
            self.close()

    def _break(self, message: str, kind: type[httpx.TransportError] | None = None) -> None:
        """Close the socket; `kind`: what the provider has done wrong, other than to go."""
        if self.closed:
            return
        self.closed = True
        self._pump.remove(self._sock)
        self._sock.close()
        self._streams.fail(message, kind)
        self._heard.set()
        self._on_closed(self)

    def _on_error(self, error: OSError) -> None:
        self._break(f"The connection to the provider broke: {error.strerror or error}.")

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
            self._break(f"The provider did not answer a PING for {limits.PING_TIMEOUT:g} seconds.")
        else:
            self._ping(now)

    def _ping(self, now: float) -> None:
        if self._pinged == _NEVER and not self.closed:
            self._pinged = now
            self._streams.ping()
            self.flush()

    # ---- what exchanges ask

    def send_body(self, exchange: Http2Exchange) -> None:
        """Send as much of a request's body as windows and socket admit; its task is woken when there may be more."""
        while exchange.unsent and not self._outbox.full and self._streams.send_piece(exchange):
            self.flush()
        if exchange.unsent:
            self._streams.block(exchange)
        self.flush()

    def open_window(self, stream: int, size: int) -> None:
        """Let the provider send so much more on a stream; `flush` tells it."""
        self._streams.open_window(stream, size)

    def flush(self) -> None:
        """Send what there is to say."""
        data = self._streams.data_to_send()
        if data and not self.closed:
            self._outbox.send(data)

    # ---- in the pump's task

    def _on_drained(self) -> None:
        self._pump.resume(self._sock)
        self._streams.unblock()

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
        before = self.streams
        try:
            take(*data)
        except Violation as violation:
            self._streams.say_goodbye(violation.code)
            self._say_why(f"The provider broke HTTP/2: {violation}.")
        except ProtocolError as error:  # h2 has prepared a GOAWAY with the right code
            self._say_why(f"The provider broke HTTP/2: {error}.")
        except OSError as error:
            self._on_error(error)
        except Exception:
            _log.exception("http2_failed")
            self._break("The gateway could not process the provider's reply; its log says why.")
        finally:
            self._streams.flush_sinks()
            self.flush()
            if self._outbox.full and not self.closed:
                self._pump.pause(self._sock)
        if self.streams != before and not self.closed:
            self._on_changed()
        self._close_if_done()

    def _say_why(self, message: str) -> None:
        self.flush()
        self._break(message, httpx.RemoteProtocolError)

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
        if data:
            self._streams.take(data, self._last_heard)
        else:
            self._break("The provider closed the connection before its reply was complete.")
