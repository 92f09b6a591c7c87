"""`POST /v1/messages/count_tokens`: what a request would cost, as the provider itself counts."""

from stream_gateway.server.exchange import Exchange
from stream_gateway.server.generations import respond_failure, with_headers
from stream_gateway.upstream.provider import ProviderFailed
from stream_gateway.upstream.routing.router import Router
from stream_gateway.upstream.vendor import VendorProvider
from stream_protocols.conversation import Untranslatable
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
        targets = self._router.find(request.model).targets
        target = next((each for each in targets if each.provider.dialect == anthropic.NAME), None)
        if target is None or not isinstance(provider := target.provider, VendorProvider):
            raise Untranslatable(
                f"Model {request.model[:128]!r} is not served in Anthropic's dialect here, and only there tokens can "
                "be counted; count them with the vendor's own tool.",
                param="model",
            )
        body = self._dialect.patch(request, model=target.model(request.model), stream=False)
        try:
            answer = await provider.call(COUNT_PATH, body, request.headers)
        except ProviderFailed as error:
            await respond_failure(exchange, self._dialect, error.failure)
            return
        await exchange.respond_json(200, answer.body)
