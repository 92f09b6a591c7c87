"""Texts merged and divided between vendors: whoever speaks behind the gateway, and whoever listens in front of it."""

from __future__ import annotations

import pytest
import trio

from stream_protocols.dialects.registry import DIALECTS
from stream_protocols.events import StreamFinished, TextDelta
from tests.doubles.openai_script import Script
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.vendor_server import VendorServer
from tests.doubles.vendors import VENDORS

DELTAS = ("One sen", "tence. And ", "another", " one. “Three”", ": é, 👩‍👩‍👧. The", " end")
TEXT = "".join(DELTAS)
COUNTED = "openai_responses"
"""Its clients come back with the number of a frame: they all must get the same ones."""

SAYS_MORE = ("gemini", "gemini")
"""Its frames tell the usage beside the texts, and a client of its own kind is told it each time."""


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    """What the provider speaks."""
    return str(request.param)


@pytest.fixture
async def upstream(nursery: trio.Nursery, vendor: str) -> VendorServer:
    server = VENDORS[vendor](key="sk-upstream")
    await nursery.start(server.run)
    server.scripts["m"] = Script(deltas=DELTAS)
    return server


@pytest.fixture
async def gateway(serve: Serve, vendor: str) -> ServedGateway:
    return await serve(provider={"dialect": vendor})


async def read(gateway: ServedGateway, stream: str, dialect: str, chunking: str) -> list[str]:
    """The texts of the chunks that a client of a dialect gets, as that dialect's own decoder understands them."""
    body = await (await gateway.subscribe(stream, dialect=dialect, chunking=chunking)).read()
    decoder = DIALECTS[dialect].decoder()
    events = [event for event, _ in [*decoder.feed(body), *decoder.close()]]
    assert any(isinstance(event, StreamFinished) for event in events), events[-1]
    return [event.text for event in events if isinstance(event, TextDelta)]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_vendor_behind_every_dialect(
    gateway: ServedGateway, upstream: VendorServer, vendor: str, dialect: str
) -> None:
    stream = (await gateway.create("m", lease="finish"))["id"]
    texts = {
        name: await read(gateway, stream, dialect, name) for name in ("passthrough", "bytes:5", "sentences", "adaptive")
    }
    assert {"".join(parts) for parts in texts.values()} == {TEXT}
    if dialect == COUNTED:
        assert set(map(tuple, texts.values())) == {DELTAS}
    elif (vendor, dialect) == SAYS_MORE:
        assert len(texts["adaptive"]) > 1
    else:
        assert texts["sentences"] == ["One sentence. ", "And another one. ", "“Three”: é, 👩‍👩‍👧. ", "The end"]
        assert texts["adaptive"] == [TEXT]
        assert texts["bytes:5"][:3] == ["One s", "enten", "ce. A"]
