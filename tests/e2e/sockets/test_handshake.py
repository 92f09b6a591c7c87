"""The opening handshake: who gets a socket, who does not and why, and what becomes of those who never finish."""

from __future__ import annotations

import base64
import contextlib
import hashlib

import pytest
import trio

from tests.doubles.gateway_client import refused
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets import frames
from tests.doubles.sockets.frames import TEXT
from tests.doubles.sockets.raw_socket import CONNECT, JSON, MSGPACK, Closed, RawSocket, handshake, raw_socket, shake
from tests.doubles.sockets.session_client import SessionClient, assert_whole, session
from tests.doubles.waiting import until

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def test_the_answer(gateway: ServedGateway) -> None:
    key = base64.b64encode(b"sixteen bytes...").decode()
    response = await shake(gateway, Sec_WebSocket_Key=key)
    assert response.status == 101
    assert response.head["upgrade"].lower() == "websocket"
    assert response.head["connection"].lower() == "upgrade"
    expected = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
    assert response.head["sec-websocket-accept"] == expected
    assert response.head["sec-websocket-protocol"] == JSON
    assert response.head.get("sec-websocket-extensions") is None
    assert response.head.get("content-length") is None


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (JSON, JSON),
        (MSGPACK, MSGPACK),
        (f"{JSON}, {MSGPACK}", JSON),
        (f"{MSGPACK}, {JSON}", MSGPACK),
        (f"chat, {MSGPACK}", MSGPACK),
        (f"  chat ,{JSON}  ", JSON),
    ],
)
async def test_the_clients_first_choice_that_is_spoken(gateway: ServedGateway, asked: str, chosen: str) -> None:
    response = await shake(gateway, protocol=asked)
    assert response.head["sec-websocket-protocol"] == chosen
    client = SessionClient(RawSocket(response.connection), binary=chosen == MSGPACK)
    assert (await client.ask("ping"))["type"] == "ok"


async def test_json_when_none_is_asked_for(gateway: ServedGateway) -> None:
    response = await shake(gateway, protocol=None)
    assert response.status == 101
    assert response.head.get("sec-websocket-protocol") is None, "none was offered, so none may be chosen"
    assert (await SessionClient(RawSocket(response.connection)).ask("ping"))["type"] == "ok"


@pytest.mark.parametrize("asked", ["chat", "stream-gateway.v2+json", f"{JSON}x", "STREAM-GATEWAY.V1+JSON"])
async def test_subprotocols_that_are_not_spoken(gateway: ServedGateway, asked: str) -> None:
    error = await refused(await shake(gateway, protocol=asked), 400)
    assert JSON in error["message"]
    assert MSGPACK in error["message"]


async def test_no_upgrade(gateway: ServedGateway) -> None:
    """A plain GET learns what to do (RFC 9110, section 15.5.22)."""
    response = await gateway.get(CONNECT)
    assert response.head["upgrade"].lower() == "websocket"
    assert (await refused(response, 426))["code"] == "upgrade_required"


@pytest.mark.parametrize("headers", [{"Upgrade": None}, {"Upgrade": "h2c"}, {"Connection": None, "Upgrade": None}])
async def test_other_upgrades(gateway: ServedGateway, headers: dict[str, str | None]) -> None:
    await refused(await shake(gateway, **headers), 426)


@pytest.mark.parametrize("value", [None, "keep-alive"])
async def test_an_upgrade_that_connection_does_not_name(gateway: ServedGateway, value: str | None) -> None:
    """Without the token in Connection it is no upgrade (RFC 6455, section 4.2.1; RFC 9110, section 7.8)."""
    await refused(await shake(gateway, Connection=value), 426)


@pytest.mark.parametrize("value", ["keep-alive, Upgrade", "UPGRADE"])
async def test_an_upgrade_among_other_tokens(gateway: ServedGateway, value: str) -> None:
    assert (await shake(gateway, Connection=value, Upgrade="WebSocket")).status == 101


@pytest.mark.parametrize("version", [None, "8", "12", "14", "thirteen", "13, 8"])
async def test_other_versions(gateway: ServedGateway, version: str | None) -> None:
    response = await shake(gateway, Sec_WebSocket_Version=version)
    assert response.head["sec-websocket-version"] == "13"
    await refused(response, 426)


@pytest.mark.parametrize(
    "key", [None, "", "short", base64.b64encode(b"x" * 15).decode(), base64.b64encode(b"x" * 17).decode(), "ä" * 24]
)
async def test_bad_keys(gateway: ServedGateway, key: str | None) -> None:
    error = await refused(await shake(gateway, Sec_WebSocket_Key=key), 400)
    assert "Sec-WebSocket-Key" in error["message"]


async def test_only_get(gateway: ServedGateway) -> None:
    for method in ("POST", "PUT", "DELETE"):
        response = await gateway.request(method, CONNECT, headers=handshake())
        assert response.status == 405
        assert "GET" in response.head["allow"]
    assert (await gateway.request("HEAD", CONNECT, headers=handshake())).status != 101
    assert gateway.now.sockets == 0


async def test_http_1_0_has_no_upgrades(gateway: ServedGateway) -> None:
    connection = await gateway.connect()
    data = connection.render("GET", CONNECT, headers=handshake()).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    await connection.send(data)
    assert (await connection.response()).status in (400, 426)


async def test_a_handshake_with_a_body(gateway: ServedGateway) -> None:
    response = await gateway.request("GET", CONNECT, payload=b"body", headers=handshake())
    assert response.status in (400, 101)
    if response.status == 101:
        # A GET's body is nothing; but then none of it may be taken for a frame.
        socket = RawSocket(response.connection)
        assert (await SessionClient(socket).ask("ping"))["type"] == "ok"


# ---- origins


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"])
async def test_foreign_pages(gateway: ServedGateway, origin: str) -> None:
    error = await refused(await shake(gateway, Origin=origin), 403)
    assert error["code"] == "origin_not_allowed"


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:8000"])
async def test_local_pages(gateway: ServedGateway, origin: str) -> None:
    assert (await shake(gateway, Origin=origin)).status == 101


async def test_a_page_of_the_gateway_itself(serve: Serve) -> None:
    gateway = await serve(cors={"origins": []})
    assert (await shake(gateway, Origin=gateway.base_url)).status == 101
    await refused(await shake(gateway, Origin="http://localhost:5173"), 403)


async def test_configured_pages(serve: Serve) -> None:
    gateway = await serve(cors={"origins": ["https://app.example"]})
    assert (await shake(gateway, Origin="https://app.example")).status == 101
    await refused(await shake(gateway, Origin="https://app.example:444"), 403)


# ---- how many


async def test_too_many_from_one_address(serve: Serve) -> None:
    gateway = await serve(sockets={"per_address": 3})
    sockets = [await raw_socket(gateway) for _ in range(3)]
    response = await shake(gateway)
    error = await refused(response, 429)
    assert error["code"] == "too_many_requests"
    await sockets[0].close()
    await until(lambda: gateway.now.sockets == 2)
    await session(gateway)


async def test_too_many_at_once(serve: Serve) -> None:
    """Each of fifty handshakes that arrive together finds room when it asks; three of them have it."""
    gateway = await serve(sockets={"per_address": 3})
    connections = [await gateway.connect() for _ in range(50)]
    kept, turned_away = [], []

    async def one(connection: Connection) -> None:
        response = await connection.request("GET", CONNECT, headers=handshake())
        if response.status != 101:
            turned_away.append(response.status)
            return
        client = SessionClient(RawSocket(connection))
        try:
            await client.ask("ping")
            kept.append(client)
        except Closed as closed:
            turned_away.append(closed.code or 0)
            await connection.aclose()

    async with trio.open_nursery() as nursery:
        for connection in connections:
            nursery.start_soon(one, connection)
    assert len(kept) == 3
    assert set(turned_away) <= {429, 4529}
    for client in kept:
        assert (await client.ask("ping"))["type"] == "ok"


# ---- on the way


async def test_frames_with_the_handshake(gateway: ServedGateway) -> None:
    """Whatever came in one packet with it belongs to the socket."""
    connection = await gateway.connect()
    request = connection.render("GET", CONNECT, headers=handshake())
    command = '{"type":"stream.create","ref":1,"request":{"model":"demo-n3-gap0","messages":[]}}'.replace(
        "[]", '[{"role":"user","content":"x"}]'
    )
    for cut in (0, 1, 5):
        data = frames.frame(TEXT, command.encode())
        await connection.send(request + data[:cut])
        assert (await connection.response()).status == 101
        await connection.send(data[cut:])
        client = SessionClient(RawSocket(connection))
        created = await client.reply(1)
        assert_whole(await client.rest(created["stream"]))
        connection = await gateway.connect()


async def test_byte_by_byte(gateway: ServedGateway) -> None:
    connection = await gateway.connect()
    data = connection.render("GET", CONNECT, headers=handshake()) + frames.frame(TEXT, b'{"type":"ping","ref":"r"}')
    for byte in data:
        await connection.send(bytes([byte]))
    assert (await connection.response()).status == 101
    assert await SessionClient(RawSocket(connection)).reply("r") == {"type": "ok", "ref": "r"}


async def test_after_another_request(gateway: ServedGateway) -> None:
    """On a connection that was kept alive."""
    connection = await gateway.connect()
    first = await connection.request("GET", "/v1/models")
    await first.read()
    assert (await connection.request("GET", CONNECT, headers=handshake())).status == 101
    assert (await SessionClient(RawSocket(connection)).ask("ping"))["type"] == "ok"


@pytest.mark.deadline(40)
async def test_half_open_handshakes(serve: Serve) -> None:
    """Hundreds who begin and never finish are turned away after a while, and nobody waits for them."""
    gateway = await serve(limits={"header_timeout": 0.5})
    client = await session(gateway)
    stream = await client.create("demo-n100-gap5", lease="finish")
    connections = [await gateway.connect() for _ in range(400)]
    head = connections[0].render("GET", CONNECT, headers=handshake())
    for number, connection in enumerate(connections):
        await connection.offer(head[: number % len(head)])
    assert_whole(await client.rest(stream))
    for number, connection in enumerate(connections):
        answer = await connection.ended() if number % len(head) else b""
        assert b"101 Switching" not in answer
    for connection in connections:
        await connection.aclose()
    await until(lambda: gateway.now.connections == 1)
    assert (await client.ask("ping"))["type"] == "ok"


async def test_leaving_during_the_handshake(gateway: ServedGateway) -> None:
    """At any byte of it, and right after it."""
    probe = await gateway.connect()
    head = probe.render("GET", CONNECT, headers=handshake())
    for end in [*range(1, len(head), 40), len(head)]:
        connection = await gateway.connect()
        await connection.send(head[:end])
        with contextlib.suppress(trio.BrokenResourceError):
            await connection.reset()
    await probe.aclose()
    await until(lambda: (gateway.now.connections, gateway.now.sockets) == (0, 0))
