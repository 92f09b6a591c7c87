"""The demo page's files over the wire: kept by browsers, never stale, and nobody else's scripts run in it."""

from __future__ import annotations

import pytest

from stream_gateway.server.pages import FOLDER
from tests.doubles.served_gateway import Serve, ServedGateway

TYPES = {
    "demo.html": "text/html; charset=utf-8",
    "demo.css": "text/css; charset=utf-8",
    "tokens.css": "text/css; charset=utf-8",
    "demo.js": "text/javascript; charset=utf-8",
    "stream-gateway.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml; charset=utf-8",
}


@pytest.mark.parametrize("name", TYPES)
async def test_every_file(gateway: ServedGateway, name: str) -> None:
    response = await gateway.get(f"/demo/{name}")
    assert response.status == 200
    assert response.head["content-type"] == TYPES[name]
    assert response.head["cache-control"] == "no-cache"
    assert response.head["x-content-type-options"] == "nosniff"
    policy = response.head["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert await response.read() == (FOLDER / name).read_bytes()
    for known in (response.head["etag"], f'W/"other", {response.head["etag"]}', "*"):
        again = await gateway.get(f"/demo/{name}", If_None_Match=known)
        assert (again.status, await again.read()) == (304, b"")
        assert again.head["etag"] == response.head["etag"]
    assert (await gateway.get(f"/demo/{name}", If_None_Match='"other"')).status == 200


def test_no_file_is_forgotten() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(TYPES)


async def test_the_page(gateway: ServedGateway) -> None:
    response = await gateway.get("/demo", Accept_Encoding="gzip")
    assert (response.status, response.head["content-encoding"]) == (200, "gzip")
    assert (await gateway.request("HEAD", "/demo")).status == 200
    assert (await gateway.request("POST", "/demo")).status == 405


@pytest.mark.parametrize("path", ["/demo/", "/demo/pages.py", "/demo/..%2Fpages.py", "/demo/a/b", "/demox"])
async def test_nothing_else(gateway: ServedGateway, path: str) -> None:
    assert (await gateway.get(path)).status == 404


async def test_it_can_be_switched_off(serve: Serve) -> None:
    gateway = await serve(server={"demo_page": False})
    assert (await gateway.get("/demo")).status == 404
    assert (await gateway.get("/demo/demo.js")).status == 404
