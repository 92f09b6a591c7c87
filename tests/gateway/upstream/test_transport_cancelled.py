"""A request may be cancelled at any moment: the pool then has neither a connection nor a place less."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import OK, Peer, Pool, TakingSink, always_ok, chunks

both_pumps = pytest.mark.parametrize("pump", ["epoll", "tasks"], indirect=True)


class CancelAt(trio.abc.Instrument):
    """Cancels a scope right after the n-th step of the task that made it."""

    def __init__(self, step: int) -> None:
        self.scope = trio.CancelScope()
        self._left = step
        self._task = trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self.scope.cancel()


@both_pumps
@pytest.mark.parametrize("reused", [False, True])
async def test_cancelled_at_each_of_its_steps_a_request_leaves_nothing(serve: Serve, pool: Pool, reused: bool) -> None:
    async def handle(peer: Peer) -> None:
        while await peer.request():
            await peer.send(*chunks(b"a", b"b"))

    server = await serve(handle)
    for step in range(1, 50):
        if reused:
            await pool.ask(server)
        else:
            pool.close()
        cancel = CancelAt(step)
        trio.lowlevel.add_instrument(cancel)
        with cancel.scope:
            await pool.ask(server, sink=TakingSink(), body=b"x" * 1_000_000)
        trio.lowlevel.remove_instrument(cancel)
        assert pool.counts[0] == 0
        await server.has_open(pool.counts[1])
        if not cancel.scope.cancelled_caught:
            break
    assert not cancel.scope.cancelled_caught
    assert step > 2


async def test_cancelled_while_it_waits_for_a_place(serve: Serve, make_pool: MakePool) -> None:
    async def silent(peer: Peer) -> None:
        await peer.left()

    server = await serve(silent)
    pool = make_pool(max_connections=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.ask, server)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as waiting:
                waiting.start_soon(pool.ask, server)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert pool.counts == (1, 0)
        nursery.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    assert pool.counts == (0, 0)
    server.handler = always_ok
    assert (await pool.ask(server)).content == b"ok"


async def test_a_storm_of_cancelled_requests_leaves_the_pool_usable(serve: Serve, make_pool: MakePool) -> None:
    async def slow(peer: Peer) -> None:
        while await peer.request():
            await wait_all_tasks_blocked()
            await peer.stream.send_all(OK)

    server = await serve(slow)
    pool = make_pool(max_connections=5)
    for round_ in range(20):
        async with trio.open_nursery() as nursery:
            for _ in range(15):
                nursery.start_soon(pool.ask, server)
            for _ in range(round_):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert pool.counts[0] == 0
    server.handler = always_ok
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(pool.ask, server)
    assert pool.counts[0] == 0
