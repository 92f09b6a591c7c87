"""`/v1/responses`: OpenAI's responses as resources. Each is a stream, found by the id that its client was told."""

import math
from typing import Final

import trio

from stream_gateway.server.choice import chosen
from stream_gateway.server.delivery import Start, deliver, resume
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.formats import renderer_for, whole_log
from stream_gateway.server.generations import CONVERSATION, GenerationRoutes
from stream_gateway.streams.ending import end
from stream_gateway.streams.stream import Stream
from stream_protocols.dialects.openai_responses import NAME, OpenAIResponsesEncoder
from stream_protocols.dialects.openai_responses.output import response_id
from stream_protocols.errors import InvalidField, StreamInUse, UnknownStream
from stream_protocols.render import SequenceRenderer
from stream_protocols.request import Request

_PREFIX: Final = response_id("")
_SLICE: Final = 500  # records between two checkpoints


class ResponseRoutes(GenerationRoutes):
    """Handlers for `/v1/responses` and what is below it.

    Only what is or was streamed or made in the background is known here, for as long as its stream is kept; the ids of
    answers that were given whole are for their provider to know.
    """

    async def retrieve(self, exchange: Exchange, name: str) -> None:
        """`GET /v1/responses/{id}`: as it is now, or with `stream=true` its events, after those that were seen."""
        cursor = exchange.headers.get("last-event-id")
        stream = await self._find(name, exchange, cursor)
        if exchange.query("stream") not in ("true", "1"):
            await exchange.respond_json(200, await self._whole(stream), [("Stream-Id", stream.id)])
            return
        chunking = chosen(exchange, self._registry.chunkers)
        if cursor is not None:
            start = resume(stream, cursor, NAME)
            renderer = renderer_for(stream, NAME, after=start.after, offset=start.offset)
        else:
            start = Start()
            renderer = renderer_for(stream, NAME, skip=_frames_seen(exchange))
        await deliver(exchange, stream, renderer, start, self._keepalive, chunking)

    async def cancel(self, exchange: Exchange, name: str) -> None:
        """`POST /v1/responses/{id}/cancel`: end it at its provider; one that has ended is shown as it is."""
        stream = await self._find(name, exchange)
        await end(stream, "client")
        await exchange.respond_json(200, await self._whole(stream), [("Stream-Id", stream.id)])

    async def delete(self, exchange: Exchange, name: str) -> None:
        """`DELETE /v1/responses/{id}`: forget one that has ended."""
        stream = await self._find(name, exchange)
        if not self._registry.discard(stream):
            raise StreamInUse("The response has not ended, or is being read; cancel it first, or wait.")
        await exchange.respond_json(200, {"id": name, "object": "response", "deleted": True})

    async def _complete(self, exchange: Exchange, request: Request) -> None:
        if not request.background:
            await super()._complete(exchange, request)
            return
        conversation, echo = exchange.headers.get(CONVERSATION), self._dialect.echo(request)
        stream, produce = self._generations.create(
            request, exchange.principal, lease=request.lease, conversation=conversation, echo=echo
        )
        produce()
        stream.start_lease()
        await exchange.respond_json(200, await self._whole(stream), [("Stream-Id", stream.id)])

    async def _find(self, name: str, exchange: Exchange, after: str | None = None) -> Stream:
        """The stream whose id is in `name`, or whose provider calls its answer so."""
        try:
            return await self._registry.open(name.removeprefix(_PREFIX), exchange.principal, after)
        except UnknownStream:
            stream = await self._registry.open_alias(name, exchange.principal)
        if stream is None:
            message = f"There is no response {name[:64]!r} here: it was not streamed, or ended too long ago to be kept."
            raise UnknownStream(message)
        return stream

    async def _whole(self, stream: Stream) -> bytes:
        """The response as it is now."""
        encoder = OpenAIResponsesEncoder(stream.source, max_kept=math.inf)
        renderer = SequenceRenderer(stream.id, stream.log.epoch, encoder, stream.dialect)
        records = whole_log(stream)
        for start in range(0, len(records), _SLICE):
            renderer.recall(records[start : start + _SLICE], 0)
            await trio.lowlevel.checkpoint()
        return encoder.response()


def _frames_seen(exchange: Exchange) -> int:
    """How many frames a client has seen that wants those after number `starting_after`; they are numbered from 0."""
    text = exchange.query("starting_after")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        message = f"Parameter `starting_after` must be the number of an event, from 0, not {text[:64]!r}."
        raise InvalidField(message, param="starting_after")
    return int(text) + 1
