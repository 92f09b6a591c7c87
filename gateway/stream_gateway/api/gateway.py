"""The gateway as an object of an application: no server, no port."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from stream_gateway.api.chunk import MODES, ChunkRenderer, Deliver
from stream_gateway.api.errors import RequestRefused, WrongOption
from stream_gateway.api.home import Home
from stream_gateway.api.homes import Homes, loop_key
from stream_gateway.api.line import Line, Open
from stream_gateway.api.making import makes
from stream_gateway.api.reader import Reader
from stream_gateway.api.stream import ChunkStream
from stream_gateway.api.vendors import configuration
from stream_gateway.config import Config, ConfigError
from stream_gateway.gateway import Gateway
from stream_gateway.server.delivery import resume
from stream_gateway.streams.chunkers import load_chunkers
from stream_gateway.streams.stream import Stream
from stream_protocols.chunking.registry import MAX_BYTES, MakeChunker
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.encodings import Codec, Tuning, load_codec
from stream_protocols.errors import CodecError, InvalidField, StreamProtocolError
from stream_protocols.request import Lease, Request, check_lease, take_chunking

_NO_CODING: Final = ("", "none", "identity")
_CODINGS: Final = {"brotli": "br"}


class StreamingGateway:
    """Streams of one provider, or of a configuration's routes, in this process; on Trio or asyncio.

    It is made without I/O, and may be shared by all tasks. As an async context manager it keeps connections to
    providers between streams, and streams for `attach`. Without that it runs while a stream is being read, no longer.

    Args:
        provider: who is asked: `openai`, `anthropic`, `gemini`, `deepseek`, `groq`, `mistral`, `openrouter`, `ollama`
            or `demo`; keys and addresses come from the environment, as for the vendors' own SDKs (docs/embedding.md).
            With `config`: a provider of that, which takes every model without a route.
        config: a `Config`, or the path of a TOML file.
        stream_mode: how chunks look to a client: `sse` (OpenAI's `chat.completion.chunk`), `ndjson` or `websocket`
            (our own events).
        chunk_size: bytes of text that a chunk has: smaller deltas are merged, for at most 200 ms, and larger ones
            divided. Or the name of another strategy (docs/chunking.md). None: the route's or the configuration's, else
            `adaptive`: each event at once for who keeps up.
        compression: of `ChunkStream.bytes()`: `brotli`, `gzip`, `zstd`, `deflate` or a coding of your own; None: none.

    Attributes:
        homes: where it runs, for each event loop.

    Raises:
        WrongOption: one of these cannot be used; the message says why.
    """

    def __init__(
        self,
        provider: str | None = None,
        *,
        config: Config | str | os.PathLike[str] | None = None,
        stream_mode: str = "sse",
        chunk_size: int | str | None = None,
        compression: str | None = None,
    ) -> None:
        if stream_mode not in MODES:
            raise WrongOption(f"stream_mode must be one of {', '.join(MODES)}, not {stream_mode!r}.")
        self._mode = MODES[stream_mode]
        self._config = configuration(provider, config)
        self._chunking = _chunking(self._config, chunk_size)
        self._codec = _codec(self._config, compression)
        if self._codec is not None and not self._mode.media_type:
            raise WrongOption(
                "A WebSocket compresses its messages itself; leave compression out with stream_mode='websocket'."
            )
        self.homes = Homes(makes(self._config))
        self._open: list[Home] = []

    # ---- streams

    def stream(
        self, *, model: str, messages: Iterable[Mapping[str, Any]], lease: Lease = 0, **fields: Any
    ) -> ChunkStream:
        """Generate. Returns at once; the provider is asked when the first chunk is.

        Args:
            model, messages, fields: as in OpenAI's chat completions, for any provider; `chunking` is ours, and comes
                before `chunk_size`.
            lease: how long the generation goes on after the stream was left: 0, seconds, or "finish".

        Raises:
            RequestRefused: that is no request.
        """
        if "stream" in fields:
            raise WrongOption("stream() always streams; leave the field `stream` out.")
        asked = {"model": model, "messages": list(messages), **fields, "stream": True}
        try:
            body, chunking = take_chunking(_encode(asked))
            request = parse_request(body, native=not self._mode.marks_end)
            check_lease(lease)
        except StreamProtocolError as error:
            raise RequestRefused(error) from None
        if lease != 0:
            self._check_stays("A lease")

        def open_new(core: Gateway, deliver: Deliver) -> Reader:
            make = self._chunking if chunking is None else core.registry.chunkers.named(chunking)
            stream, produce = core.generations.create(request, core.guard.local, lease=lease)
            stream.chunking = make or stream.chunking
            produce()
            return self._reader(stream, deliver, request=request)

        return self._stream(open_new)

    def attach(self, stream: str, *, after: str | None = None) -> ChunkStream:
        """Read a stream that this gateway has, from its beginning or from after a cursor; see `lease`.

        That a stream is not known, or a cursor is of no use any more, shows in reading it: `RequestRefused`.
        """
        self._check_stays("Attaching to a stream")

        def open_known(core: Gateway, deliver: Deliver) -> Reader:
            known = core.registry.get(stream, core.guard.local)
            start = resume(known, after, MODES["sse"].dialect)
            return self._reader(known, deliver, after=start.after, offset=start.offset)

        return self._stream(open_known)

    def _stream(self, open_reader: Open) -> ChunkStream:
        def opening(core: Gateway, deliver: Deliver) -> Reader:
            try:
                return open_reader(core, deliver)
            except StreamProtocolError as error:
                raise RequestRefused(error) from None

        return ChunkStream(Line(self.homes, opening), self._mode, self._codec)

    def _reader(
        self, stream: Stream, deliver: Deliver, *, request: Request | None = None, after: int = 0, offset: int = 0
    ) -> Reader:
        renderer = ChunkRenderer(stream, self._mode, request)
        return Reader(stream, renderer, deliver, after=after, offset=offset, chunker=stream.chunking())

    def _check_stays(self, what: str) -> None:
        if not self._open:
            raise WrongOption(f"{what} needs a gateway that stays: use `async with StreamingGateway(…) as gateway`.")

    # ---- staying

    async def __aenter__(self) -> Self:
        """Run until the block is left.

        Raises:
            WrongOption: it cannot run.
        """
        home = self.homes.here()
        home.enter()
        try:
            await home.running()
        except BaseException:
            home.release()
            raise
        self._open.append(home)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cancel what runs, close all connections, and wait for that."""
        key = loop_key()
        home = next(home for home in reversed(self._open) if home.key == key)
        self._open.remove(home)
        if home in self._open:  # entered twice
            home.release()
        else:
            home.stop()
            await home.stopped()


def _encode(request: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(request)
    except (TypeError, ValueError) as error:
        raise InvalidField(f"The request cannot be written as JSON: {error}.") from None


def _chunking(config: Config, size: int | str | None) -> MakeChunker | None:
    if size is None:
        return None
    if (
        isinstance(size, bool)
        or not isinstance(size, int | str)
        or (isinstance(size, int) and not 0 < size <= MAX_BYTES)
    ):
        raise WrongOption(
            f"chunk_size must be a number of bytes from 1 to {MAX_BYTES}, or a strategy's name, not {size!r}."
        )
    try:
        return load_chunkers(config).named(f"bytes:{size}" if isinstance(size, int) else size, "chunk_size")
    except InvalidField as error:
        raise WrongOption(error.message) from None
    except ConfigError as error:
        raise WrongOption(str(error)) from None


def _codec(config: Config, name: str | None) -> Codec | None:
    if name is None or name in _NO_CODING:
        return None
    settings = config.compression
    tuning = Tuning(window_bits=settings.window_bits, gzip_level=settings.gzip_level, br_level=settings.br_level)
    try:
        codec = load_codec(_CODINGS.get(name, name), tuning)
    except CodecError as error:
        raise WrongOption(f"compression cannot be {name!r}: {error.message}.") from None
    if codec.dictionary:
        raise WrongOption(f"compression cannot be {name!r}: its clients need a dictionary, which only a server gives.")
    return codec
