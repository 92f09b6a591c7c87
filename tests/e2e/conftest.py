"""What the tests over real sockets share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import openai_text
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway

NARROW = {
    "body_bytes": 20_000,
    "header_bytes": 4096,
    "header_timeout": 0.4,
    "body_timeout": 0.4,
    "idle_timeout": 5.0,
}


@pytest.fixture
async def narrow(serve: Serve, upstream: OpenAIServer) -> AsyncIterator[ServedGateway]:
    """A gateway with narrow limits, and a neighbour: a stream that runs meanwhile and has to arrive whole."""
    gateway = await serve(limits=NARROW)
    gate = Gate(3)
    upstream.scripts["neighbour"] = script = Script(deltas=words(50), gate=gate)
    neighbour = (await gateway.chat("neighbour")).events()
    seen = await neighbour.take(3)
    yield gateway
    gate.open()
    assert openai_text(seen + await neighbour.rest()) == script.text
