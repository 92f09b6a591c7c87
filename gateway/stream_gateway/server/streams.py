"""`/v1/streams`: streams as resources, created here or by any other endpoint."""

from typing import Any

import msgspec
import trio

from stream_gateway.server import polling
from stream_gateway.server.choice import chosen
from stream_gateway.server.delivery import deliver, resume
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.formats import NDJSON, SSE, check_dialect, renderer_for
from stream_gateway.server.generations import CONVERSATION
from stream_gateway.server.keepalive import Keepalive
from stream_gateway.streams.ending import end
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.stream import Stream
from stream_gateway.streams.vitals import health_of
from stream_protocols.commands import check_key
from stream_protocols.cursor import format_cursor
from stream_protocols.dialects import native
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.errors import InvalidField, NotAcceptable, StreamProtocolError
from stream_protocols.negotiate import choose_media_type
from stream_protocols.request import fingerprint, take_chunking


class StreamRoutes:
    """Handlers for `/v1/streams` and what is below it."""

    def __init__(self, registry: Registry, generations: Generations, keepalive: Keepalive) -> None:
        self._registry = registry
        self._generations = generations
        self._keepalive = keepalive

    async def create(self, exchange: Exchange) -> None:
        """`POST /v1/streams`: start a generation that nobody has to watch yet; its lease runs from now.

        With an `Idempotency-Key` that has been used, and the same request, the stream that it has started.
        """
        body, field = take_chunking(await exchange.read_body())
        request = parse_request(body, native=True)
        chunking = chosen(exchange, self._registry.chunkers, field)
        key = check_key(exchange.headers.get("idempotency-key"), param="Idempotency-Key")
        asked = b"" if key is None else fingerprint(request.body)
        stream, name = (None, None) if key is None else await self._registry.claim(key, asked, exchange.principal)
        status = 200
        if stream is None:
            status = 201
            conversation = exchange.headers.get(CONVERSATION)
            try:
                stream, produce = self._generations.create(
                    request,
                    exchange.principal,
                    lease=request.lease,
                    key=key,
                    asked=asked,
                    conversation=conversation,
                    name=name,
                )
            except StreamProtocolError:
                if key is not None and name is not None:
                    self._registry.release(key, name, asked, exchange.principal)
                raise
            stream.chunking = chunking or stream.chunking
            produce()
            stream.start_lease()
            await self._registry.announced(stream)
        first = format_cursor(stream.id, stream.log.epoch, 0)
        places = links(stream, exchange.root)
        created = {"id": stream.id, "cursor": first, "status": stream.state, "links": places}
        await exchange.respond_json(status, created, [("Location", places["self"]), ("Stream-Id", stream.id)])

    async def show(self, exchange: Exchange, name: str) -> None:
        """`GET /v1/streams/{id}`."""
        await exchange.respond_json(200, status(await self._registry.open(name, exchange.principal), exchange.root))

    async def cancel(self, exchange: Exchange, name: str) -> None:
        """`DELETE /v1/streams/{id}`: end the generation at its provider; what was said stays readable."""
        stream = await self._registry.open(name, exchange.principal, cancel=True)
        await end(stream, "client")
        await exchange.respond_json(200, status(stream, exchange.root))

    async def events(self, exchange: Exchange, name: str) -> None:
        """`GET /v1/streams/{id}/events`: the stream from the client's cursor, or from its beginning."""
        dialect = check_dialect(exchange.query("dialect") or native.NAME)
        # A browser that reconnects repeats the URL it was given: what it has seen since is in the header.
        cursor = exchange.headers.get("last-event-id") or exchange.query("after")
        stream = await self._registry.open(name, exchange.principal, cursor)
        wait = exchange.query("wait")
        if wait is not None:
            if dialect != native.NAME:
                raise InvalidField("Long polls (`wait`) are answered in the native dialect only.", param="dialect")
            seconds = polling.wait_of(wait)
            await polling.answer(exchange, stream, resume(stream, cursor, dialect, polls=True), seconds)
            return
        offers = [SSE, NDJSON] if dialect == native.NAME else [SSE]
        chunking = chosen(exchange, self._registry.chunkers)
        container = choose_media_type(exchange.headers.get("accept"), offers)
        if container is None:
            raise NotAcceptable(f"Dialect {dialect} is served as {' or '.join(offers)}; ask for that in Accept.")
        start = resume(stream, cursor, dialect)
        renderer = renderer_for(stream, dialect, container, after=start.after, offset=start.offset)
        await deliver(exchange, stream, renderer, start, self._keepalive, chunking)


def links(stream: Stream, root: str = "") -> dict[str, str]:
    """Where a stream's resources are; `root` as in `Exchange`."""
    return {"self": f"{root}/v1/streams/{stream.id}", "events": f"{root}/v1/streams/{stream.id}/events"}


def status(stream: Stream, root: str = "") -> dict[str, Any]:
    """A stream as its resource shows it: state and health."""
    log = stream.log
    return {
        "id": stream.id,
        "status": stream.state,
        "model": stream.source.model,
        "created": stream.source.created,
        "cursor": stream.cursor(),
        "events": log.head,
        "oldest": log.oldest,
        "bytes": log.size,
        "stored": None if stream.journal is None else stream.journal.stored,
        "subscribers": stream.subscribers,
        "paused": stream.paused,
        "health": health_of(stream, trio.current_time()),
        "lease": stream.lease,
        "attempts": [msgspec.to_builtins(attempt) for attempt in stream.attempts],
        "end": None if stream.terminal is None else msgspec.to_builtins(stream.terminal),
        "links": links(stream, root),
    }
