"""The console's files over the wire: kept by browsers, never stale, and nobody else's scripts run in them."""

from __future__ import annotations

import re

import httpx
import pytest

from stream_gateway.control.access import Access
from stream_gateway.control.app import make_app
from tests.e2e.control.conftest import Subject

TYPES = {
    "/console": "text/html",
    "/console/playground": "text/html",
    "/console/console.js": "text/javascript",
    "/console/playground.js": "text/javascript",
    "/console/stream-gateway.js": "text/javascript",
    "/console/console.css": "text/css",
    "/console/tokens.css": "text/css",
    "/console/icon.svg": "image/svg+xml",
}


@pytest.mark.parametrize("path", TYPES)
async def test_every_file(admin: httpx.AsyncClient, path: str) -> None:
    response = await admin.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == TYPES[path]
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    again = await admin.get(path, headers={"If-None-Match": f'"other", {response.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert (await admin.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize("path", ["/console", "/console/playground"])
async def test_pages_have_no_script_or_style_of_their_own(admin: httpx.AsyncClient, path: str) -> None:
    """The policy forbids it; the page would be broken."""
    page = (await admin.get(path)).text
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page) == []
    for name in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert (await admin.get(name)).status_code == 200, name


async def test_the_policy_allows_both_planes_and_nobody_else(admin: httpx.AsyncClient, subject: Subject) -> None:
    subject.data_plane = "https://gateway.example/ai"
    policy = (await admin.get("/console")).headers["content-security-policy"]
    assert "connect-src 'self' https://gateway.example wss://gateway.example;" in policy
    assert (await admin.get("/console/gateway.json")).json() == {"url": "https://gateway.example/ai"}
    subject.data_plane = None
    assert "connect-src 'self';" in (await admin.get("/console")).headers["content-security-policy"]
    assert (await admin.get("/console/gateway.json")).json() == {"url": None}


@pytest.mark.parametrize("path", ["/console/console.py", "/console/..%2Fapp.py", "/console/a/b", "/consolex"])
async def test_nothing_else(admin: httpx.AsyncClient, path: str) -> None:
    assert (await admin.get(path)).status_code == 404


async def test_pages_come_without_a_token_and_nothing_else_does(subject: Subject) -> None:
    transport = httpx.ASGITransport(make_app(subject, Access((), "secret")))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
        for path in (*TYPES, "/console/gateway.json"):
            assert (await client.get(path)).status_code == 200
        for path in ("/admin/feed", "/admin/streams/x/watch"):
            assert (await client.post(path)).status_code == 401
        assert (await client.get("/consolex")).status_code == 401
