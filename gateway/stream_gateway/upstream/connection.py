"""One HTTP/1.1 connection to a provider, on a socket that the pump reads."""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import httpx
import structlog
import trio

from stream_gateway.tls import TlsFilter
from stream_gateway.upstream.decoding import Decode, UndecodableReply, decoder_for
from stream_gateway.upstream.pump import READ_SIZE, Pump
from stream_gateway.upstream.sink import EXTENSION, SILENCE, Headers, Silence, Sink
from stream_protocols.errors import HeadersTooLarge, MalformedHttp
from stream_protocols.http1 import ReplyHead, ReplyReader, encode_request

_log = structlog.get_logger()

LINGER: Final = 1.0
"""Seconds in which a response must end once its sink has all it wants."""

MAX_HEAD: Final = 65_536
"""Bytes of a response's head: a provider that sends more is broken, not generous."""


class Http1Connection:
    """Serves one request at a time. Reading happens in the pump's task, everything else in the caller's.

    Args:
        sock: connected and non-blocking; the connection owns it from now on.
        tls: the TLS layer, its handshake done; None for plain HTTP.
        on_closed: called once, when the connection can no longer be used.
    """

    def __init__(
        self,
        sock: socket.socket,
        pump: Pump,
        tls: TlsFilter | None,
        max_reply_bytes: int,
        on_closed: Callable[["Http1Connection"], None],
    ) -> None:
        self.closed = False
        self.idle = True
        self._sock = sock
        self._pump = pump
        self._tls = tls
        self._max_reply_bytes = max_reply_bytes
        self._on_closed = on_closed
        self._reader = ReplyReader(MAX_HEAD)
        self._exchange: _Exchange | None = None
        self._unsent = memoryview(b"")
        pump.add(sock, self._on_readable)

    def handle(self, request: httpx.Request, silence_timeout: float) -> Coroutine[Any, Any, httpx.Response]:
        """Send a request and wait until its response is complete.

        It is sent when this is called, as far as the socket takes it; the result must be awaited for the rest. The
        body goes to the sink named in the request's extensions if that takes it, else into the response.

        Raises:
            httpx.TransportError: the connection broke, or was silent for `silence_timeout` seconds.

        After an error or cancellation the connection is closed, which is how the provider learns of it.
        """
        self.idle = False
        exchange = self._exchange = _Exchange(self, request, silence_timeout, self._max_reply_bytes)
        error = None
        try:
            self._send_now(exchange.head_and_body())
        except Exception as caught:
            error = caught  # for whoever awaits
        return self._finish(exchange, error)

    async def _finish(self, exchange: "_Exchange", error: Exception | None) -> httpx.Response:
        try:
            if error is not None:
                raise error
            if self._unsent:
                await exchange.send(self._send_rest)
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

    def _recycle(self, exchange: "_Exchange") -> None:
        """Be ready for the next request, unless HTTP says that there cannot be one."""
        self.idle = exchange.reusable and not self._unsent and not self._reader.waiting

    def is_at_rest(self) -> bool:
        """Whether it can serve a request: no, when the provider has closed it and the pump has not seen that yet."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        return False

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
            self._pump.pause(self._sock)

    def resume(self) -> None:
        """Read again (see `Valve`)."""
        if not self.closed:
            self._pump.resume(self._sock)

    def _send_now(self, data: bytes) -> None:
        """Send without waiting, as nearly every request can be; what is left over is for `_send_rest`."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._tls.outgoing()
        self._unsent = memoryview(data)
        with contextlib.suppress(OSError):  # a broken connection: `_send_rest` meets it again
            self._unsent = self._unsent[self._sock.send(self._unsent) :]

    async def _send_rest(self) -> None:
        while self._unsent:
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
            self._broken(f"The connection to the provider broke: {error.strerror or error}.")
            return
        if exchange is None or exchange.done:
            # Nobody has asked for anything: the provider is closing the connection, or is out of step.
            self.close()
            return
        try:
            if self._tls is None:
                exchange.receive(self._reader, data)
            else:
                self._receive_tls(exchange, self._tls, data)
        except OSError as error:
            self._broken(f"The connection to the provider broke: {error.strerror or error}.")
        except (MalformedHttp, HeadersTooLarge) as error:
            if self._reader.ended:
                self._broken("The provider closed the connection before its reply was complete.")
            else:
                self._broken(f"The provider broke HTTP: {error}")
        except UndecodableReply as error:
            self._broken(str(error))
        except Exception:
            # A sink's bug must cost this exchange only, and must not leave its task waiting.
            _log.exception("sink_failed")
            self._broken("The gateway could not process the provider's reply; its log says why.")

    def _receive_tls(self, exchange: "_Exchange", tls: TlsFilter, data: bytes) -> None:
        tls.feed(data)
        # Not only what it says now, but also whether that was its last word: nothing may come after it.
        while (plain := tls.read()) is not None:
            exchange.receive(self._reader, plain)
            if not plain:
                return
        if pending := tls.outgoing():  # a key update's answer; small, and sent at once or never
            self._sock.send(pending)

    def _broken(self, message: str) -> None:
        if self._exchange is not None:
            self._exchange.fail(message)
        self.close()


class _Exchange:
    """One request and its response, as far as it has come."""

    def __init__(
        self,
        connection: Http1Connection,
        request: httpx.Request,
        silence_timeout: float,
        max_reply_bytes: int,
    ) -> None:
        self.reusable = False  # whether the connection is, after it
        self._connection = connection
        self.request = request
        self._silence_timeout = silence_timeout
        self._max_reply_bytes = max_reply_bytes
        self._sink: Sink | None = request.extensions.get(EXTENSION)
        self._silence: Silence | None = request.extensions.get(SILENCE)
        if self._silence is not None:
            self._silence.changed = self._reset_deadline
        self._accepted = False
        self._decode: Decode | None = None
        self._ending = False
        self._error: str | None = None
        self._head: ReplyHead | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._done = trio.Event()
        self._last_read = trio.current_time()
        self._scope: trio.CancelScope | None = None
        self._sending: trio.CancelScope | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more is waited for."""
        return self._done.is_set()

    def head_and_body(self) -> bytes:
        """The request's bytes."""
        request = self.request
        return encode_request(request.method.encode(), request.url.raw_path, request.headers.raw) + request.read()

    async def send(self, send_rest: Callable[[], Awaitable[None]]) -> None:
        """Send what is left of the request; a provider may answer, or leave, before it has taken it all."""
        if self.done:
            return
        deadline = trio.current_time() + self._silence_timeout
        # When the connection breaks, what came before that still counts: the pump sees both.
        with contextlib.suppress(OSError), trio.CancelScope(deadline=deadline) as self._sending:
            await send_rest()
        if self._sending.cancelled_caught and not self.done:
            raise httpx.WriteTimeout("The provider did not take the request.", request=self.request)

    async def wait(self) -> None:
        """Until the response is complete, or nothing has been heard for the silence timeout.

        The time of each read is only noted, and looked at when the time is up: a chunk costs no timer.
        """
        while not self.done:
            with trio.CancelScope(deadline=self._deadline()) as self._scope:
                await self._done.wait()
            if self._scope.cancelled_caught and self._ending:
                return  # all that mattered was delivered; the connection is not used again
            if self._scope.cancelled_caught and self._deadline() <= trio.current_time():
                message = f"The provider was silent for {self._patience():g} seconds."
                raise httpx.ReadTimeout(message, request=self.request)
        if self._error is not None and not self._ending:
            raise httpx.ReadError(self._error, request=self.request)

    def _deadline(self) -> float:
        if self._ending:
            return trio.current_time() + LINGER
        return self._last_read + self._patience()

    def _patience(self) -> float:
        own = None if self._silence is None else self._silence.limit
        return self._silence_timeout if own is None else own

    def response(self) -> httpx.Response:
        """The response, its body unread in its stream unless the sink took it: httpx takes long to read one."""
        assert self._head is not None  # as `wait` has returned
        content, headers = b"".join(self._body), self._head.headers
        if coding := _values(headers, b"content-encoding"):
            # Not left to httpx, which sets no limit to what it may grow to.
            headers = [field for field in headers if field[0] != b"content-encoding"]
            content = self._decoded(content, coding)
        stream = httpx.ByteStream(content)
        return httpx.Response(self._head.status, headers=headers, stream=stream, request=self.request)

    def _decoded(self, content: bytes, coding: bytes) -> bytes:
        try:
            decode = decoder_for(coding, self._max_reply_bytes)
            return content if decode is None else decode(content)
        except UndecodableReply as error:
            raise httpx.ReadError(str(error), request=self.request) from None

    def fail(self, message: str) -> None:
        """No more will come."""
        if not self.done:
            self._error = message
            self._finish()

    def _finish(self) -> None:
        self._done.set()
        if self._sending is not None:
            self._sending.cancel()  # nobody will read the rest of the request

    def pause(self) -> None:
        """See `Valve`. A provider that we do not read cannot be silent."""
        self._last_read = float("inf")
        self._connection.pause()

    def resume(self) -> None:
        """See `Valve`."""
        self._last_read = trio.current_time()
        self._reset_deadline()
        self._connection.resume()

    def expect_end(self) -> None:
        """See `Valve`."""
        self._ending = True
        self._reset_deadline()

    def _reset_deadline(self) -> None:
        if self._scope is not None:
            self._scope.deadline = self._deadline()

    def receive(self, reader: ReplyReader, data: bytes) -> None:
        """Take what was read, an empty read being the end of the connection; in the pump's task."""
        reader.feed(data)
        if self.done:
            self.reusable = False  # whatever this is, it is no part of the response
            return
        if self._last_read != float("inf"):
            self._last_read = trio.current_time()
        if self._head is None and not self._begin(reader):
            return
        if body := reader.body():
            self._take(body)
        if reader.complete:
            self._end()
        elif self._accepted and self._sink is not None:
            self._sink.flush()

    def _begin(self, reader: ReplyReader) -> bool:
        """Take the head, if it has come whole."""
        head = reader.head(bodiless=self.request.method == "HEAD")
        if head is None:
            if reader.ended:
                raise MalformedHttp("The connection ended before a reply began.")
            return False
        self._head = head
        self._accepted = self._sink is not None and self._sink.begin(head.status, head.headers, self)
        if self._accepted:
            # A body that no sink takes is decoded when it is whole.
            self._decode = decoder_for(_values(head.headers, b"content-encoding"))
        return True

    def _take(self, data: bytes) -> None:
        if self._accepted and self._sink is not None:
            self._sink.feed(self._decode(data) if self._decode is not None else data)
            return
        self._size += len(data)
        if self._size > self._max_reply_bytes:
            self.fail(f"The provider's reply is larger than {self._max_reply_bytes} bytes.")
        else:
            self._body.append(data)

    def _end(self) -> None:
        self.reusable = self._head is not None and self._head.keep_alive
        if self._accepted and self._sink is not None:
            self._sink.end()
        self._finish()


def _values(headers: Headers, name: bytes) -> bytes:
    """All values of a header, in lower case, joined by commas."""
    return b",".join([value for found, value in headers if found == name]).lower()
