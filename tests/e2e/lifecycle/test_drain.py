"""SIGTERM under load: every answer ends whole, or in words; every client hears when to come back; exit code 0."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.doubles.gateway_client import GatewayClient
from tests.doubles.gateway_process import GatewayProcess, gateway_process
from tests.doubles.raw_client import EventStream
from tests.doubles.sse_reader import SseEvent

STREAMS = 200
CONFIG = """
[server]
drain_timeout = {timeout}

[log]
format = "json"
"""


def retries(events: list[SseEvent]) -> list[int]:
    lines = [line for event in events for line in event.raw.splitlines()]
    return [int(line.removeprefix(b"retry: ")) for line in lines if line.startswith(b"retry: ")]


async def collect(events: EventStream, into: list[list[SseEvent]]) -> None:
    into.append(await events.rest())


async def under_load(process: GatewayProcess, client: GatewayClient, model: str) -> list[list[SseEvent]]:
    """The rest of all streams, after each has begun and the process was told to stop."""
    rests: list[list[SseEvent]] = []
    async with trio.open_nursery() as nursery:
        streams: list[EventStream] = []

        async def begin() -> None:
            events = (await client.chat(model)).events()
            await events.take(1)
            streams.append(events)

        async with trio.open_nursery() as beginning:
            for _ in range(STREAMS):
                beginning.start_soon(begin)
        process.process.send_signal(signal.SIGTERM)
        for events in streams:
            nursery.start_soon(collect, events, rests)
    return rests


@pytest.mark.deadline(60)
async def test_answers_have_the_time_to_end(tmp_path: Path) -> None:
    async with gateway_process(CONFIG.format(timeout=30), tmp_path) as process:
        async with GatewayClient(process.host, process.port) as client:
            rests = await under_load(process, client, "demo-n20-gap100")
        assert await process.process.wait() == 0
    assert len(rests) == STREAMS
    assert [rest[-1].data for rest in rests] == ["[DONE]"] * STREAMS
    waits = [wait for rest in rests for wait in retries(rest)]
    assert len(waits) == STREAMS
    assert len(set(waits)) > STREAMS / 2  # not all at once
    assert {500 <= wait <= 5000 for wait in waits} == {True}
    await process.exited.wait()
    assert process.log[-1]["event"] == "stopped"
    assert process.log[-1]["cancelled"] == 0


@pytest.mark.deadline(60)
async def test_those_that_do_not_end_are_told(tmp_path: Path) -> None:
    async with gateway_process(CONFIG.format(timeout=0.5), tmp_path) as process:
        async with GatewayClient(process.host, process.port) as client:
            rests = await under_load(process, client, "demo-n1000-gap100")
        assert await process.process.wait() == 0
    assert len(rests) == STREAMS
    for rest in rests:
        assert "[DONE]" not in [event.data for event in rest]
        assert json.loads(rest[-1].data)["error"]["code"]
        assert len(retries(rest)) == 1
    await process.exited.wait()
    assert (process.log[-1]["cancelled"], process.log[-1]["unread"]) == (STREAMS, 0)


async def test_native_readers_are_told_as_well(tmp_path: Path) -> None:
    async with gateway_process(CONFIG.format(timeout=0.2), tmp_path) as process:
        async with GatewayClient(process.host, process.port) as client:
            stream = (await client.create("demo-n1000-gap50"))["id"]
            sse = (await client.subscribe(stream)).events()
            await sse.take(1)
            process.process.send_signal(signal.SIGTERM)
            rest = await sse.rest()
        assert await process.process.wait() == 0
    assert rest[-1].json == {"type": "stream.cancelled", "reason": "shutdown"}
    assert len(retries(rest)) == 1


async def test_what_still_comes_is_answered_and_then_the_connection_ends(tmp_path: Path) -> None:
    async with gateway_process(CONFIG.format(timeout=10), tmp_path) as process:
        async with GatewayClient(process.host, process.port) as client:
            held = (await client.chat("demo-n10-gap100")).events()
            await held.take(1)
            idle = await client.connect()
            await (await idle.request("GET", "/v1/models")).read()
            process.process.send_signal(signal.SIGTERM)
            await _logged(process, "stopping")
            response = await idle.request("GET", "/v1/models")
            assert (response.status, response.head["connection"]) == (200, "close")
            await held.rest()
        assert await process.process.wait() == 0


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with (
        gateway_process(CONFIG.format(timeout=60), tmp_path) as process,
        GatewayClient(process.host, process.port) as client,
    ):
        events = (await client.chat("demo-n100000-gap100")).events()
        await events.take(1)
        process.process.send_signal(signal.SIGTERM)
        await _logged(process, "stopping")
        process.process.send_signal(signal.SIGTERM)
        assert await process.process.wait() == 0


async def test_drained_by_an_admin(tmp_path: Path) -> None:
    async with gateway_process(CONFIG.format(timeout=60), tmp_path) as process:
        await process.controlled()
        async with (
            GatewayClient(process.host, process.port) as client,
            GatewayClient(process.host, process.control_port) as admin,
        ):
            events = (await client.chat("demo-n20-gap100")).events()
            await events.take(1)
            assert (await admin.request("POST", "/admin/drain")).status == 202
            await _logged(process, "stopping")
            ready = await admin.get("/readyz")
            assert (ready.status, await ready.json()) == (503, {"status": "not ready", "reason": "draining"})
            assert (await events.rest())[-1].data == "[DONE]"
        assert await process.process.wait() == 0


async def _logged(process: GatewayProcess, event: str) -> dict[str, Any]:
    """Wait for a line of the process' log."""
    while True:
        for entry in process.log:
            if entry["event"] == event:
                return entry
        await trio.sleep(0.01)
