"""Two hundred clients on one stream: those who read get everything, those who do not harm nobody."""

from __future__ import annotations

import dataclasses

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import GatewayClient, native_text, types
from tests.doubles.http_reader import Truncated
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import EventStream
from tests.doubles.served_gateway import Serve, ServedGateway, Spawn
from tests.doubles.sse_reader import SseEvent
from tests.doubles.waiting import until

FAST, SLOW, STALLED = 130, 50, 20
SCRIPT = Script(deltas=tuple(word.ljust(400, ".") for word in words(150)))
"""More (80 kB) than the kernel's small buffers hide of a client that does not read."""

TINY = 4096
"""A receive buffer that fills at once: with the gateway's small send buffer, the kernel hides little."""

PER_CONNECTION = 128 * 1024
"""The stated constant: what a connection may cost the gateway, however far its client is behind."""


class Audience:
    """The subscribers of one stream, and what the reading ones got."""

    def __init__(self, gateway: ServedGateway, stream: str) -> None:
        self._gateway = gateway
        self._stream = stream
        self.stalled: list[EventStream] = []
        self.texts: list[str] = []

    async def gather(self, nursery: trio.Nursery) -> None:
        """Everyone subscribes and has the first event; then they do as they do."""
        for _ in range(STALLED):
            self.stalled.append(await self._subscribe(TINY))
        for _ in range(SLOW):
            nursery.start_soon(self._read_slowly, await self._subscribe(16_384))
        for _ in range(FAST):
            nursery.start_soon(self._read, await self._subscribe(None))

    async def _subscribe(self, receive_buffer: int | None) -> EventStream:
        response = await self._gateway.subscribe(self._stream, receive_buffer=receive_buffer)
        events = response.events()
        (started,) = await events.take(1)
        assert started.json["type"] == "stream.started"
        return events

    async def _read(self, events: EventStream) -> None:
        self.take(await events.rest())

    async def _read_slowly(self, events: EventStream) -> None:
        """A little at a time, and never as fast as it comes."""
        seen: list[SseEvent] = []
        while (event := await events.next(most=2048)) is not None:
            seen.append(event)
            if len(seen) % 8 == 0:
                await trio.sleep(0.004)
        self.take(seen)

    def take(self, seen: list[SseEvent]) -> None:
        assert types(seen)[-1] == "stream.finished"
        self.texts.append(native_text(seen))


async def assembled(
    serve: Serve, upstream: OpenAIServer, nursery: trio.Nursery, write_timeout: float
) -> tuple[ServedGateway, Audience, Gate]:
    """A gateway, its audience, and the gate behind which all of the stream's text waits."""
    gateway = await serve(server={"write_timeout": write_timeout, "send_buffer_bytes": TINY})
    gate = Gate()
    upstream.scripts["m"] = dataclasses.replace(SCRIPT, gate=gate)
    stream = (await gateway.create("m", lease=60))["id"]
    audience = Audience(gateway, stream)
    await audience.gather(nursery)
    assert gateway.now.subscriptions == FAST + SLOW + STALLED
    return gateway, audience, gate


@pytest.mark.deadline(40)
async def test_readers_feel_nothing_of_the_stalled(serve: Serve, upstream: OpenAIServer) -> None:
    async with trio.open_nursery() as nursery:
        gateway, audience, gate = await assembled(serve, upstream, nursery, write_timeout=60)
        gate.open()
    assert audience.texts == [SCRIPT.text] * (FAST + SLOW)
    await until(lambda: gateway.now.subscriptions == STALLED)
    assert gateway.now.running == 0, "the stalled held up the producer"
    # They are late, and not lost: whoever reads on in time gets everything, in order.
    for events in audience.stalled:
        audience.take(await events.rest())
    assert audience.texts == [SCRIPT.text] * (FAST + SLOW + STALLED)


@pytest.mark.deadline(40)
async def test_the_stalled_are_aborted_after_write_timeout(serve: Serve, upstream: OpenAIServer) -> None:
    async with trio.open_nursery() as nursery:
        gateway, audience, gate = await assembled(serve, upstream, nursery, write_timeout=3.0)
        gate.open()
    assert audience.texts == [SCRIPT.text] * (FAST + SLOW)
    await until(lambda: gateway.now.subscriptions == 0)
    for events in audience.stalled:
        with pytest.raises(Truncated):
            await events.rest()


@pytest.mark.deadline(40)
async def test_memory_is_the_log_and_a_constant_per_connection(spawn: Spawn, upstream: OpenAIServer) -> None:
    """Two hundred clients that are 4 MB behind: one log, and not two hundred times 4 MB."""
    retain = 16 * 1024 * 1024
    gate = Gate()
    upstream.scripts["m"] = script = Script(deltas=tuple(w.ljust(8192, ".") for w in words(500)), gate=gate)
    config = {"server": {"write_timeout": 60.0}, "streams": {"retain_bytes": retain}}
    async with spawn(**config) as process, GatewayClient(process.host, process.port) as client:
        stream = (await client.create("m", lease=60))["id"]
        before = process.resident_bytes()
        for _ in range(200):
            await (await client.subscribe(stream, receive_buffer=TINY)).events().take(1)
        reader = (await client.subscribe(stream)).events()
        gate.open()
        assert native_text(await reader.rest()) == script.text
        grown = process.resident_bytes() - before
        assert grown < retain + 201 * PER_CONNECTION, f"{grown:,} bytes for 200 clients that do not read"


async def test_one_frame_for_all(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Subscribers who keep up get the same bytes, in lockstep with the producer."""
    gate = Gate()
    upstream.scripts["m"] = Script(deltas=words(20), gate=gate)
    stream = (await gateway.create("m", lease=60))["id"]
    audience = [(await gateway.subscribe(stream)).events() for _ in range(100)]
    for events in audience:
        await events.take(1)
    for word in words(20):
        gate.release()
        raws = {(await events.take(1))[0].raw for events in audience}
        assert len(raws) == 1
        assert word.encode() in raws.pop()
    gate.open()
    assert len({tuple(event.raw for event in await events.rest()) for events in audience}) == 1


async def test_joining_at_any_moment(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Late ones get what they missed, then what comes: the same stream, whenever they joined."""
    gate = Gate()
    upstream.scripts["m"] = script = Script(deltas=words(40), gate=gate)
    stream = (await gateway.create("m", lease=60))["id"]
    audience: list[EventStream] = []
    for _ in range(40):
        audience.append((await gateway.subscribe(stream)).events())
        gate.release()
    gate.open()
    assert [native_text(await events.rest()) for events in audience] == [script.text] * 40
