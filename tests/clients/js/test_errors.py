"""What coming back cannot mend is one clear exception at once, in JavaScript as in Python."""

from __future__ import annotations

import base64
import re
import socket
from typing import Any

import pytest
import trio

from tests.clients.js.conftest import QUICK
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.js import npm
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.web_server import WebServer, answer, error

pytestmark = pytest.mark.deadline(60)

PAGE = answer("404 Not Found", b"<html>nothing here</html>", content_type="text/html")
WELCOME = answer("200 OK", b"<html>welcome</html>", content_type="text/html")
ELSEWHERE = answer("301 Moved Permanently", b"", location="https://elsewhere.example/")
DENIED = error("401 Unauthorized", "unauthorized", "The token is not valid.")
GONE = error("410 Gone", "cursor_expired", "12 events after this cursor are no longer kept.")
CREATE = {"model": "demo", "messages": MESSAGES}
HTTP = ("sse", "ndjson", "poll")


async def failure(url: str, asked: dict[str, Any] | None = None, **plan: Any) -> tuple[str, str]:
    """The name and the message of the error that a stream ends with."""
    seen = await npm.read({"url": url, "settings": QUICK, "streams": [asked or CREATE], **plan})
    name, message, _ = seen["streams"][0]["error"]
    return name, message


@pytest.mark.parametrize("transports", [["websocket", "sse", "poll"], ["websocket"], ["poll"]])
async def test_nobody_is_there(transports: list[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        name, message = await failure(url, transports=transports)
    assert name == "Unreachable"
    assert re.search(rf"{url}/ cannot be reached \(tried \d+ times\).*Is the address right", message), message


@pytest.mark.parametrize(
    ("said", "expected", "words"),
    [
        (PAGE, "NotAGateway", "not as a Stream Gateway does; check the address"),
        (WELCOME, "NotAGateway", "Stream Gateway"),
        (ELSEWHERE, "WrongUrl", "leads to https://elsewhere.example/"),
        (DENIED, "Unauthorized", "The token is not valid."),
        (GONE, "CursorExpired", "12 events after this cursor"),
    ],
)
@pytest.mark.parametrize("transport", HTTP)
async def test_refused_by_http(nursery: trio.Nursery, transport: str, said: bytes, expected: str, words: str) -> None:
    server = WebServer(said)
    await nursery.start(server.run)
    name, message = await failure(server.url, {"id": "s", "after": "s.e.3"}, transports=[transport])
    assert (name, words in message) == (expected, True), message
    assert len(server.requests) == 1


async def test_a_wrong_token_is_known_from_a_websocket_too(nursery: trio.Nursery) -> None:
    """A browser is not told why a handshake failed; the same address is asked by HTTP."""
    server = WebServer(DENIED)
    await nursery.start(server.run)
    name, message = await failure(server.url, transports=["websocket"], token="wrong+/é")
    assert (name, "The token is not valid." in message) == ("Unauthorized", True), message
    shake, ask = server.headers
    text = base64.urlsafe_b64encode("wrong+/é".encode("latin-1")).decode().rstrip("=")
    assert shake["sec-websocket-protocol"] == f"stream-gateway.v1+json,stream-gateway.token.{text}"
    assert ask["authorization"].startswith("Bearer wrong+/")


async def test_the_gateways_own_refusals(gateway: ServedGateway) -> None:
    for transport in ("websocket", *HTTP):
        name, message = await failure(gateway.base_url, {"model": "demo", "messages": []}, transports=[transport])
        assert (name, "messages" in message) == ("Refused", True), message
        name, message = await failure(gateway.base_url, {"id": "nonesuch"}, transports=[transport])
        assert (name, "nonesuch" in message) == ("StreamNotFound", True), message
        name, message = await failure(
            gateway.base_url, {"id": "nonesuch", "after": "nonesuch.e.3"}, transports=[transport]
        )
        assert (name, "nonesuch.e.3" in message) == ("CursorExpired", True), message


async def test_an_address_with_a_path_too_many(gateway: ServedGateway) -> None:
    name, message = await failure(f"{gateway.base_url}/v1")
    assert (name, "without a path" in message) == ("WrongUrl", True), message
