"""Abuse, in small: limits hold, what is remembered stays bounded, and whoever means no harm is served meanwhile.

`python -m bench abuse --target gateway-keys` does the same in large, and measures.
"""

from __future__ import annotations

from stream_gateway.guard import failures, verified
from tests.doubles.gateway_client import GatewayClient
from tests.doubles.keyed import HELD, MODEL, Keyed, add_key, bearer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.waiting import until


async def served(keyed: Keyed, connection: Connection) -> None:
    """A good client gets its answer, on the connection that it has."""
    payload = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    response = await connection.request("POST", "/v1/chat/completions", payload=payload, headers=bearer(keyed.ann))
    assert response.status == 200
    await response.read()


async def refused(gateway: GatewayClient) -> bool:
    """Whether a connection is turned away with a 429 that says when to come back."""
    connection = await gateway.connect()
    response = await connection.response()
    assert response.head["retry-after"]
    await response.read()
    await connection.aclose()
    return response.status == 429


async def test_idle_connections(keyed: Keyed) -> None:
    gateway = await keyed.start(limits={"connections_per_address": 20, "idle_timeout": 60, "header_timeout": 60})
    good = await gateway.connect()
    await served(keyed, good)
    idle = [await gateway.connect() for _ in range(19)]
    await until(lambda: gateway.now.connections == 20)
    for _ in range(10):
        assert await refused(gateway)
    await served(keyed, good)
    for connection in idle:
        await connection.aclose()
    await until(lambda: gateway.now.connections == 1)
    await served(keyed, await gateway.connect())


async def test_slow_writers(keyed: Keyed) -> None:
    gateway = await keyed.start(limits={"header_timeout": 0.3, "body_timeout": 0.3})
    good = await gateway.connect()
    slow = [await gateway.connect() for _ in range(20)]
    for number, connection in enumerate(slow):
        head = b"POST /v1/streams HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + keyed.ann.encode()
        await connection.send(head + (b"\r\nContent-Length: 99\r\n\r\n{" if number % 2 else b""))
    await served(keyed, good)
    for connection in slow:
        assert (await connection.response("POST")).status == 408
    await served(keyed, good)


async def test_slow_readers(keyed: Keyed) -> None:
    """They take what their key may take, and are not in others' way."""
    abuser = add_key(keyed.path, "abuser", streams=5)
    gateway = await keyed.start()
    held = [await _reading_nothing(gateway, abuser) for _ in range(10)]
    assert sorted(held) == [200] * 5 + [429] * 5
    await served(keyed, await gateway.connect())


async def _reading_nothing(gateway: ServedGateway, key: str) -> int:
    return (await gateway.chat(HELD, headers=bearer(key))).status


async def test_coming_and_going(keyed: Keyed) -> None:
    gateway = await keyed.start()
    good = await gateway.connect()
    for number in range(300):
        connection = await Connection.open(gateway.host, gateway.port)
        if number % 2:
            await connection.send(b"GET /v1/mod")
        await connection.reset()
        if number % 100 == 0:
            await served(keyed, good)
    await until(lambda: gateway.now.connections == 1)
    await served(keyed, good)


async def test_guessing(keyed: Keyed) -> None:
    """No guess is remembered but as a number, and a right key that is in use stays good."""
    gateway = await keyed.start(guard={"failed_logins": 5})
    good = await gateway.connect()
    await served(keyed, good)
    guesses = await gateway.connect()
    statuses = []
    for number in range(200):
        response = await guesses.request("GET", "/v1/models", headers=bearer(f"sgk_{number:012x}_guess"))
        await response.read()
        statuses.append(response.status)
    assert statuses == [401] * 5 + [429] * 195
    guard = gateway.gateway.guard
    assert len(guard._failures) == 1 <= failures.MAX_ENTRIES
    assert len(guard._verified) == 1 <= verified.MAX_ENTRIES
    await served(keyed, good)
