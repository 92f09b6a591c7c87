"""Browsers: which pages may call the gateway, and what they may see."""

from __future__ import annotations

import pytest

from tests.doubles.gateway_client import CHAT, STREAMS, chat_body, refused
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway

LOCAL = ["http://localhost:5173", "http://localhost", "http://127.0.0.1:3000", "http://[::1]:8080"]
FOREIGN = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://localhost:5173.evil.example",
    "http://evil.example:8080",
    "http://notlocalhost:5173",
    "null",
    "file://",
]
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, authorization, last-event-id, stream-lease",
}


def names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")}


@pytest.mark.parametrize("origin", LOCAL)
@pytest.mark.parametrize("path", [CHAT, STREAMS, f"{STREAMS}/x/events", "/v1/models"])
async def test_preflight(gateway: ServedGateway, origin: str, path: str) -> None:
    response = await gateway.request("OPTIONS", path, headers={"Origin": origin, **PREFLIGHT})
    assert response.status in (200, 204)
    assert response.head["access-control-allow-origin"] == origin
    assert names(PREFLIGHT["Access-Control-Request-Headers"]) <= names(response.head["access-control-allow-headers"])
    allowed = names(response.head["access-control-allow-methods"])
    assert ("post" if path in (CHAT, STREAMS) else "get") in allowed
    assert "origin" in names(response.head["vary"])


@pytest.mark.parametrize("origin", LOCAL)
async def test_local_pages_may_call(gateway: ServedGateway, origin: str) -> None:
    for response in (
        await gateway.chat("demo-n3-gap0", headers={"Origin": origin}),
        await gateway.get("/v1/models", Origin=origin),
        await gateway.get("/nowhere", Origin=origin),
    ):
        assert response.head["access-control-allow-origin"] == origin
        assert {"stream-id", "stream-keepalive"} <= set(names(response.head["access-control-expose-headers"]))
        assert "origin" in names(response.head["vary"])


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_pages_may_not(upstream: OpenAIServer, gateway: ServedGateway, origin: str) -> None:
    """Refused before anything happens: hiding the answer would still leave the provider's bill."""
    for response in (
        await gateway.request("OPTIONS", CHAT, headers={"Origin": origin, **PREFLIGHT}),
        await gateway.chat("mock", headers={"Origin": origin}),
        await gateway.get("/v1/models", Origin=origin),
    ):
        error = await refused(response, 403)
        assert error["code"] == "origin_not_allowed"
        assert response.head.get("access-control-allow-origin") is None
    assert upstream.exchanges == []


async def test_configured_origins(serve: Serve) -> None:
    gateway = await serve(cors={"origins": ["https://app.example"]})
    assert (await gateway.get("/v1/models", Origin="https://app.example")).status == 200
    await refused(await gateway.get("/v1/models", Origin="http://localhost:5173"), 403)
    await refused(await gateway.get("/v1/models", Origin="https://app.example.evil"), 403)


async def test_without_an_origin_there_is_no_cors(gateway: ServedGateway) -> None:
    response = await gateway.get("/v1/models")
    assert response.status == 200
    assert response.head.get("access-control-allow-origin") is None


async def test_options_of_a_program(gateway: ServedGateway) -> None:
    """Not a preflight: a client that asks what it may do."""
    response = await gateway.request("OPTIONS", CHAT)
    assert response.status in (200, 204)
    assert {"post", "options"} <= names(response.head["allow"])


async def test_errors_of_a_page_are_readable(gateway: ServedGateway) -> None:
    """A page cannot see a status or a body without the header."""
    origin = LOCAL[0]
    response = await gateway.request("POST", CHAT, payload=b"{", headers={"Origin": origin})
    assert response.status == 400
    assert response.head["access-control-allow-origin"] == origin
    response = await gateway.request(
        "POST", CHAT, payload=chat_body("demo-n3-gap0", stream=False), headers={"Origin": origin}
    )
    assert response.head["access-control-allow-origin"] == origin
