"""One request on an HTTP/2 connection, and its response as far as it has come."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import httpx
import structlog
import trio
from h2.errors import ErrorCodes
from hpack import NeverIndexedHeaderTuple

from stream_gateway.upstream.decoding import Decode, UndecodableReply, decoder_for
from stream_gateway.upstream.http2 import limits
from stream_gateway.upstream.http2.frames import Violation
from stream_gateway.upstream.repeating import STALE, SendAgain
from stream_gateway.upstream.sink import EXTENSION, LINGER, SILENCE, Headers, Silence, Sink

if TYPE_CHECKING:
    from stream_gateway.upstream.http2.connection import Http2Connection

_log = structlog.get_logger()

_NEVER: Final = float("inf")

_OF_THE_CONNECTION: Final = frozenset(
    (b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te")
)
"""Fields that HTTP/2 has no place for (RFC 9113 §8.2.2), and Host, which is `:authority`."""

_SECRET: Final = frozenset((b"authorization", b"x-api-key", b"x-goog-api-key"))
"""Fields that carry a provider's key, in whatever dialect."""

_BODILESS: Final = (204, 304)
"""What may name a length and has no body (RFC 9110 §8.6)."""


class Http2Exchange:
    """A request and its response. What a response brings is taken in the pump's task, everything else in its own.

    Attributes:
        id: the stream's number, once it is open; before that 0.
        request: what is asked.
        unsent: what is left of the request's body.
    """

    def __init__(
        self,
        connection: Http2Connection,
        request: httpx.Request,
        silence_timeout: float,
        max_reply_bytes: int,
        *,
        repeatable: bool,
    ) -> None:
        self.id = 0
        self.unsent = memoryview(request.read())
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
        self._status = 0
        self._headers: Headers = ()
        self._expected: int | None = None
        self._received = 0
        self._body: list[bytes] = []
        self._size = 0
        self._window = limits.STREAM_WINDOW  # what the provider may still send
        self._taken = 0  # bytes that the window has not been opened by yet
        self._held: collections.deque[tuple[bytes, int]] = collections.deque()
        self._ended = False  # the provider has said all
        self._over = False  # and the sink has heard it; or it was broken off
        self._error: httpx.TransportError | None = None
        self._end_by = _NEVER
        self._last_read = trio.current_time()
        self._stale_until = self._last_read + STALE if repeatable else -_NEVER
        self._news = trio.Event()
        self._scope: trio.CancelScope | None = None

    # ---- in its own task

    def fields(self) -> list[tuple[bytes, bytes]]:
        """The request's header fields (RFC 9113 §8.3.1).

        The provider's key is never indexed: clients write some of the fields on this connection, and none of them shall
        guess at it by their compressed size (RFC 7541 §7.1).
        """
        request = self.request
        host = request.headers.get("host", "")
        fields = [
            (b":method", request.method.encode("ascii")),
            (b":scheme", request.url.raw_scheme),
            (b":authority", host.encode("ascii") if host else request.url.netloc),
            (b":path", request.url.raw_path),
        ]
        for name, value in request.headers.raw:
            if (lower := name.lower()) not in _OF_THE_CONNECTION:
                fields.append(NeverIndexedHeaderTuple(lower, value) if lower in _SECRET else (lower, value))
        return fields

    async def send(self, write_timeout: float) -> None:
        """Send what is left of the body, as windows and socket admit it; a provider may answer before it has it all.

        Raises:
            httpx.WriteTimeout: nothing could be sent for so long.
        """
        deadline = trio.current_time() + write_timeout
        while self.unsent and not self._ended and self._error is None:
            self._news = trio.Event()
            with trio.move_on_at(deadline) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                raise httpx.WriteTimeout("The provider did not take the request.", request=self.request)
            left = len(self.unsent)
            self._connection.send_body(self)
            if len(self.unsent) < left:
                deadline = trio.current_time() + write_timeout

    async def wait(self) -> None:
        """Until the response is complete, or nothing has been heard for the silence timeout.

        The time of each read is only noted, and looked at when the time is up: a chunk costs no timer.
        """
        while True:
            if self._held and self._last_read != _NEVER:
                self._release()
            if self._over or (self._error is not None and not self._held):
                break
            self._news = trio.Event()
            with trio.CancelScope(deadline=self._deadline()) as self._scope:
                await self._news.wait()
            if self._scope.cancelled_caught and self._has_waited_enough():
                return
        if self._error is not None and self._end_by == _NEVER:
            raise self._error

    def _deadline(self) -> float:
        if self._end_by != _NEVER:
            return self._end_by
        return min(self._last_read + self._patience(), self._connection.look_at)

    def _patience(self) -> float:
        own = None if self._silence is None else self._silence.limit
        return self._silence_timeout if own is None else own

    def _reset_deadline(self) -> None:
        if self._scope is not None:
            self._scope.deadline = self._deadline()

    def _has_waited_enough(self) -> bool:
        now = trio.current_time()
        if now >= self._end_by:
            return True  # all that mattered was delivered
        if now >= self._last_read + self._patience():
            message = f"The provider was silent for {self._patience():g} seconds."
            raise httpx.ReadTimeout(message, request=self.request)
        self._connection.look_after(now)
        return False

    def response(self) -> httpx.Response:
        """The response, its body unread in its stream unless the sink took it: httpx takes long to read one."""
        headers = [field for field in self._headers if self._decode is None or field[0] != b"content-encoding"]
        stream = httpx.ByteStream(b"".join(self._body))
        return httpx.Response(self._status, headers=headers, stream=stream, request=self.request)

    def _release(self) -> None:
        """Give the sink what came while it was paused."""
        while self._held and self._last_read != _NEVER:
            data, size = self._held.popleft()
            self._take(data, size)
            self.flush()
        if self._ended and not self._held:
            self._finish()
        self._connection.flush()

    # ---- as a valve, from wherever

    def pause(self) -> None:
        """See `Valve`: its window is not opened any more. A provider that we do not hear cannot be silent."""
        self._last_read = _NEVER

    def resume(self) -> None:
        """See `Valve`; its own task gives the sink what was held back."""
        self._last_read = trio.current_time()
        self.wake()

    def expect_end(self) -> None:
        """See `Valve`."""
        if self._end_by == _NEVER:
            self._end_by = trio.current_time() + LINGER
            self._reset_deadline()

    def wake(self) -> None:
        """Something that its task may wait for has changed."""
        self._news.set()

    # ---- in the pump's task

    def heard(self, now: float) -> None:
        """Something came for it."""
        self._stale_until = -_NEVER
        if self._last_read != _NEVER:
            self._last_read = now

    def begin(self, headers: Headers) -> bool:
        """The response's head. True: `flush` is wanted.

        Raises:
            Violation: it makes no sense; the stream must end.
        """
        fields = dict(headers)
        status = fields.get(b":status", b"")
        if not (len(status) == 3 and status.isdigit()):
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "a response without a status")
        self._status = int(status)
        self._headers = [field for field in headers if not field[0].startswith(b":")]
        length = fields.get(b"content-length", b"")
        if length.isdigit() and self.request.method != "HEAD" and self._status not in _BODILESS:
            self._expected = int(length)
        self._contain(self._ask_sink)
        return self._accepted

    def _ask_sink(self) -> None:
        self._accepted = self._sink is not None and self._sink.begin(self._status, self._headers, self)
        coding = b",".join([value for name, value in self._headers if name == b"content-encoding"])
        self._decode = decoder_for(coding) if self._accepted else decoder_for(coding, self._max_reply_bytes)

    def feed(self, data: bytes, size: int) -> bool:
        """More of the body: `data`, which counts for `size` bytes of the window. True: `flush` is wanted.

        Raises:
            Violation: it is more than the provider may send; the stream must end.
        """
        self._window -= size
        if self._window < 0:
            raise Violation(ErrorCodes.FLOW_CONTROL_ERROR, "more than the stream's window admits")
        if self._error is not None:
            return False
        if not self._status:
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "a body without a head")
        self._received += len(data)
        if self._expected is not None and self._received > self._expected:
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "a body that is longer than its head says")
        if self._held or self._last_read == _NEVER:
            self._held.append((data, size))
            return False
        self._take(data, size)
        return self._accepted

    def end(self) -> None:
        """The response is complete, as far as the provider is concerned.

        Raises:
            Violation: it is shorter than it should be.
        """
        if not self._status:
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "an end without a head")
        if self._expected is not None and self._received != self._expected:
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "a body that is shorter than its head says")
        self._ended = True
        if not self._held:
            self._finish()
        self.wake()

    def flush(self) -> None:
        """All that one read brought has been fed."""
        if self._accepted and self._sink is not None and not self._over:
            self._contain(self._sink.flush)

    def fail(self, message: str, kind: type[httpx.TransportError] = httpx.ReadError) -> None:
        """No more will come."""
        if not self._over and self._error is None:
            self._error = kind(message, request=self.request)
            self.wake()

    def fail_gone(self, message: str) -> None:
        """The connection is gone; maybe it was before the request came."""
        self.fail(message, SendAgain if trio.current_time() < self._stale_until else httpx.ReadError)

    def fail_unprocessed(self, message: str) -> None:
        """The provider has done nothing with the request: another connection may be tried (RFC 9113 §8.7)."""
        self.fail(message, httpx.ReadError if self._status else SendAgain)

    def _take(self, data: bytes, size: int) -> None:
        self._contain(self._give, data)
        self._taken += size
        if self._taken >= limits.STREAM_WINDOW // 2 and not self._ended:
            # The sink has taken so much: the provider may send as much more, which it is told now and then.
            self._window += self._taken
            self._connection.open_window(self.id, self._taken)
            self._taken = 0

    def _give(self, data: bytes) -> None:
        if self._decode is not None:
            data = self._decode(data)
        if self._accepted and self._sink is not None:
            self._sink.feed(data)
            return
        self._size += len(data)
        if self._size > self._max_reply_bytes:
            raise UndecodableReply(f"The provider's reply is larger than {self._max_reply_bytes} bytes.")
        self._body.append(data)

    def _finish(self) -> None:
        if self._accepted and self._sink is not None:
            self._contain(self._sink.end)
        self._over = self._error is None

    def _contain(self, act: Callable[..., None], *arguments: bytes) -> None:
        """A reply that cannot be taken costs this exchange only; its task resets the stream."""
        try:
            act(*arguments)
        except UndecodableReply as error:
            self._give_up(str(error))
        except Exception:
            _log.exception("sink_failed")
            self._give_up("The gateway could not process the provider's reply; its log says why.")

    def _give_up(self, message: str) -> None:
        self.fail(message)
        self._accepted = False
        self._held.clear()
