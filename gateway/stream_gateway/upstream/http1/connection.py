"""One HTTP/1.1 connection to a provider, on a socket that the pump reads."""

import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

import httpx
import structlog
import trio

from stream_gateway.tls import TlsFilter
from stream_gateway.upstream.decoding import UndecodableReply
from stream_gateway.upstream.http1.exchange import Http1Exchange
from stream_gateway.upstream.pump import READ_SIZE, Pump
from stream_protocols.errors import HeadersTooLarge, MalformedHttp
from stream_protocols.http1 import ReplyReader

_log = structlog.get_logger()

MAX_HEAD: Final = 65_536
"""Bytes of a response's head: a provider that sends more is broken, not generous."""


class Http1Connection:
    """Serves one request at a time. Reading happens in the pump's task, everything else in the caller's.

    Args:
        sock: connected and non-blocking; the connection owns it from now on.
        tls: the TLS layer, its handshake done; None for plain HTTP.
        write_timeout: seconds in which a request must make progress.
        on_closed: called once, when the connection can no longer be used.
    """

    def __init__(
        self,
        sock: socket.socket,
        pump: Pump,
        tls: TlsFilter | None,
        *,
        max_reply_bytes: int,
        write_timeout: float,
        on_closed: Callable[["Http1Connection"], None] = lambda _: None,
    ) -> None:
        self.closed = False
        self.idle = True
        self._sock = sock
        self._pump = pump
        self._tls = tls
        self._max_reply_bytes = max_reply_bytes
        self._write_timeout = write_timeout
        self._on_closed = on_closed
        self._reader = ReplyReader(MAX_HEAD)
        self._exchange: Http1Exchange | None = None
        self._paused = False
        self._unsent = memoryview(b"")
        pump.add(sock, self._on_readable)

    @property
    def unsent(self) -> bool:
        """Whether some of the request has not been sent yet."""
        return bool(self._unsent)

    def handle(
        self, request: httpx.Request, silence_timeout: float, *, repeatable: bool = False
    ) -> Coroutine[Any, Any, httpx.Response]:
        """Send a request and wait until its response is complete.

        It is sent when this is called, as far as the socket takes it; the result must be awaited for the rest. The
        body goes to the sink named in the request's extensions if that takes it, else into the response.

        Args:
            repeatable: it may be sent once more, if the connection turns out to have been dead.

        Raises:
            SendAgain: it was, and another one may be tried.
            httpx.TransportError: the connection broke, or was silent for `silence_timeout` seconds.

        After an error or cancellation the connection is closed, which is how the provider learns of it.
        """
        self.idle = False
        exchange = self._exchange = Http1Exchange(
            self, request, silence_timeout, self._max_reply_bytes, repeatable=repeatable
        )
        error = None
        try:
            self._send_now(exchange.head_and_body())
        except Exception as caught:
            error = caught  # for whoever awaits
        return self._finish(exchange, error)

    async def _finish(self, exchange: Http1Exchange, error: Exception | None) -> httpx.Response:
        try:
            if error is not None:
                raise error
            if self._unsent:
                await exchange.send(self._write_timeout)
            await exchange.wait()
            response = exchange.response()
        except OSError as broken:
            message = f"The request could not be sent: {broken}."
            raise httpx.WriteError(message, request=exchange.request) from None
        else:
            self._recycle(exchange)
            return response
        finally:
            self._exchange = None
            if not self.idle:
                self.close()

    def _recycle(self, exchange: Http1Exchange) -> None:
        """Be ready for the next request, unless HTTP says that there cannot be one."""
        self.idle = exchange.reusable and not self._unsent and not self._reader.waiting
        if self.idle and self._paused:  # by a sink that had no room for the last of it
            self.resume()

    def is_at_rest(self) -> bool:
        """Whether it can serve a request, after a look at what has come since the pump's last one."""
        if not self.closed:
            self._on_readable()
        return not self.closed

    def close(self) -> None:
        """Close the socket; whoever waits for a response learns that it was cut off."""
        if self.closed:
            return
        self.closed = True
        if self._exchange is not None:  # which may be waiting for the socket: it has to leave that first
            self._exchange.fail("The connection to the provider was closed.")
        self._pump.remove(self._sock)
        self._sock.close()
        self._on_closed(self)

    def pause(self) -> None:
        """Stop reading (see `Valve`)."""
        if not self.closed:
            self._paused = True
            self._pump.pause(self._sock)

    def resume(self) -> None:
        """Read again (see `Valve`)."""
        if not self.closed:
            self._paused = False
            self._pump.resume(self._sock)

    def _send_now(self, data: bytes) -> None:
        """Send without waiting, as nearly every request can be; what is left over is for `send_more`."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._tls.outgoing()
        self._unsent = memoryview(data)
        with contextlib.suppress(OSError):  # a broken connection: `send_more` meets it again
            self._unsent = self._unsent[self._sock.send(self._unsent) :]

    async def send_more(self) -> None:
        """Send some of what is left, as soon as the socket takes it.

        Raises:
            OSError: the connection is broken.
        """
        await trio.lowlevel.wait_writable(self._sock)
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self._sock.send(self._unsent) :]

    # ---- in the pump's task

    def _on_readable(self) -> None:
        exchange = self._exchange
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(f"The connection to the provider broke: {error.strerror or error}.")
            return
        try:
            if exchange is None or exchange.done:
                self._receive_unasked(data)
            elif self._tls is None:
                exchange.receive(self._reader, data)
            else:
                self._receive_tls(exchange, self._tls, data)
        except OSError as error:
            self._broken(f"The connection to the provider broke: {error.strerror or error}.")
        except (MalformedHttp, HeadersTooLarge) as error:
            if self._reader.ended:
                self._gone("The provider closed the connection before its reply was complete.")
            else:
                self._broken(f"The provider broke HTTP: {error}")
        except UndecodableReply as error:
            self._broken(str(error))
        except Exception:
            # A sink's bug must cost this exchange only, and must not leave its task waiting.
            _log.exception("sink_failed")
            self._broken("The gateway could not process the provider's reply; its log says why.")

    def _receive_unasked(self, data: bytes) -> None:
        """Nobody has asked for anything: the provider is closing the connection, or is out of step.

        Only TLS has something to say meanwhile: tickets come after the handshake (RFC 8446 §4.6.1).
        """
        if self._tls is not None:
            self._tls.feed(data)
            if self._tls.read() is None:
                return
        self.close()

    def _receive_tls(self, exchange: Http1Exchange, tls: TlsFilter, data: bytes) -> None:
        tls.feed(data)
        # Not only what it says now, but also whether that was its last word: nothing may come after it.
        while (plain := tls.read()) is not None:
            exchange.receive(self._reader, plain)
            if not plain:
                return
        if pending := tls.outgoing():  # a key update's answer; small, and sent at once or never
            self._sock.send(pending)

    def _gone(self, message: str) -> None:
        if self._exchange is not None:
            self._exchange.fail_gone(message)
        self.close()

    def _broken(self, message: str) -> None:
        if self._exchange is not None:
            self._exchange.fail(message)
        self.close()
