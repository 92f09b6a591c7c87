"""A compressed response: whole replies at once, streamed bodies piece by piece, each flushed, so that nothing waits.

When a codec fails, a response whose head has not left goes out uncompressed. One whose head has left is cut off, and
the client resumes after the last event that it could read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import trio

from stream_gateway.server.exchange import BodyOutlet, Exchange, HeaderList, never
from stream_gateway.server.sockets.wire import Serve
from stream_protocols.encodings import Codec, Compressor, Grant
from stream_protocols.errors import CodecError
from stream_protocols.framing import ContextFraming, Framing

if TYPE_CHECKING:
    from stream_gateway.server.compression import Compression

INLINE_BYTES: Final = 65_536
"""Whole replies up to this size are compressed on the spot, in a millisecond or two; larger ones in a thread."""

_TEXTUAL: Final = re.compile(r"text/|application/(?:\S+\+)?(?:json|x-ndjson)(?:\s*;|$)", re.IGNORECASE)
_NO_TRANSFORM: Final = re.compile(r"(?:^|[,\s])no-transform(?:[,\s]|$)", re.IGNORECASE)
_NO_BODY: Final = frozenset({204, 304})


class CompressedExchange(Exchange):
    """An exchange whose response may be compressed. Leaving its context frees the compressor.

    Args:
        codecs: what the client takes, best first.
        required: the client refuses a response without a content coding.
    """

    def __init__(
        self, exchange: Exchange, compression: Compression, codecs: Sequence[Codec], *, required: bool
    ) -> None:
        self.method = exchange.method
        self.path = exchange.path
        self.headers = exchange.headers
        self.peer = exchange.peer
        self.began = exchange.began
        self.common = exchange.common
        self.root = exchange.root
        self._exchange = exchange
        self._compression = compression
        self._codecs = codecs
        self._required = required
        self._body: CompressedBody | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._body is not None:
            self._compression.budget.give_back(self._body.grant)
            self._body.close()
            self._body = None

    @property
    def answered(self) -> bool:
        """Whether a response has begun."""
        return self._exchange.answered

    def query(self, name: str) -> str | None:
        """A parameter of the query string (see `Exchange`)."""
        return self._exchange.query(name)

    async def read_body(self) -> bytes:
        """The whole request body (see `Exchange`)."""
        return await self._exchange.read_body()

    async def upgrade(self, headers: HeaderList, serve: Serve) -> None:
        """Accept a WebSocket (see `Exchange`)."""
        await self._exchange.upgrade(headers, serve)

    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """Send a whole response (see `Exchange`), compressed if that is worth it."""
        if status not in _NO_BODY and self._may_encode(headers):
            headers = self._varying(headers)
            codec = self._codecs[0] if self._codecs else None
            if codec is not None and (self._required or len(body) >= self._compression.minimum_bytes):
                coded = await self._encode(codec, body)
                if coded is not None:
                    headers, body = encoded(headers, codec), coded
        await self._exchange.respond(status, headers, body)

    async def _encode(self, codec: Codec, body: bytes) -> bytes | None:
        """The body compressed; None where that fails, or makes it no smaller."""
        try:
            if len(body) <= INLINE_BYTES:
                coded = compress(codec, body)
            else:
                coded = await trio.to_thread.run_sync(compress, codec, body)
        except Exception as error:
            self._compression.withdraw(codec, error)
            return None
        return coded if len(coded) < len(body) or self._required else None

    def open(self, status: int, headers: HeaderList, *, unless: Callable[[], bool] = never) -> BodyOutlet:
        """Prepare a streamed response (see `Exchange`), compressed if there is memory for it."""
        if not self._may_encode(headers):
            return self._exchange.open(status, headers, unless=unless)
        headers = self._varying(headers)
        plain = partial(self._exchange.open, status, headers, unless=unless)
        if self.method == "HEAD":  # nothing to compress
            coded = encoded(headers, self._codecs[0]) if self._codecs else headers
            return self._exchange.open(status, coded, unless=unless)
        self._release()
        grant = self._compression.budget.take(self._codecs)
        if grant is None:
            return plain()
        inner = self._exchange.open(status, encoded(headers, grant.codec), unless=unless)
        self._body = CompressedBody(grant, inner, plain, self._failed)
        return self._body

    def _failed(self, error: Exception) -> None:
        """The codec of the streamed response has failed.

        Raises:
            CodecError: it is too late for another one.
        """
        assert self._body is not None
        codec = self._body.grant.codec
        self._compression.withdraw(codec, error)
        if self.answered:
            raise CodecError(f"The coding {codec.name} failed; the response is cut off, to be resumed.") from error

    def _may_encode(self, headers: HeaderList) -> bool:
        """Whether a response with these headers may have a content coding of ours (RFC 9110 §7.7, RFC 9111 §5.2)."""
        if _NO_TRANSFORM.search(self.headers.get("cache-control", "")):
            return False
        found = {name.lower(): value for name, value in headers}
        if "content-encoding" in found or _NO_TRANSFORM.search(found.get("cache-control", "")):
            return False
        return self._required or _TEXTUAL.match(found.get("content-type", "")) is not None

    def _varying(self, headers: HeaderList) -> HeaderList:
        return [*headers, ("Vary", self._compression.vary)]


class CompressedBody:
    """The body of a streamed response (see `BodyOutlet`), through a compressor.

    Args:
        inner: the transport's, with a head that names the coding.
        plain: makes another one without, to be used if the codec fails before that head has left.
        failed: told of a failure; raises if it is too late for `plain`.
    """

    def __init__(
        self,
        grant: Grant,
        inner: BodyOutlet,
        plain: Callable[[], BodyOutlet],
        failed: Callable[[Exception], None],
    ) -> None:
        self.grant = grant
        self._plain = plain
        self._failed = failed
        self._compressor: Compressor | None = None
        self._failure: Exception | None = None
        self._use(inner, _Compressing(self))

    def _use(self, inner: BodyOutlet, framing: Framing) -> None:
        self.framing = framing
        self.clear = inner.clear
        self.flush = inner.flush
        self.welcome = inner.welcome
        self.conditions = inner.conditions
        self.write_now: Callable[[bytes], bool] = self._write_first
        self._inner = inner

    def _write_first(self, data: bytes) -> bool:
        """Write the first piece, with which the inner one may change its way of writing."""
        done = self._inner.write_now(data)
        self.write_now = self._inner.write_now
        return done

    def feed(self, data: bytes) -> bytes:
        """A piece, compressed and framed."""
        try:
            coded = _checked(self._started().feed(data))
        except Exception as error:
            self._fall_back(error)
            return self.framing(data)
        return self._inner.framing(coded)

    def begin(self) -> None:
        """Send the head now, if it has not left."""
        self._inner.begin()

    async def finish(self) -> None:
        """End the body properly: with what ends the coding, then with what ends the transport's body."""
        trailer = b""
        if isinstance(self.framing, _Compressing):
            try:
                trailer = _checked(self._started().finish(), last=True)
            except Exception as error:
                self._fall_back(error)
        self.begin()
        if trailer:
            await self.flush()
            self.write_now(self._inner.framing(trailer))
        await self._inner.finish()

    def close(self) -> None:
        """Let go of the compressor; nothing is written any more."""
        self._compressor = None
        self.framing = self._inner.framing

    def _started(self) -> Compressor:
        """The compressor, made when it is needed: until a model's first word that may be long."""
        if self._failure is not None:
            raise self._failure
        if self._compressor is None:
            self._compressor = self.grant.codec.compressor(self.grant.grade)
        return self._compressor

    def _fall_back(self, error: Exception) -> None:
        """Go on without compression, if nothing has been sent yet."""
        self._compressor, self._failure = None, error
        self._failed(error)
        inner = self._plain()
        self._use(inner, inner.framing)


class _Compressing(ContextFraming):
    """The framing of a compressed body."""

    __slots__ = ("_body",)

    def __init__(self, body: CompressedBody) -> None:
        self._body = body

    def __call__(self, data: bytes) -> bytes:
        return self._body.feed(data)


def _checked(coded: bytes, *, last: bool = False) -> bytes:
    """What a compressor has returned. For a piece, nothing would mean that it holds the piece back."""
    if not isinstance(coded, bytes) or not (coded or last):
        found = f"a {type(coded).__name__}" if coded else "nothing"
        raise TypeError(f"a compressor must return bytes for each piece; it returned {found}")
    return coded


def compress(codec: Codec, body: bytes) -> bytes:
    """A whole body."""
    compressor = codec.compressor(0)
    return (_checked(compressor.feed(body)) if body else b"") + compressor.finish()


def encoded(headers: HeaderList, codec: Codec) -> HeaderList:
    """A response's headers, with its coding. A strong validator becomes weak: the bytes differ (RFC 9110 §8.8.1)."""
    weak = [
        (name, f"W/{value}") if name.lower() == "etag" and not value.startswith("W/") else (name, value)
        for name, value in headers
    ]
    return [*weak, ("Content-Encoding", codec.name)]
