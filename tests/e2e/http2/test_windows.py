"""Flow control: a closed window is lag, and nobody else's business."""

from __future__ import annotations

import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame

from stream_gateway.server.http2 import limits
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, STREAMS, chat_body, native_text, openai_text
from tests.doubles.h2_client import h2_connect
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway, Spawn
from tests.doubles.waiting import until

WINDOW = 65_535
LONG = ["x" * 1_000] * 400


async def test_a_closed_window_takes_no_more_than_it_holds(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """65,535 bytes, to the byte; then the cursor waits, and goes on where it was."""
    upstream.scripts["m"] = Script(deltas=LONG)
    created = await gateway.create("m", lease=60)
    path = f"{STREAMS}/{created['id']}/events"
    await until(lambda: gateway.now.running == 0)
    async with h2_connect(gateway.host, gateway.port, open_windows=False) as client:
        stream = await client.request("GET", path)
        await client.until(lambda: len(stream.body) == WINDOW)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(stream.body) == WINDOW
        await client.acknowledge(stream, 1)
        await client.until(lambda: len(stream.body) == WINDOW + 1)
        await client.acknowledge(stream, 10_000_000)
        assert native_text(await stream.rest()) == "".join(LONG)


async def test_a_hundred_neighbours_of_a_closed_window(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """One stream's window stays closed; all others on its connection arrive whole, while it stands."""
    upstream.scripts["big"] = Script(deltas=LONG)
    upstream.scripts["m"] = script = Script(deltas=words(50), gate=(gate := Gate()))
    async with h2_connect(gateway.host, gateway.port) as client:
        neighbours = [await client.open("POST", CHAT, payload=chat_body("m")) for _ in range(99)]
        client.closed_windows.add(client.h2.get_next_available_stream_id())
        closed = await client.open("POST", CHAT, payload=chat_body("big"))
        await client.until(lambda: len(closed.body) == WINDOW)
        gate.open()
        for stream in neighbours:
            assert openai_text(await stream.rest()) == script.text
        assert len(closed.body) == WINDOW


async def test_memory_of_many_closed_windows_does_not_move(upstream: OpenAIServer, spawn: Spawn) -> None:
    upstream.scripts["m"] = Script(deltas=LONG)
    async with spawn() as process, h2_connect(process.host, process.port, window=0) as client:
        created = await (await client.request("GET", "/v1/models")).until_answered()
        client.h2.increment_flow_control_window(2_000_000)
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "lease": 60}
        client.h2.increment_flow_control_window(100_000, created.id)
        await client.flush()
        post = await client.request("POST", STREAMS, payload=body)
        client.h2.increment_flow_control_window(100_000, post.id)
        await client.flush()
        name = (await post.json())["id"]
        streams = [await client.request("GET", f"{STREAMS}/{name}/events") for _ in range(20)]
        before = process.resident_bytes()
        streams += [await client.request("GET", f"{STREAMS}/{name}/events") for _ in range(180)]
        await trio.sleep(0.2)
        grown = process.resident_bytes() - before
        assert grown < 180 * 40_000, f"{grown / 180:.0f} bytes a stream"  # a task and its state; no log, no piece
        assert not any(stream.body for stream in streams)


async def test_a_window_that_stays_closed_ends_the_stream_alone(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(server={"write_timeout": 0.3})
    upstream.scripts["m"] = Script(deltas=LONG)
    async with h2_connect(gateway.host, gateway.port, open_windows=False) as client:
        stream = await client.request("POST", CHAT, payload=chat_body("m"))
        await stream.until_over()
        assert (stream.reset, len(stream.body)) == (8, WINDOW)
        assert (await client.request("GET", "/v1/models")).status == 200
        await until(lambda: gateway.now.subscriptions == 0)


async def test_a_laggard_is_let_go_and_its_producer_goes_on(upstream: OpenAIServer, serve: Serve) -> None:
    """The producer's policy is that of every client: it waits `stall_timeout`, and goes on without the laggard."""
    gateway = await serve(streams={"retain_bytes": 100_000, "stall_timeout": 0.3})
    upstream.scripts["m"] = Script(deltas=LONG)
    async with h2_connect(gateway.host, gateway.port, open_windows=False) as client:
        stream = await client.request("POST", CHAT, payload={**chat_body("m"), "lease": "finish"})
        await stream.until_over()
        assert (stream.reset, len(stream.body)) == (8, WINDOW)
        await until(lambda: gateway.now.running == 0)


async def test_an_end_needs_no_window(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=words(3), gate=(gate := Gate(3)))
    async with h2_connect(gateway.host, gateway.port) as client:
        stream = await client.request("POST", CHAT, payload=chat_body("m"))
        await stream.take(3)
        gate.open()
        body = bytes((await stream.until_over()).body)
    async with h2_connect(gateway.host, gateway.port, window=0, open_windows=False) as client:
        stream = await client.open("POST", CHAT, payload=chat_body("m"))
        await stream.until_answered()
        await client.acknowledge(stream, len(body) + 20)  # the ids are new, and as long as the old ones
        await stream.read()


@pytest.mark.parametrize("window", [1, 7, 100])
async def test_tiny_windows_get_everything_in_crumbs(gateway: ServedGateway, window: int) -> None:
    body = await (await gateway.get("/v1/models")).read()
    async with h2_connect(gateway.host, gateway.port, window=window, open_windows=False) as client:
        stream = await client.request("GET", "/v1/models")
        for size in range(window, len(body), window):
            await client.until(lambda size=size: len(stream.body) == size)
            await client.acknowledge(stream, window)
        assert await stream.read() == body


async def test_windows_shrink_and_grow_by_settings(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """RFC 9113 §6.9.2: a changed initial size holds for streams that run, and may leave them below zero."""
    upstream.scripts["m"] = Script(deltas=LONG)
    created = await gateway.create("m", lease=60)
    async with h2_connect(gateway.host, gateway.port, open_windows=False) as client:
        stream = await client.request("GET", f"{STREAMS}/{created['id']}/events")
        await client.until(lambda: len(stream.body) == WINDOW)
        client.h2.update_settings({4: 1_000})
        client.h2.increment_flow_control_window(10_000_000)
        await client.flush()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert len(stream.body) == WINDOW
        client.h2.update_settings({4: 5_000_000})
        await client.flush()
        assert native_text(await stream.rest()) == "".join(LONG)


async def test_what_nobody_reads_opens_no_window(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """An upload to who does not want it stays in the window, whatever stands between its frames."""
    upstream.scripts["m"] = Script(deltas=words(5), gate=Gate(3))
    created = await gateway.create("m", lease=60)
    async with h2_connect(gateway.host, gateway.port) as client:
        await client.until(lambda: client.h2.remote_settings.initial_window_size == limits.STREAM_WINDOW)
        stream = await client.open("GET", f"{STREAMS}/{created['id']}/events", end=False)
        await stream.take(2)
        sent = 0
        while client.h2.local_flow_control_window(stream.id) >= 17_000:
            client.h2.send_data(stream.id, b"x" * 16_384)
            client.h2.send_data(stream.id, b"", pad_length=255)
            sent += 16_384 + 256
            await client.flush()
            await (await client.request("GET", "/v1/models")).read()
            assert sent <= limits.STREAM_WINDOW * 1.1  # padding alone is given back
        await client.send_frames(*[DataFrame(stream.id, b"x" * 16_384)] * 2)
        goaway = await client.ended()
        assert goaway is not None
        assert goaway.error_code == ErrorCodes.FLOW_CONTROL_ERROR


async def test_bodies_that_nobody_wants_do_not_use_up_the_connection(gateway: ServedGateway) -> None:
    """What was sent on streams that are over, or were never read, counts for the connection's window too."""
    async with h2_connect(gateway.host, gateway.port) as client:
        for _ in range(30):
            stream = await client.open("POST", "/nothing", end=False)
            await client.send_frames(*[DataFrame(stream.id, b"x" * 16_000, pad_length=200, flags=["PADDED"])] * 6)
            await stream.until_over()
        payload = chat_body("demo-n2-gap0", messages=[{"role": "user", "content": "x" * 900_000}])
        assert openai_text(await (await client.open("POST", CHAT, payload=payload)).rest())


async def test_narrow_windows_are_no_flood(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Each piece that fits into 200 bytes is answered with two WINDOW_UPDATE, thousands in all."""
    upstream.scripts["m"] = Script(deltas=LONG)
    created = await gateway.create("m", lease=60)
    await until(lambda: gateway.now.running == 0)
    async with h2_connect(gateway.host, gateway.port, window=200, open_windows=False) as client:
        stream = await client.request("GET", f"{STREAMS}/{created['id']}/events")
        answered = 0
        while not stream.ended:
            await client.until(lambda seen=answered: len(stream.body) > seen or stream.ended)
            size, answered = len(stream.body) - answered, len(stream.body)
            if not stream.ended:
                await client.acknowledge(stream, size)
        assert native_text(await stream.rest()) == "".join(LONG)


async def test_the_urgent_go_first(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """RFC 9218: when several wait for the connection's window, urgency decides."""
    upstream.scripts["m"] = Script(deltas=LONG)
    size = len(await (await gateway.get("/v1/models")).read())
    async with h2_connect(gateway.host, gateway.port, open_windows=False, window=10_000_000) as client:
        first = await client.request("POST", CHAT, payload=chat_body("m"))
        await client.until(lambda: len(first.body) == WINDOW)
        await client.cancel(first)
        streams = [
            await client.request("GET", "/v1/models", headers={"priority": priority})
            for priority in ("u=6", "u=nonsense", "u=0, i", "i;q=1, u=1")
        ]
        for ended in ({2}, {2, 3}, {1, 2, 3}, {0, 1, 2, 3}):
            client.h2.increment_flow_control_window(size)
            await client.flush()
            await client.until(lambda ended=ended: {n for n, stream in enumerate(streams) if stream.body} == ended)
        assert [len(stream.body) for stream in streams] == [size] * 4
