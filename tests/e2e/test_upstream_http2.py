"""A gateway in front of a provider that speaks HTTP/2: clients see no difference, it sees one connection."""

from __future__ import annotations

import pytest
import trio

from tests.conftest import UPSTREAM_KEY
from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import openai_text
from tests.doubles.openai_h2_server import OpenAIH2Server
from tests.doubles.openai_script import Script, words
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until


@pytest.fixture
async def provider(nursery: trio.Nursery) -> OpenAIH2Server:
    """The upstream, over HTTP/2."""
    server = OpenAIH2Server(key=UPSTREAM_KEY)
    await nursery.start(server.run)
    return server


@pytest.fixture
async def gateway(serve: Serve, provider: OpenAIH2Server) -> ServedGateway:
    """A gateway that knows what its provider speaks."""
    return await serve(provider={"base_url": provider.base_url, "http2": "prior-knowledge", "prewarm": 1})


async def test_many_streams_on_one_connection(provider: OpenAIH2Server, gateway: ServedGateway) -> None:
    gate = Gate()
    provider.scripts["m"] = script = Script(deltas=words(30), gate=gate, split=50)
    async with trio.open_nursery() as nursery:

        async def chat() -> None:
            response = await gateway.chat("m")
            assert openai_text(await response.events().rest()) == script.text

        for _ in range(30):
            nursery.start_soon(chat)
        await until(lambda: gateway.now.upstream_streams == 30)
        assert (gateway.now.upstream_busy, gateway.now.upstream_waiting) == (1, 0)
        gate.open()
    assert provider.accepted_connections == 1
    assert (await (await gateway.chat("m", stream=False)).json())["choices"][0]["message"]["content"] == script.text
    await until(lambda: not gateway.now.upstream_streams)
    assert (gateway.now.upstream_busy, gateway.now.upstream_idle) == (0, 1)


async def test_a_client_that_leaves_ends_one_stream_only(provider: OpenAIH2Server, gateway: ServedGateway) -> None:
    gate = Gate(20)
    provider.scripts["m"] = script = Script(deltas=words(20), gate=gate)
    leaving, staying = await gateway.chat("m"), await gateway.chat("m")
    first = await provider.next_exchange()
    await leaving.connection.reset()
    await first.left.wait()
    gate.open()
    assert openai_text(await staying.events().rest()) == script.text
    assert provider.resets == 1
    await until(lambda: not gateway.now.upstream_streams)
    assert provider.accepted_connections == 1


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE, Ending.NO_DONE])
async def test_an_answer_that_breaks_off_is_never_a_clean_end(
    provider: OpenAIH2Server, gateway: ServedGateway, ending: Ending
) -> None:
    provider.scripts["m"] = Script(ending=ending)
    events = await (await gateway.chat("m")).events().rest()
    assert events[-1].data != "[DONE]"
    assert '"error"' in events[-1].data


async def test_a_compressed_stream(provider: OpenAIH2Server, gateway: ServedGateway) -> None:
    provider.scripts["m"] = script = Script(gzip=True, split=5)
    assert openai_text(await (await gateway.chat("m")).events().rest()) == script.text
