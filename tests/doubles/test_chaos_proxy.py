"""The proxy itself: what passes is unchanged, and each fault is what it says."""

from __future__ import annotations

import pytest
import trio

from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.waiting import until

DATA = bytes(range(256)) * 40


async def echo(stream: trio.SocketStream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        return


@pytest.fixture
async def proxy(nursery: trio.Nursery) -> ChaosProxy:
    listeners = await nursery.start(trio.serve_tcp, echo, 0)
    proxy = ChaosProxy("127.0.0.1", listeners[0].socket.getsockname()[1])
    await nursery.start(proxy.run)
    return proxy


async def connect(proxy: ChaosProxy) -> trio.SocketStream:
    """A connection through the proxy that has carried something."""
    stream = await trio.open_tcp_stream("127.0.0.1", proxy.port)
    try:
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


@pytest.mark.parametrize("fault", [None, Fault.STALL, Fault.SLOW, Fault.DELAY])
async def test_what_passes_is_unchanged(proxy: ChaosProxy, fault: Fault | None) -> None:
    async with await connect(proxy) as stream:
        if fault is not None:
            proxy.strike(fault)
        await stream.send_all(DATA)
        came = b""
        while len(came) < len(DATA):
            came += await stream.receive_some()
        assert came == DATA


async def test_a_cut(proxy: ChaosProxy) -> None:
    async with await connect(proxy) as stream:
        proxy.strike(Fault.CUT)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
    await until(lambda: proxy.open == 0)


async def test_half_a_close(proxy: ChaosProxy) -> None:
    async with await connect(proxy) as stream:
        proxy.strike(Fault.HALF_CLOSE)
        assert await stream.receive_some() == b""
        assert proxy.open == 1


async def test_a_black_hole(proxy: ChaosProxy) -> None:
    async with await connect(proxy) as stream:
        proxy.strike(Fault.BLACK_HOLE)
        await stream.send_all(b"y")
        with trio.move_on_after(0.3):
            raise AssertionError(await stream.receive_some())


async def test_refusals(proxy: ChaosProxy) -> None:
    proxy.refusing = True
    with pytest.raises(trio.BrokenResourceError):
        await connect(proxy)
    proxy.refusing, proxy.no_upgrades = False, True
    async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nUpgrade: WebSocket\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 403 ")
    async with await connect(proxy):
        assert proxy.accepted == 3


async def test_a_share_of_the_connections(proxy: ChaosProxy) -> None:
    streams = [await connect(proxy) for _ in range(10)]
    proxy.strike(Fault.CUT, share=0.25)
    await until(lambda: proxy.open == 7)
    assert proxy.faults[Fault.CUT] == 3
    for stream in streams:
        await stream.aclose()
