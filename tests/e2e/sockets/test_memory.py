"""A socket that is gone is gone at once: it leaves nothing to the garbage collector, which seldom looks."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing

from stream_protocols.events import TextDelta
from tests.doubles.sockets.memory import socket_rig, wire_of
from tests.doubles.sockets.session_client import SessionClient

Goes = Callable[[SessionClient], Awaitable[None]]


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Without the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def leaves(client: SessionClient) -> None:
    """As clients do."""
    await client.socket.close()


async def hangs_up(client: SessionClient) -> None:
    """Without a word."""
    await wire_of(client.socket).aclose()


async def vanishes(client: SessionClient) -> None:
    """It answers no ping any more."""
    await trio.sleep(60)
    assert wire_of(client.socket).aborted


async def breaks_the_protocol(client: SessionClient) -> None:
    """A frame with reserved bits."""
    await client.socket.offer(b"\xf1\x80\0\0\0\0")
    await hangs_up(client)


@pytest.mark.deadline(1000)
@pytest.mark.parametrize("goes", [leaves, hangs_up, vanishes, breaks_the_protocol])
@pytest.mark.parametrize("extensions", [None, "permessage-deflate"])
async def test_nothing_is_left_of_a_socket(
    uncollected: None, autojump_clock: trio.testing.MockClock, goes: Goes, extensions: str | None
) -> None:
    async with socket_rig() as rig:
        stream = rig.stream()
        client = await rig.connect(extensions=extensions)
        await client.subscribe(stream.id)
        stream.extend([(TextDelta("a text that is long enough to be compressed " * 3), None)])
        await trio.testing.wait_all_tasks_blocked()
        reference = weakref.ref(rig.socket)
        await goes(client)
        await trio.testing.wait_all_tasks_blocked()
        assert not rig.sockets
        assert reference() is None
