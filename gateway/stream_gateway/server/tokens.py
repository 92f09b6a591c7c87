"""`POST /v1/messages/count_tokens`: what a request would cost, as the provider itself counts."""

from stream_gateway.server.exchange import Exchange
from stream_gateway.server.generations import respond_failure, with_headers
from stream_gateway.server.vendors import TOKENS, vendor_of
from stream_gateway.upstream.provider import ProviderFailed
from stream_gateway.upstream.routing.router import Router
from stream_protocols.dialects import anthropic
from stream_protocols.dialects.anthropic.dialect import COUNT_PATH
from stream_protocols.dialects.anthropic.request import parse_count
from stream_protocols.dialects.registry import DIALECTS


class TokenRoutes:
    """Hands the question to the provider of the model's route; nobody else can answer it truly."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._dialect = DIALECTS[anthropic.NAME]

    async def count(self, exchange: Exchange) -> None:
        """Count the tokens of a request."""
        request = with_headers(parse_count(await exchange.read_body()), exchange, self._dialect)
        provider, name = vendor_of(self._router, request.model, {anthropic.NAME}, "Anthropic's", TOKENS)
        body = self._dialect.patch(request, model=name, stream=False)
        try:
            answer = await provider.call(COUNT_PATH, body, request.headers)
        except ProviderFailed as error:
            await respond_failure(exchange, self._dialect, error.failure)
            return
        await exchange.respond_json(200, answer.body)
