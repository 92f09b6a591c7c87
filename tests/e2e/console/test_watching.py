"""Who may be given a look into somebody's stream, and what that is good for."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from stream_gateway.control.access import Access
from stream_gateway.control.app import make_app
from stream_gateway.guard.keys import changing, new_key
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.e2e.control.conftest import Subject


async def watch(gateway: ServedGateway, stream: str, token: str | None) -> httpx.Response:
    """Ask the control plane, which has this token."""
    transport = httpx.ASGITransport(make_app(Subject(gateway), Access((), token)))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090", headers=headers) as client:
        return await client.post(f"/admin/streams/{stream}/watch")


@pytest.fixture
async def locked(serve: Serve, tmp_path: Path) -> tuple[ServedGateway, dict[str, str]]:
    """A gateway that wants keys, and the header of a client that has one."""
    key, entry = new_key("somebody")
    with changing(tmp_path / "keys.json") as keys:
        keys.append(entry)
    gateway = await serve(guard={"keys_file": str(tmp_path / "keys.json")})
    return gateway, {"Authorization": f"Bearer {key}"}


async def create(gateway: ServedGateway, headers: dict[str, str]) -> str:
    body = {"model": "demo-n3", "messages": [{"role": "user", "content": "Hi"}]}
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers) as client:
        stream: str = (await client.post("/v1/streams", json=body)).json()["id"]
        return stream


async def test_nobodys_stream_may_be_watched(gateway: ServedGateway) -> None:
    stream = await create(gateway, {})
    way = (await watch(gateway, stream, None)).json()
    assert way["stream"] == stream
    response = await gateway.subscribe(stream, after=way["cursor"])
    assert (await response.events().rest())[-1].json["type"] == "stream.finished"


async def test_a_clients_stream_only_where_admins_show_who_they_are(
    locked: tuple[ServedGateway, dict[str, str]],
) -> None:
    gateway, headers = locked
    stream = await create(gateway, headers)
    refused = await watch(gateway, stream, None)
    assert refused.status_code == 403
    assert "control.token_env" in refused.json()["error"]["message"]
    token = (await watch(gateway, stream, "secret")).json()["token"]
    async with httpx.AsyncClient(base_url=gateway.base_url, headers={"Authorization": f"Bearer {token}"}) as client:
        assert "stream.finished" in (await client.get(f"/v1/streams/{stream}/events")).text
        assert (await client.delete(f"/v1/streams/{stream}")).status_code == 403  # to read, and no more
        other = await create(gateway, headers)
        assert (await client.get(f"/v1/streams/{other}/events")).status_code == 404


async def test_a_stream_that_there_is_not(gateway: ServedGateway) -> None:
    assert (await watch(gateway, "nothing", None)).status_code == 404
