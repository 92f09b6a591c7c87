"""`/v1beta/models/{model}:{method}`: Gemini's API, whose paths say which model is asked, and for what."""

from typing import Final

from stream_gateway.server.exchange import Exchange
from stream_gateway.server.formats import ARRAY, BARE, SSE
from stream_gateway.server.generations import GenerationRoutes, respond_failure
from stream_gateway.server.keepalive import Keepalive
from stream_gateway.server.vendors import TOKENS, vendor_of
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.upstream.provider import ProviderFailed
from stream_gateway.upstream.routing.router import Router
from stream_protocols.dialects import gemini
from stream_protocols.dialects.gemini.request import patch_count, path
from stream_protocols.dialects.registry import DIALECTS
from stream_protocols.errors import BadRequest, NotFound
from stream_protocols.request import Request

_COUNT: Final = "countTokens"


class GeminiRoutes(GenerationRoutes):
    """Handlers for Gemini's paths.

    Its SDKs take no `id:` lines and no comments in server-sent events, so those are for clients that mean to come back:
    that ask for a lease, or are back already.
    """

    def __init__(self, registry: Registry, generations: Generations, router: Router, keepalive: Keepalive) -> None:
        super().__init__(DIALECTS[gemini.NAME], registry, generations, keepalive)
        self._router = router

    async def call(self, exchange: Exchange, model: str, method: str) -> None:
        """Do what the path asks of a model.

        Raises:
            NotFound: no model here has such a method.
        """
        match method:
            case "generateContent":
                await self.create(exchange, model, stream=False)
            case "streamGenerateContent":
                if "last-event-id" in exchange.headers and not _wants_events(exchange):
                    raise BadRequest("Only server-sent events can be resumed; add `?alt=sse`.", param="alt")
                await self.create(exchange, model, stream=True)
            case "countTokens":
                await self._count(exchange, model)
            case _:
                raise NotFound(f"Models have no method {method[:64]!r} here.")

    def _container(self, exchange: Exchange, request: Request) -> str:
        if not _wants_events(exchange):
            return ARRAY
        return BARE if request.lease is None and "stream-lease" not in exchange.headers else SSE

    async def _count(self, exchange: Exchange, model: str) -> None:
        """Count tokens: the provider's to do, nobody else can answer truly."""
        body = await exchange.read_body()
        provider, name = vendor_of(self._router, model, {gemini.NAME}, "Gemini's", TOKENS)
        try:
            answer = await provider.call(path(name, _COUNT), patch_count(body, model=name))
        except ProviderFailed as error:
            await respond_failure(exchange, self._dialect, error.failure)
            return
        await exchange.respond_json(200, answer.body)


def _wants_events(exchange: Exchange) -> bool:
    """Whether a stream is to be server-sent events; Google's services know the parameter by two names."""
    return "sse" in (exchange.query("alt"), exchange.query("$alt"))
