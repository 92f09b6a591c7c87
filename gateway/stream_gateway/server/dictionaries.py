"""The compression dictionary, for clients to fetch and keep (RFC 9842)."""

from typing import Final

from stream_gateway.server.exchange import Exchange
from stream_protocols.encodings import dictionary
from stream_protocols.errors import NotFound

ADDRESS: Final = f"/v1/dictionaries/{dictionary.NAME}"

_HEADERS: Final = [
    ("Content-Type", "application/octet-stream"),
    ("Cache-Control", "public, max-age=31536000, immutable"),
    ("Use-As-Dictionary", 'match="/v1/*"'),
]


async def current(exchange: Exchange) -> None:
    """`GET /v1/dictionaries/current`: where the dictionary of this version is."""
    await exchange.respond(307, [("Location", ADDRESS), ("Cache-Control", "no-cache")])


async def show(exchange: Exchange, name: str) -> None:
    """`GET /v1/dictionaries/{sha256}`: the dictionary, which never changes."""
    if name != dictionary.NAME:
        raise NotFound(
            f"There is no dictionary {name[:64]!r}; /v1/dictionaries/current leads to the one of this version."
        )
    await exchange.respond(200, _HEADERS, dictionary.CONTENT)
