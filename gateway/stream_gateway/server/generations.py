"""A vendor's endpoint for generations, as its clients expect it: streamed or whole, with errors in its shape."""

import secrets
import time
from typing import Any, Final

import msgspec

from stream_gateway.server.choice import chosen
from stream_gateway.server.delivery import deliver, deliver_new, resume
from stream_gateway.server.exchange import Exchange, HeaderList
from stream_gateway.server.formats import SSE, renderer_for
from stream_gateway.server.keepalive import Keepalive
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.provider import ProviderFailed, Reply
from stream_protocols.chunking.registry import MakeChunker
from stream_protocols.cursor import parse_cursor
from stream_protocols.dialects import Dialect, Source
from stream_protocols.errors import InvalidField
from stream_protocols.events import StreamCancelled, StreamFailed
from stream_protocols.request import Lease, Request, check_lease, take_chunking

CONVERSATION: Final = "conversation-id"
"""The header that names a conversation, for clients that cannot add a field to the body."""

PLAIN_LEASE: Final = 0.0
"""A client that did not ask for more cannot come back: when it leaves, nobody reads, and nobody shall pay."""


class GenerationRoutes:
    """Handlers for the paths of one dialect."""

    def __init__(self, dialect: Dialect, registry: Registry, generations: Generations, keepalive: Keepalive) -> None:
        self._dialect = dialect
        self._registry = registry
        self._generations = generations
        self._keepalive = keepalive

    async def create(self, exchange: Exchange, model: str | None = None, stream: bool | None = None) -> None:
        """Generate; with `Last-Event-ID`, the rest of an earlier stream instead of a new one.

        Args:
            model, stream: where the vendor has them in its paths.
        """
        body, field = take_chunking(await exchange.read_body())
        request = self._dialect.parse_request(body, model=model, stream=stream)
        chunking = chosen(exchange, self._registry.chunkers, field)
        request = with_headers(request, exchange, self._dialect)
        cursor = exchange.headers.get("last-event-id")
        if cursor is not None:
            await self._resume(exchange, request, cursor, chunking)
            return
        if request.stream:
            await self._stream(exchange, request, chunking)
        else:
            await self._complete(exchange, request)

    async def _resume(self, exchange: Exchange, request: Request, cursor: str, chunking: MakeChunker | None) -> None:
        stream = await self._registry.open(parse_cursor(cursor).stream, exchange.principal, cursor)
        start = resume(stream, cursor, self._dialect.name)
        renderer = renderer_for(stream, self._dialect.name, request=request, after=start.after, offset=start.offset)
        await deliver(exchange, stream, renderer, start, self._keepalive, chunking)

    async def _stream(self, exchange: Exchange, request: Request, chunking: MakeChunker | None) -> None:
        lease = request.lease if request.lease is not None else _lease_header(exchange)
        stream, produce = self._generations.create(
            request,
            exchange.principal,
            lease=lease,
            conversation=exchange.headers.get(CONVERSATION),
            echo=self._dialect.echo(request),
        )
        stream.chunking = chunking or stream.chunking
        produce()
        with stream.held():
            renderer = renderer_for(stream, self._dialect.name, self._container(exchange, request), request=request)
            if not await deliver_new(exchange, stream, renderer, self._keepalive):
                await respond_failure(exchange, self._dialect, stream.terminal, stream)

    def _container(self, exchange: Exchange, request: Request) -> str:
        """What the frames of a new stream are put in (see `renderer_for`)."""
        return SSE

    async def _complete(self, exchange: Exchange, request: Request) -> None:
        try:
            conversation = exchange.headers.get(CONVERSATION)
            reply = await self._generations.complete(request, exchange.principal, conversation=conversation)
        except ProviderFailed as error:
            await respond_failure(exchange, self._dialect, error.failure)
            return
        await exchange.respond_json(200, self._body(reply, request))

    def _body(self, reply: Reply, request: Request) -> bytes:
        if reply.body is not None:
            return reply.body
        echo = self._dialect.echo(request)
        source = Source(secrets.token_urlsafe(12), request.model, int(time.time()), echo)
        return self._dialect.encode_reply(source, reply.events)


async def respond_failure(exchange: Exchange, dialect: Dialect, failure: Any, stream: Stream | None = None) -> None:
    """Answer with the HTTP status of a generation that failed before it began."""
    headers: HeaderList = [] if stream is None else [("Stream-Id", stream.id)]
    status = 499
    if isinstance(failure, StreamFailed):
        status = failure.status
        if failure.retry_after is not None:
            headers.append(("Retry-After", failure.retry_after))
    elif isinstance(failure, StreamCancelled):
        status = 409 if failure.reason == "client" else 503
    await exchange.respond_json(status, dialect.encode_error(failure), headers)


def with_headers(request: Request, exchange: Exchange, dialect: Dialect) -> Request:
    """A request with those of the client's headers that a provider of its dialect should see."""
    shown = tuple((name, exchange.headers[name]) for name in dialect.forwarded if name in exchange.headers)
    return msgspec.structs.replace(request, headers=shown) if shown else request


def _lease_header(exchange: Exchange) -> Lease:
    """The `Stream-Lease` header: seconds or "finish"; for clients that cannot add a field to the body."""
    text = exchange.headers.get("stream-lease")
    if text is None:
        return PLAIN_LEASE
    if text == "finish":
        return "finish"
    try:
        return check_lease(float(text))
    except ValueError:
        message = f'Header `Stream-Lease` must be "finish" or a number of seconds, not {text[:64]!r}.'
        raise InvalidField(message, param="Stream-Lease") from None
