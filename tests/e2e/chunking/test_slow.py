"""A slow client on a fast stream: nothing piles up for it, it catches up in few chunks, and nobody else notices."""

from __future__ import annotations

from typing import Any

import pytest

from stream_gateway.guard.principal import ANONYMOUS
from stream_gateway.server.conditions import unsent
from stream_gateway.server.transport import Transport
from stream_gateway.streams.follower import DRAIN_BYTES, Follower
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import native_text
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Response
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.sockets.session_client import SessionClient, session
from tests.doubles.sse_reader import SseEvent
from tests.doubles.waiting import until

COUNT = 4000
BUFFER = 4096


def transport_of(follower: Follower) -> Transport:
    """What carries a follower's bytes in the end."""
    outlet: Any = follower.outlet
    transport = getattr(outlet, "_wire", None) or outlet.conditions.__self__
    assert isinstance(transport, Transport)
    return transport


class Slow:
    """A client that has subscribed and then does not read, over one of two protocols."""

    def __init__(self, client: Response | SessionClient[Any], stream: str) -> None:
        self._client = client
        self._stream = stream

    async def read(self) -> list[str]:
        """The texts of all chunks, up to the end."""
        if isinstance(self._client, Response):
            events = await self._client.events().rest()
            return [event.json["text"] for event in events if "text" in event.json]
        pushes = await self._client.rest(self._stream)
        return [push["event"]["text"] for push in pushes if "text" in push["event"]]


async def subscribe(gateway: ServedGateway, protocol: str, stream: str) -> Slow:
    if protocol == "sse":
        return Slow(await gateway.subscribe(stream, receive_buffer=BUFFER), stream)
    client = await session(gateway, receive_buffer=BUFFER)
    await client.subscribe(stream)
    return Slow(client, stream)


@pytest.mark.deadline(60)
@pytest.mark.parametrize("protocol", ["sse", "websocket"])
async def test_it_catches_up_in_few_chunks(upstream: OpenAIServer, default: ServedGateway, protocol: str) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(COUNT), gate=(gate := Gate()))
    stream = (await default.create("m", lease="finish"))["id"]
    neighbour = (await default.subscribe(stream)).events()
    slow = await subscribe(default, protocol, stream)
    await until(lambda: default.now.subscriptions == 2)
    (_, follower) = default.gateway._registry.get(stream, ANONYMOUS).followers
    transport = transport_of(follower)
    seen: list[SseEvent] = []
    for step in range(10, COUNT + 1, 10):
        gate.release(10)
        while not native_text(seen[-1:]).endswith(script.deltas[step - 1]):
            event = await neighbour.next()
            assert event is not None
            seen.append(event)
        assert transport._rest is None or len(transport._rest) <= 2 * DRAIN_BYTES
        assert unsent(transport.sock) < DRAIN_BYTES
    assert not follower.live
    gate.open()
    texts = await slow.read()
    assert "".join(texts) == script.text
    assert max(map(len, texts)) > 1000
    assert len(texts) < COUNT / 4
    assert native_text([*seen, *(await neighbour.rest())]) == script.text
