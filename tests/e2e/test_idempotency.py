"""A create that is asked twice, because its reply was lost, happens once and is paid once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES, STREAMS, refused
from tests.doubles.openai_script import Script
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Response
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.session_client import session


async def create(gateway: ServedGateway, key: str | None, **fields: Any) -> Response:
    body = {"model": "m", "messages": MESSAGES, **fields}
    return await gateway.request("POST", STREAMS, payload=body, headers={"Idempotency-Key": key} if key else {})


@pytest.fixture(autouse=True)
def script(upstream: OpenAIServer) -> Gate:
    gate = Gate()
    upstream.scripts["m"] = Script(gate=gate)
    return gate


async def test_the_same_key_and_request_give_the_same_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    first = await create(gateway, "k1")
    again = await create(gateway, "k1")
    assert (first.status, again.status) == (201, 200)
    created, found = await first.json(), await again.json()
    assert found["id"] == created["id"]
    assert found["cursor"] == created["cursor"]
    assert found["links"] == created["links"]
    assert again.head["stream-id"] == created["id"]
    assert gateway.now.streams == 1
    await upstream.next_exchange()
    await trio.testing.wait_all_tasks_blocked()
    assert len(upstream.exchanges) == 1


async def test_the_cursor_is_the_beginning_although_the_stream_has_gone_on(
    script: Gate, upstream: OpenAIServer, gateway: ServedGateway
) -> None:
    created = await (await create(gateway, "k1")).json()
    script.open()
    await (await upstream.next_exchange()).finished.wait()
    assert (await (await create(gateway, "k1")).json())["cursor"] == created["cursor"]


async def test_many_at_once_make_one(gateway: ServedGateway) -> None:
    names: set[str] = set()

    async def ask() -> None:
        names.add((await (await create(gateway, "k1")).json())["id"])

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert len(names) == 1


async def test_without_a_key_and_with_another_each_is_its_own(gateway: ServedGateway) -> None:
    names = {(await (await create(gateway, key)).json())["id"] for key in (None, None, "k1", "k2")}
    assert len(names) == 4


async def test_a_key_is_for_one_request(gateway: ServedGateway) -> None:
    await create(gateway, "k1")
    assert (await refused(await create(gateway, "k1", temperature=0.5), 409))["code"] == "key_conflict"


async def test_formatting_makes_no_other_request(gateway: ServedGateway) -> None:
    first = await (await create(gateway, "k1")).json()
    body = b'{"model" : "m",\n "messages": [{"role": "user", "content": "hello"}] }'
    head = b"POST /v1/streams HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k1\r\nContent-Length: %d\r\n\r\n"
    response = await gateway.raw(head % len(body) + body)
    assert (await response.json())["id"] == first["id"]


async def test_http_and_sockets_share_keys(gateway: ServedGateway) -> None:
    """A client whose socket was lost before the reply asks again over HTTP."""
    request = {"model": "m", "messages": MESSAGES, "lease": 60, "temperature": 0.7}
    socket = await session(gateway)
    created = await socket.ask("stream.create", request=request, key="k1")
    response = await gateway.request("POST", STREAMS, payload=request, headers={"Idempotency-Key": "k1"})
    assert response.status == 200
    assert (await response.json())["id"] == created["stream"]


async def test_a_key_has_a_length(gateway: ServedGateway) -> None:
    assert (await refused(await create(gateway, "k" * 129), 400))["param"] == "Idempotency-Key"


async def test_absurd_nesting_is_refused(gateway: ServedGateway) -> None:
    body = b'{"model":"m","messages":[{"role":"user"}],"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    head = b"POST /v1/streams HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k1\r\nContent-Length: %d\r\n\r\n"
    response = await gateway.raw(head % len(body) + body)
    assert response.status == 400


async def test_a_key_whose_create_was_refused_can_be_used_again(serve: Serve, tmp_path: Path) -> None:
    gateway = await serve(engine={"kind": "sqlite", "path": str(tmp_path / "s.db")})
    registry = gateway.gateway.registry
    socket = await session(gateway)
    registry.over = True
    await refused(await create(gateway, "k1"), 503)
    await socket.refused("stream.create", key="k2", request={"model": "m", "messages": MESSAGES})
    registry.over = False
    await trio.testing.wait_all_tasks_blocked()
    for key in ("k1", "k2"):
        with trio.fail_after(10):
            while (await create(gateway, key)).status == 503:  # it is given back in a moment
                await trio.testing.wait_all_tasks_blocked()
