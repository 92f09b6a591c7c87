"""HTTP/2 as clients use it: everything that HTTP/1.1 does, many times on one connection."""

from __future__ import annotations

import pytest
from hyperframe.frame import GoAwayFrame, SettingsFrame

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, MESSAGES, STREAMS, chat_body, last_id, native_text, openai_text
from tests.doubles.h2_client import PREFACE, h2_connect
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway, Spawn
from tests.doubles.waiting import until

REFUSED_STREAM = 7


async def test_all_kinds_of_exchanges(gateway: ServedGateway) -> None:
    async with h2_connect(gateway.host, gateway.port) as client:
        streamed = await client.request("POST", CHAT, payload=chat_body("demo-n5-gap0"))
        assert streamed.headers["content-type"].startswith("text/event-stream")
        text = openai_text(await streamed.rest())
        whole = await client.request("POST", CHAT, payload=chat_body("demo-n5-gap0", stream=False))
        assert (await whole.json())["choices"][0]["message"]["content"] == text
        head = await client.request("HEAD", "/v1/models")
        assert (head.status, await head.read()) == (200, b"")
        assert (await client.request("GET", "/nothing")).status == 404
        assert (await client.request("DELETE", "/v1/models")).headers["allow"]
        created = await (await client.request("POST", STREAMS, payload={"model": "demo", "messages": MESSAGES})).json()
        events = await client.request("GET", f"{STREAMS}/{created['id']}/events")
        assert native_text(await events.rest())
        lines = await client.request(
            "GET", f"{STREAMS}/{created['id']}/events", headers={"accept": "application/x-ndjson"}
        )
        assert (await lines.read()).count(b"\n") > 3
        assert gateway.now.connections == 1


async def test_resume_crosswise(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Begun on HTTP/2, carried on over HTTP/1.1, ended on HTTP/2: nothing lost, nothing twice."""
    upstream.scripts["m"] = script = Script(deltas=words(60), gate=(gate := Gate(20)))
    created = await gateway.create("m", lease=60)
    path = f"{STREAMS}/{created['id']}/events"
    async with h2_connect(gateway.host, gateway.port) as client:
        first = await (await client.request("GET", path)).take(10)
    gate.release(20)
    other = (await gateway.subscribe(created["id"], last=last_id(first))).events()
    second = await other.take(20)
    await other.response.connection.aclose()
    gate.open()
    async with h2_connect(gateway.host, gateway.port) as client:
        third = await (await client.request("GET", path, headers={"last-event-id": last_id(second)})).rest()
    assert native_text(first + second + third) == script.text


async def test_a_hundred_streams_are_cut_and_resumed(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gates = {}
    for number in range(100):
        gates[number] = Gate(10)
        upstream.scripts[f"m{number}"] = Script(deltas=words(30), gate=gates[number])
    created = [await gateway.create(f"m{number}", lease=60) for number in range(100)]
    paths = [f"{STREAMS}/{one['id']}/events" for one in created]
    async with h2_connect(gateway.host, gateway.port) as client:
        streams = [await client.open("GET", path) for path in paths]
        seen = [await stream.take(5) for stream in streams]
    for gate in gates.values():
        gate.open()
    async with h2_connect(gateway.host, gateway.port) as client:
        streams = [
            await client.open("GET", path, headers={"last-event-id": last_id(events)})
            for path, events in zip(paths, seen, strict=True)
        ]
        for number, stream in enumerate(streams):
            assert native_text(seen[number] + await stream.rest()) == upstream.scripts[f"m{number}"].text


async def test_five_thousand_requests_beside_running_streams(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(50), gate=(gate := Gate(5)))
    async with h2_connect(gateway.host, gateway.port) as client:
        running = [await client.request("POST", CHAT, payload=chat_body("m")) for _ in range(5)]
        for _ in range(100):
            batch = [await client.open("GET", "/v1/models") for _ in range(50)]
            for stream in batch:
                assert (await stream.json())["object"] == "list"
        gate.open()
        for stream in running:
            assert openai_text(await stream.rest()) == script.text
        assert client.goaway is None


async def test_who_leaves_a_stream_ends_its_generation_at_once(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=words(50), gate=Gate(3))
    async with h2_connect(gateway.host, gateway.port) as client:
        stream = await client.request("POST", CHAT, payload=chat_body("m"))
        neighbour = await client.request("POST", CHAT, payload=chat_body("m"))
        await stream.take(2)
        await client.cancel(stream)
        await until(lambda: gateway.now.running == 1)
        await client.cancel(neighbour)
        await until(lambda: gateway.now.upstream_busy == 0)
        assert (await client.request("GET", "/v1/models")).status == 200


async def test_the_end_of_a_connection_ends_all_its_generations(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=words(50), gate=Gate(3))
    async with h2_connect(gateway.host, gateway.port) as client:
        for _ in range(10):
            await client.request("POST", CHAT, payload=chat_body("m"))
    await gateway.idle()


async def test_one_stream_too_many_is_refused_alone(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(limits={"streams_per_connection": 3})
    upstream.scripts["m"] = script = Script(deltas=words(5), gate=(gate := Gate(1)))
    async with h2_connect(gateway.host, gateway.port) as client:
        running = [await client.request("POST", CHAT, payload=chat_body("m")) for _ in range(3)]
        client.h2.remote_settings.max_concurrent_streams = 100  # as one that has not read ours yet
        client.h2.remote_settings.acknowledge()
        refused = await (await client.open("GET", "/v1/models")).until_over()
        assert refused.reset == REFUSED_STREAM
        gate.open()
        for stream in running:
            assert openai_text(await stream.rest()) == script.text
        assert (await client.request("GET", "/v1/models")).status == 200


async def test_who_leaves_a_stream_may_open_another_at_once(upstream: OpenAIServer, serve: Serve) -> None:
    """Also in the same packet: what the gateway has still to tidy up is no stream of the client's."""
    gateway = await serve(limits={"streams_per_connection": 3})
    upstream.scripts["m"] = Script(deltas=words(5), gate=Gate(1))
    async with h2_connect(gateway.host, gateway.port) as client:
        running = [await client.request("POST", CHAT, payload=chat_body("m")) for _ in range(3)]
        for stream in running:
            client.h2.reset_stream(stream.id, 8)
        answers = [await client.open("GET", "/v1/models") for _ in range(3)]
        for answer in answers:
            assert (await answer.json())["object"] == "list"


async def test_all_streams_may_be_left_at_once(upstream: OpenAIServer, serve: Serve) -> None:
    """A page that is closed is no rapid reset, however many streams it had."""
    gateway = await serve(limits={"streams_per_connection": 300, "resets_per_second": 1})
    upstream.scripts["m"] = Script(deltas=words(5), gate=Gate(1))
    created = await gateway.create("m", lease=60)
    async with h2_connect(gateway.host, gateway.port) as client:
        await client.until(lambda: client.h2.remote_settings.max_concurrent_streams == 300)
        for stream in [await client.open("GET", f"{STREAMS}/{created['id']}/events") for _ in range(300)]:
            client.h2.reset_stream(stream.id, 8)
        await client.flush()
        assert (await client.request("GET", "/v1/models")).status == 200


async def test_a_process_that_is_told_to_stop_lets_its_streams_end(upstream: OpenAIServer, spawn: Spawn) -> None:
    """Over either version of HTTP; then it ends."""
    gate, other = Gate(5), Gate(5)
    upstream.scripts["m"] = script = Script(deltas=words(50), gate=gate)
    upstream.scripts["n"] = Script(deltas=words(50), gate=other)
    async with spawn() as process, h2_connect(process.host, process.port) as client:
        stream = await client.request("POST", CHAT, payload=chat_body("m"))
        seen = await stream.take(2)
        async with await Connection.open(process.host, process.port) as connection:
            old = (await connection.request("POST", CHAT, payload=chat_body("n"))).events()
            old_seen = await old.take(2)
            process.process.terminate()
            await client.until(lambda: client.goaway is not None)
            gate.open()
            assert openai_text(seen + await stream.rest()) == script.text
            other.open()
            assert openai_text(old_seen + await old.rest()) == script.text
        assert await process.process.wait() == 0


@pytest.mark.parametrize(("settings", "signals"), [({"drain_timeout": 0.2}, 1), ({"drain_timeout": 100}, 2)])
async def test_a_process_does_not_wait_for_ever(
    upstream: OpenAIServer, spawn: Spawn, settings: dict[str, float], signals: int
) -> None:
    """`drain_timeout`, or the second signal."""
    upstream.scripts["m"] = Script(deltas=words(50), gate=Gate(5))
    async with spawn(server=settings) as process, h2_connect(process.host, process.port) as client:
        stream = await client.request("POST", CHAT, payload=chat_body("m"))
        await stream.take(2)
        process.process.terminate()
        await client.until(lambda: client.goaway is not None)
        if signals == 2:
            process.process.terminate()
        assert await process.process.wait() == 0


async def test_a_drain_lets_running_streams_end(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(50), gate=(gate := Gate(5)))
    async with h2_connect(gateway.host, gateway.port) as client:
        stream = await client.request("POST", CHAT, payload=chat_body("m"))
        seen = await stream.take(2)
        gateway.gateway.drain()
        await client.until(lambda: client.goaway is not None)
        assert client.goaway is not None
        assert (client.goaway.error_code, client.goaway.last_stream_id) == (0, stream.id)
        gate.open()
        await client.ended()
        assert openai_text(seen + await stream.rest()) == script.text
    with pytest.raises(OSError, match="refused"):
        async with h2_connect(gateway.host, gateway.port):
            pass


async def test_who_comes_in_during_a_drain_is_told_at_once(gateway: ServedGateway) -> None:
    """The connection was accepted before it, and had not yet said what it speaks."""
    async with await Connection.open(gateway.host, gateway.port) as connection:
        await connection.send(PREFACE[:10])
        await until(lambda: gateway.now.connections == 1)
        gateway.gateway.drain()
        await connection.send(PREFACE[10:] + SettingsFrame(0).serialize())
        answer = await connection.ended()
    assert GoAwayFrame(0, last_stream_id=0).serialize() in answer
    await gateway.gateway.idle()


async def test_a_goaway_from_a_client_ends_no_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(50), gate=(gate := Gate(5)))
    async with h2_connect(gateway.host, gateway.port) as client:
        stream = await client.request("POST", CHAT, payload=chat_body("m"))
        await client.send_frames(GoAwayFrame(0, last_stream_id=0, error_code=0))
        seen = await stream.take(2)
        gate.open()
        assert openai_text(seen + await stream.rest()) == script.text
        await client.ended()


async def test_a_connect_without_a_path_is_a_bad_request(gateway: ServedGateway) -> None:
    async with h2_connect(gateway.host, gateway.port) as client:
        stream = await client.open("CONNECT", None, end=False)
        await stream.until_answered()
        assert stream.status == 400
        assert (await client.request("GET", "/v1/models")).status == 200


@pytest.mark.parametrize("size", [1, 20_000, 300_000, 3_000_000])
async def test_bodies_larger_than_the_window(gateway: ServedGateway, size: int) -> None:
    """Windows open as a body is read; several at once share the connection's."""
    payload = chat_body("demo-n2-gap0", messages=[{"role": "user", "content": "x" * size}])
    async with h2_connect(gateway.host, gateway.port) as client:
        streams = [await client.open("POST", CHAT, payload=payload) for _ in range(3)]
        for stream in streams:
            assert openai_text(await stream.rest())


async def test_a_body_over_the_limit(serve: Serve) -> None:
    gateway = await serve(limits={"body_bytes": 20_000, "body_timeout": 0.3})
    async with h2_connect(gateway.host, gateway.port) as client:
        declared = await client.open("POST", CHAT, headers={"content-length": "30000"}, end=False)
        assert (await declared.until_answered()).status == 413
        sent = await client.open("POST", CHAT, payload=b"x" * 30_000)
        assert (await sent.until_answered()).status == 413
        slow = await client.open("POST", CHAT, end=False)
        assert (await slow.until_answered()).status == 408
        assert (await client.request("GET", "/v1/models")).status == 200


async def test_large_heads(serve: Serve) -> None:
    gateway = await serve(limits={"header_bytes": 4096})
    async with h2_connect(gateway.host, gateway.port) as client:
        assert (await client.request("GET", "/v1/models", headers={"x": "y" * 5_000})).status == 431
        assert (await client.request("GET", "/v1/models")).status == 200
        await client.open("GET", "/v1/models", headers={"x": "y" * 9_000, "z": "y" * 9_000})
        ended = await client.ended()
        assert ended is not None
        assert ended.error_code == 11
