"""From one transport to another and back, many streams on one socket, slow readers, TLS, and asyncio."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
import trio

from stream_gateway.client import Client, Status
from stream_protocols.events import TextDelta
from tests.doubles.certificates import Certificates
from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until
from tests.e2e.client.conftest import QUICK

EAGER = msgspec.structs.replace(QUICK, retry_better=0.3)
"""Soon tries a better transport again."""


async def test_a_stream_moves_from_a_blocked_websocket_to_sse(upstream: OpenAIServer, proxy: ChaosProxy) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(12), gate=(gate := Gate()))
    async with Client(proxy.url, settings=EAGER) as client:
        stream = client.stream(model="m", messages=MESSAGES)
        carried: dict[str | None, str] = {}
        async for event in stream:
            gate.release()
            if isinstance(event, TextDelta):
                carried[stream.transport] = carried.get(stream.transport, "") + event.text
                if event.text == "w5 ":
                    proxy.no_upgrades = True
                    proxy.strike(Fault.CUT)
        assert list(carried) == ["websocket", "sse"]
        assert "".join(carried.values()) == script.text
        assert len(upstream.exchanges) == 1

        proxy.no_upgrades = False
        while stream.transport != "websocket":
            stream = client.stream(model="demo-n3-gap20", messages=MESSAGES)
            await stream.text()
    assert client.statistics().connects["websocket"] == 2


async def test_all_streams_follow_and_one_handshake_is_enough_to_know(proxy: ChaosProxy) -> None:
    proxy.no_upgrades = True
    statuses: list[Status] = []
    async with Client(proxy.url, settings=QUICK, on_status=statuses.append) as client, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(client.stream(model="demo-n3-gap0", messages=MESSAGES).text)
    assert client.statistics().connects == {"websocket": 0, "sse": 30, "poll": 0}
    lost = [status for status in statuses if status.kind == "lost"]
    assert {status.reason for status in lost} == {"WebSocket refused with 403"}
    assert len(lost) == 30


async def test_down_to_long_polls(proxy: ChaosProxy) -> None:
    """Behind what refuses WebSockets and collects responses until they are whole."""
    proxy.no_upgrades = proxy.collects = True
    settings = msgspec.structs.replace(QUICK, connect_timeout=0.5, silence=0.3, poll_wait=0.05)
    async with Client(proxy.url, settings=settings) as client:
        stream = client.stream(model="demo-n40-gap30", messages=MESSAGES)
        text = await stream.text()
    assert len(text.split()) == 40
    assert stream.transport == "poll"


async def test_more_streams_than_one_socket_takes(serve: Serve) -> None:
    """The limit is the gateway's, and the client did not know it."""
    gateway = await serve(sockets={"streams": 8})
    async with Client(gateway.base_url, transports=["websocket"], settings=QUICK) as client:
        streams = [client.stream(model="demo-n9-gap0-first60000", messages=MESSAGES) for _ in range(20)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(anext, stream)
        assert gateway.now.sockets == 3
        assert client.statistics().losses == 0


async def test_one_socket_for_all(gateway: ServedGateway) -> None:
    async with Client(gateway.base_url, settings=QUICK) as client:
        streams = [client.stream(model="demo-n9-gap0-first60000", messages=MESSAGES) for _ in range(100)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(anext, stream)
        assert gateway.now.sockets == 1


async def test_one_stream_twice(gateway: ServedGateway) -> None:
    name = (await gateway.create("demo-n20-gap5"))["id"]
    async with Client(gateway.base_url, settings=QUICK) as client:
        one, other = client.attach(name), client.attach(name)
        assert await anext(one) == await anext(other)
        assert await one.text() == await other.text()


async def test_a_slow_reader_holds_up_nobody_and_loses_nothing(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["slow"] = slow = Script(deltas=[f"{number:05} " + "x" * 200 for number in range(3000)])
    upstream.scripts["quick"] = quick = Script(deltas=words(50))
    settings = msgspec.structs.replace(QUICK, inbox_bytes=20_000)
    async with Client(gateway.base_url, transports=["websocket"], settings=settings) as client:
        stream = client.stream(model="slow", messages=MESSAGES)
        await anext(stream)
        await until(lambda: gateway.now.running == 0)
        assert await client.stream(model="quick", messages=MESSAGES).text() == quick.text
        assert await stream.text() == slow.text
        assert stream.connects > 1


@pytest.mark.parametrize("http2", [False, True])
async def test_tls(serve: Serve, tmp_path: Path, http2: bool) -> None:
    files = Certificates(tmp_path)
    gateway = await serve(server=files.section)
    url = f"https://localhost:{gateway.port}"
    for transport in ("sse", "websocket", "poll", "sse"):  # they share a context, and want other protocols in ALPN
        async with Client(
            url, transports=[transport], http2=http2, ssl_context=files.client(), settings=QUICK
        ) as client:
            stream = client.stream(model="demo-n5-gap0", messages=MESSAGES)
            assert len((await stream.text()).split()) == 5
            assert stream.transport == transport


async def test_tls_with_all_transports_at_once(serve: Serve, tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    gateway = await serve(server=files.section)
    url = f"https://localhost:{gateway.port}"
    context = files.client()
    async with (
        Client(url, transports=["websocket"], ssl_context=context, settings=QUICK) as socket,
        Client(url, transports=["sse"], ssl_context=context, settings=QUICK) as sse,
        trio.open_nursery() as nursery,
    ):
        for client in (socket, sse) * 10:
            nursery.start_soon(client.stream(model="demo-n5-gap0", messages=MESSAGES).text)


@pytest.mark.parametrize("transports", [("websocket", "sse", "poll"), ("poll",)])
async def test_asyncio(upstream: OpenAIServer, proxy: ChaosProxy, transports: tuple[str, ...]) -> None:
    """The same client in an asyncio application, without WebSocket, through cuts."""
    upstream.scripts["m"] = script = Script(deltas=words(30), gate=(gate := Gate()))

    def release() -> None:
        gate.release()
        proxy.strike(Fault.CUT)

    async def main(token: trio.lowlevel.TrioToken) -> str:
        async with Client(proxy.url, transports=transports, settings=QUICK) as client:
            stream = client.stream(model="m", messages=MESSAGES)
            text = ""
            async for event in stream:
                token.run_sync_soon(release if text.endswith(("w9 ", "w19 ")) else gate.release)
                text += event.text if isinstance(event, TextDelta) else ""
            async for _ in client.stream(model="demo-n1000-gap50", messages=MESSAGES):
                break
            await asyncio.sleep(0)
        return text

    token = trio.lowlevel.current_trio_token()
    text = await trio.to_thread.run_sync(lambda: asyncio.run(main(token)))
    assert text == script.text
    assert proxy.faults[Fault.CUT] > 0
    await until(lambda: proxy.open == 0)
