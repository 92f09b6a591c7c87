"""`/v1/streams/{id}/tokens`: what an application gives to a page, so that it may watch one stream."""

from typing import Literal

import msgspec

from stream_gateway.guard.guard import Guard
from stream_gateway.guard.principal import Grant
from stream_gateway.server.exchange import Exchange
from stream_gateway.streams.registry import Registry
from stream_protocols.request import decode_fields


class _Wish(msgspec.Struct, frozen=True):
    scope: Literal["read", "read+cancel"] = "read"
    lifetime: float | None = None


class GrantRoutes:
    """Gives stream tokens to streams' owners."""

    def __init__(self, registry: Registry, guard: Guard) -> None:
        self._registry = registry
        self._guard = guard

    async def create(self, exchange: Exchange, name: str) -> None:
        """`POST /v1/streams/{id}/tokens`: a token for the stream; no body asks for the defaults."""
        body = await exchange.read_body()
        wish = decode_fields(body, _Wish) if body else _Wish()
        stream = self._registry.get(name, exchange.principal)
        token, expires = self._guard.grant(Grant(stream.id, cancel=wish.scope == "read+cancel"), wish.lifetime)
        await exchange.respond_json(201, {"token": token, "expires": expires}, [("Cache-Control", "no-store")])
