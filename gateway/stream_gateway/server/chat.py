"""`/v1/chat/completions` and `/v1/models`, as OpenAI's clients expect them."""

import secrets
import time
from typing import Any, Final

from stream_gateway.server.delivery import deliver, deliver_new, resume
from stream_gateway.server.exchange import Exchange, HeaderList
from stream_gateway.server.formats import renderer_for
from stream_gateway.server.keepalive import Keepalive
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.provider import ProviderFailed, Reply
from stream_protocols.cursor import parse_cursor
from stream_protocols.dialects import Source, openai_chat
from stream_protocols.dialects.openai_chat import ChatRequest, parse_request
from stream_protocols.dialects.openai_chat.encoder import error_json
from stream_protocols.dialects.openai_chat.request import Lease, check_lease
from stream_protocols.errors import InvalidField
from stream_protocols.events import StreamCancelled, StreamFailed

CONVERSATION: Final = "conversation-id"
"""The header that names a conversation, for clients that cannot add a field to the body."""

PLAIN_LEASE: Final = 0.0
"""A client that did not ask for more cannot come back: when it leaves, nobody reads, and nobody shall pay."""


class ChatRoutes:
    """Handlers for OpenAI's paths."""

    def __init__(self, registry: Registry, generations: Generations, keepalive: Keepalive) -> None:
        self._registry = registry
        self._generations = generations
        self._keepalive = keepalive

    async def completions(self, exchange: Exchange) -> None:
        """`POST /v1/chat/completions`; with `Last-Event-ID`, the rest of an earlier stream instead of a new one."""
        request = parse_request(await exchange.read_body())
        cursor = exchange.headers.get("last-event-id")
        if cursor is not None:
            await self._resume(exchange, request, cursor)
            return
        if request.stream:
            await self._stream(exchange, request)
        else:
            await self._complete(exchange, request)

    async def models(self, exchange: Exchange) -> None:
        """`GET /v1/models`."""
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "stream-gateway"}
            for name in self._generations.models()
        ]
        await exchange.respond_json(200, {"object": "list", "data": models})

    async def _resume(self, exchange: Exchange, request: ChatRequest, cursor: str) -> None:
        stream = self._registry.get(parse_cursor(cursor).stream)
        start = resume(stream, cursor, openai_chat.NAME)
        renderer = renderer_for(stream, openai_chat.NAME, include_usage=request.include_usage)
        await deliver(exchange, stream, renderer, start, self._keepalive)

    async def _stream(self, exchange: Exchange, request: ChatRequest) -> None:
        lease = request.lease if request.lease is not None else _lease_header(exchange)
        conversation = exchange.headers.get(CONVERSATION)
        stream, produce = self._generations.create(request, lease=lease, conversation=conversation)
        renderer = renderer_for(stream, openai_chat.NAME, include_usage=request.include_usage)
        if not await deliver_new(exchange, stream, renderer, self._keepalive, produce):
            await respond_failure(exchange, stream.terminal, stream)

    async def _complete(self, exchange: Exchange, request: ChatRequest) -> None:
        try:
            reply = await self._generations.complete(request, conversation=exchange.headers.get(CONVERSATION))
        except ProviderFailed as error:
            await respond_failure(exchange, error.failure)
            return
        await exchange.respond_json(200, _reply_body(reply, request))


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


def _reply_body(reply: Reply, request: ChatRequest) -> bytes:
    if reply.body is not None:
        return reply.body
    source = Source(secrets.token_urlsafe(12), request.model, int(time.time()))
    return openai_chat.encode_reply(source, reply.events)


async def respond_failure(exchange: Exchange, failure: Any, stream: Stream | None = None) -> None:
    """Answer with the HTTP status of a generation that failed before it began."""
    headers: HeaderList = [] if stream is None else [("Stream-Id", stream.id)]
    status = 499
    if isinstance(failure, StreamFailed):
        status = failure.status
        if failure.retry_after is not None:
            headers.append(("Retry-After", failure.retry_after))
    elif isinstance(failure, StreamCancelled):
        status = 409 if failure.reason == "client" else 503
    await exchange.respond_json(status, {"error": error_json(failure)}, headers)
