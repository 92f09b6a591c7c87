"""One request on an HTTP/1.1 connection, and its response as far as it has come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import httpx
import trio

from stream_gateway.upstream.decoding import Decode, UndecodableReply, decoder_for
from stream_gateway.upstream.repeating import STALE, SendAgain
from stream_gateway.upstream.sink import EXTENSION, LINGER, SILENCE, Headers, Silence, Sink
from stream_protocols.errors import MalformedHttp
from stream_protocols.http1 import ReplyHead, ReplyReader, encode_request

if TYPE_CHECKING:
    from stream_gateway.upstream.http1.connection import Http1Connection

_NEVER: Final = float("inf")


class Http1Exchange:
    """One request and its response, as far as it has come."""

    def __init__(
        self,
        connection: Http1Connection,
        request: httpx.Request,
        silence_timeout: float,
        max_reply_bytes: int,
        *,
        repeatable: bool,
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
        self._end_by = _NEVER
        self._error: httpx.ReadError | None = None
        self._head: ReplyHead | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._done = trio.Event()
        self._last_read = trio.current_time()
        self._stale_until = self._last_read + STALE if repeatable else -_NEVER
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

    async def send(self, write_timeout: float) -> None:
        """Send what is left of the request; a provider may answer, or leave, before it has taken it all.

        Raises:
            httpx.WriteTimeout: nothing could be sent for so long.
        """
        # When the connection breaks, what came before that still counts: the pump sees both.
        with contextlib.suppress(OSError):
            while self._connection.unsent and not self.done:
                with trio.CancelScope(deadline=trio.current_time() + write_timeout) as self._sending:
                    await self._connection.send_more()
                if self._sending.cancelled_caught and not self.done:
                    raise httpx.WriteTimeout("The provider did not take the request.", request=self.request)
        if self._last_read != _NEVER:
            self._last_read = trio.current_time()  # only now it has something to answer

    async def wait(self) -> None:
        """Until the response is complete, or nothing has been heard for the silence timeout.

        The time of each read is only noted, and looked at when the time is up: a chunk costs no timer.
        """
        while not self.done:
            with trio.CancelScope(deadline=self._deadline()) as self._scope:
                await self._done.wait()
            if self._scope.cancelled_caught and trio.current_time() >= self._end_by:
                return  # all that mattered was delivered; the connection is not used again
            if self._scope.cancelled_caught and self._deadline() <= trio.current_time():
                message = f"The provider was silent for {self._patience():g} seconds."
                raise httpx.ReadTimeout(message, request=self.request)
        if self._error is not None and self._end_by == _NEVER:
            raise self._error

    def _deadline(self) -> float:
        if self._end_by != _NEVER:
            return self._end_by
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

    def fail(self, message: str, kind: type[httpx.ReadError] = httpx.ReadError) -> None:
        """No more will come."""
        if not self.done:
            self._error = kind(message, request=self.request)
            self._finish()

    def fail_gone(self, message: str) -> None:
        """The connection is gone; maybe it was before the request came."""
        self.fail(message, SendAgain if trio.current_time() < self._stale_until else httpx.ReadError)

    def _finish(self) -> None:
        self._done.set()
        if self._sending is not None:
            self._sending.cancel()  # nobody will read the rest of the request

    def pause(self) -> None:
        """See `Valve`. A provider that we do not read cannot be silent."""
        if not self.done:
            self._last_read = _NEVER
            self._connection.pause()

    def resume(self) -> None:
        """See `Valve`."""
        if not self.done:
            self._last_read = trio.current_time()
            self._reset_deadline()
            self._connection.resume()

    def expect_end(self) -> None:
        """See `Valve`."""
        if self._end_by == _NEVER:
            self._end_by = trio.current_time() + LINGER
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
        if data:
            self._stale_until = -_NEVER
        if self._last_read != _NEVER:
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
