"""`GET /v1/models`: what can be asked for."""

from stream_gateway.server.exchange import Exchange
from stream_gateway.streams.generations import Generations


class ModelRoutes:
    """Lists the public model names, in OpenAI's shape."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def list(self, exchange: Exchange) -> None:
        """`GET /v1/models`."""
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "stream-gateway"}
            for name in self._generations.models()
        ]
        await exchange.respond_json(200, {"object": "list", "data": models})
