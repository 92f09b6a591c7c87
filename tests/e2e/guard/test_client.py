"""The Python client with a key, over every transport."""

from __future__ import annotations

import pytest

from stream_gateway.client import Client, Unauthorized
from stream_protocols.events import StreamCancelled
from tests.doubles.keyed import HELD, MODEL, Keyed, remove_key, stream_token


@pytest.mark.parametrize("transport", ["websocket", "sse", "poll"])
async def test_the_client_shows_its_token(keyed: Keyed, transport: str) -> None:
    gateway = await keyed.start()
    messages = [{"role": "user", "content": "hello"}]
    async with Client(gateway.base_url, token=keyed.ann, transports=[transport]) as client:
        assert await client.stream(model=MODEL, messages=messages).text() == "w0 w1 w2 "
    stream = await keyed.create(keyed.ann)
    async with Client(gateway.base_url, token=stream_token(stream), transports=[transport]) as page:
        assert await page.attach(stream).text() == "w0 w1 w2 "
        with pytest.raises(Unauthorized):
            await page.stream(model=MODEL, messages=messages).text()
    for wrong in (None, keyed.ann + "x"):
        async with Client(gateway.base_url, token=wrong, transports=[transport]) as stranger:
            with pytest.raises(Unauthorized):
                await stranger.attach(stream).text()


async def test_a_key_that_is_revoked_under_way(keyed: Keyed) -> None:
    gateway = await keyed.start()
    async with Client(gateway.base_url, token=keyed.bob, transports=["websocket"]) as client:
        stream = client.stream(model=HELD, messages=[{"role": "user", "content": "hello"}])
        await anext(stream)
        remove_key(keyed.path, "bob")
        gateway.gateway.reload(gateway.gateway.config)
        last = None
        try:
            async for event in stream:
                last = event
        except Unauthorized:  # its socket was closed first
            return
        assert last == StreamCancelled("revoked")
