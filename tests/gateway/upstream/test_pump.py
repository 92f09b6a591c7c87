"""The pump: it calls back exactly for what is watched and readable, whatever a callback does."""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import trio
from structlog.typing import EventDict
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.pump import EpollPump, Pump, TaskPump, open_pump


class Pair:
    """A watched socket and its peer."""

    def __init__(self, pump: Pump, on_readable: Callable[[], None] | None = None) -> None:
        self.pump = pump
        self.calls = 0
        self.read = b""
        self.sock, self.peer = socket.socketpair()
        self.sock.setblocking(False)
        self.peer.setblocking(False)
        self.then = on_readable
        pump.add(self.sock, self.on_readable)

    def on_readable(self) -> None:
        self.calls += 1
        with suppress(BlockingIOError):
            self.read += self.sock.recv(100)
        if self.then is not None:
            self.then()

    def forget(self) -> None:
        self.pump.remove(self.sock)
        self.sock.close()

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self.forget()
        self.peer.close()


Make = Callable[..., Pair]


@pytest.fixture(params=[EpollPump, TaskPump])
async def pump(request: pytest.FixtureRequest, nursery: trio.Nursery) -> Pump:
    """Either pump, running."""
    pump: Pump = request.param()
    nursery.start_soon(pump.run)
    await wait_all_tasks_blocked()
    return pump


@pytest.fixture
def make(pump: Pump) -> Iterator[Make]:
    """Makes watched sockets."""
    pairs: list[Pair] = []

    def make(on_readable: Callable[[], None] | None = None) -> Pair:
        pairs.append(Pair(pump, on_readable))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


async def test_it_calls_back_for_what_is_readable_and_for_nothing_else(make: Make) -> None:
    one, two = make(), make()
    one.peer.send(b"a")
    await wait_all_tasks_blocked()
    assert (one.read, two.calls) == (b"a", 0)
    two.peer.send(b"b")
    one.peer.send(b"c")
    await wait_all_tasks_blocked()
    assert (one.read, two.read) == (b"ac", b"b")


async def test_what_is_not_read_at_once_is_called_for_again(make: Make) -> None:
    pair = make()
    pair.peer.send(b"x" * 250)
    await wait_all_tasks_blocked()
    assert pair.calls == 3
    assert pair.read == b"x" * 250


async def test_the_end_of_a_connection_is_readable(make: Make) -> None:
    pair = make()
    pair.then = pair.forget
    pair.peer.close()
    await wait_all_tasks_blocked()
    assert pair.calls == 1


async def test_more_sockets_than_fit_into_one_turn(make: Make) -> None:
    pairs = [make() for _ in range(100)]
    for number, pair in enumerate(pairs):
        pair.peer.send(b"%d" % number)
    await wait_all_tasks_blocked()
    assert [pair.read for pair in pairs] == [b"%d" % number for number in range(100)]


async def test_others_get_their_turn_while_data_keeps_coming(make: Make) -> None:
    pair = make()
    pair.then = lambda: None if pair.calls > 200 else pair.peer.send(b"x") and None
    pair.peer.send(b"x")
    turns = 0
    while pair.calls <= 200:
        await trio.lowlevel.checkpoint()
        turns += 1
    assert turns > 50


# Pausing


async def test_a_paused_socket_is_left_alone_until_it_is_resumed(make: Make, pump: Pump) -> None:
    pair, other = make(), make()
    await wait_all_tasks_blocked()
    pump.pause(pair.sock)
    pair.peer.send(b"a")
    other.peer.send(b"b")
    await wait_all_tasks_blocked()
    assert (pair.calls, other.read) == (0, b"b")
    pump.resume(pair.sock)
    await wait_all_tasks_blocked()
    assert pair.read == b"a"


async def test_a_paused_socket_that_breaks_is_left_alone_too(make: Make, pump: Pump) -> None:
    pair = make(lambda: pair.forget())
    await wait_all_tasks_blocked()
    pump.pause(pair.sock)
    pair.peer.send(b"a")
    pair.sock.shutdown(socket.SHUT_WR)
    pair.peer.close()  # with both ends shut the kernel tells of it, asked or not
    await wait_all_tasks_blocked(0.05)
    assert pair.calls == 0
    pump.resume(pair.sock)
    await wait_all_tasks_blocked()
    assert pair.read == b"a"


async def test_a_paused_socket_can_be_removed_and_its_number_used_again(make: Make, pump: Pump) -> None:
    pair = make()
    await wait_all_tasks_blocked()
    pump.pause(pair.sock)
    pair.forget()
    other = make()
    other.peer.send(b"b")
    await wait_all_tasks_blocked()
    assert other.read == b"b"


async def test_pausing_inside_the_callback(make: Make, pump: Pump) -> None:
    pair = make()
    pair.then = lambda: pump.pause(pair.sock)
    pair.peer.send(b"x" * 300)
    await wait_all_tasks_blocked()
    assert pair.calls == 1
    pump.resume(pair.sock)
    await wait_all_tasks_blocked()
    assert pair.calls == 2


async def test_pausing_twice_and_resuming_twice_is_the_same_as_once(make: Make, pump: Pump) -> None:
    pair = make()
    pump.pause(pair.sock)
    pump.pause(pair.sock)
    pump.resume(pair.sock)
    pump.resume(pair.sock)
    pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    assert pair.read == b"a"


async def test_pausing_and_resuming_what_is_not_watched_is_nothing(make: Make, pump: Pump) -> None:
    pair = make()
    pump.remove(pair.sock)
    pump.pause(pair.sock)
    pump.resume(pair.sock)
    pump.remove(pair.sock)
    pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    assert pair.calls == 0
    pump.add(pair.sock, pair.on_readable)
    await wait_all_tasks_blocked()
    assert pair.read == b"a"


# Writing


async def test_it_calls_back_when_a_socket_takes_bytes_until_it_is_told_not_to(make: Make, pump: Pump) -> None:
    pair = make()
    called = 0

    def on_writable() -> None:
        nonlocal called
        called += 1
        if called == 3:
            pump.when_writable(pair.sock, None)

    pump.when_writable(pair.sock, on_writable)
    await wait_all_tasks_blocked()
    assert (called, pair.calls) == (3, 0)
    pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    assert (called, pair.read) == (3, b"a")


async def test_writing_waits_for_room_and_does_not_mind_a_pause(make: Make, pump: Pump) -> None:
    pair = make()
    with suppress(BlockingIOError):
        while True:
            pair.sock.send(b"x" * 100_000)
    called = 0

    def on_writable() -> None:
        nonlocal called
        called += 1
        pump.when_writable(pair.sock, None)

    pump.pause(pair.sock)
    pump.when_writable(pair.sock, on_writable)
    pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    assert (called, pair.calls) == (0, 0)
    with suppress(BlockingIOError):
        while True:
            pair.peer.recv(100_000)
    await wait_all_tasks_blocked()
    assert (called, pair.calls) == (1, 0)
    pump.resume(pair.sock)
    await wait_all_tasks_blocked()
    assert pair.read == b"a"


async def test_a_socket_that_is_removed_while_it_writes(make: Make, pump: Pump) -> None:
    pair = make()
    called = 0

    def on_writable() -> None:
        nonlocal called
        called += 1
        pair.forget()

    pump.when_writable(pair.sock, on_writable)
    await wait_all_tasks_blocked()
    assert called == 1
    pump.when_writable(pair.sock, on_writable)
    await wait_all_tasks_blocked()
    assert called == 1


async def test_a_writer_that_raises_ends_only_its_own_watch(make: Make, pump: Pump, logged: list[EventDict]) -> None:
    pair, other = make(), make()

    def fail() -> None:
        raise ZeroDivisionError

    pump.when_writable(pair.sock, fail)
    await wait_all_tasks_blocked()
    other.peer.send(b"b")
    await wait_all_tasks_blocked()
    assert other.read == b"b"
    assert [entry["event"] for entry in logged] == ["pump_callback_failed"]


# Removing


async def test_a_removed_socket_is_left_alone(make: Make) -> None:
    pair = make()
    pair.peer.send(b"a")
    pair.forget()
    await wait_all_tasks_blocked()
    assert pair.calls == 0


async def test_removing_itself_inside_the_callback(make: Make) -> None:
    pair, other = make(), make()
    pair.then = pair.forget
    pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    assert (pair.calls, pair.read) == (1, b"a")
    other.peer.send(b"b")
    await wait_all_tasks_blocked()
    assert other.read == b"b"


async def test_removing_another_that_is_ready_too(make: Make) -> None:
    one, two = make(), make()
    one.then = lambda: two.close() if two.sock.fileno() >= 0 else None
    two.then = lambda: one.close() if one.sock.fileno() >= 0 else None
    for pair in (one, two):
        pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    assert one.calls + two.calls == 1


async def test_a_number_that_is_used_again_belongs_to_the_new_socket(make: Make) -> None:
    for _ in range(5):
        old = make()
        number = old.sock.fileno()
        old.peer.send(b"old")
        old.close()
        new = make()
        assert new.sock.fileno() == number
        new.peer.send(b"new")
        await wait_all_tasks_blocked()
        assert (old.calls, new.read) == (0, b"new")
        new.close()


async def test_adding_inside_a_callback(make: Make) -> None:
    added: list[Pair] = []

    def add() -> None:
        added.append(make())
        added[-1].peer.send(b"x")

    pair = make(add)
    pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    assert [new.read for new in added] == [b"x"]


# What goes wrong


async def test_a_callback_that_raises_ends_only_its_own_watch(make: Make, logged: list[EventDict]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    pair, other = make(fail), make()
    pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    pair.peer.send(b"b")
    other.peer.send(b"c")
    await wait_all_tasks_blocked()
    assert (pair.calls, other.read) == (1, b"c")
    assert [entry["event"] for entry in logged] == ["pump_callback_failed"]


async def test_a_callback_that_removes_itself_and_then_raises(make: Make, logged: list[EventDict]) -> None:
    pair, other = make(), make()

    def fail() -> None:
        pair.forget()
        raise ZeroDivisionError

    pair.then = fail
    pair.peer.send(b"a")
    await wait_all_tasks_blocked()
    other.peer.send(b"b")
    await wait_all_tasks_blocked()
    assert other.read == b"b"
    assert len(logged) == 1


@pytest.mark.parametrize("kind", [EpollPump, TaskPump])
async def test_removing_after_the_pump_has_stopped(kind: Callable[[], Pump]) -> None:
    pump = kind()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await wait_all_tasks_blocked()
        pair = Pair(pump)
        nursery.cancel_scope.cancel()
    pump.pause(pair.sock)
    pair.close()


async def test_the_task_pump_must_run_first() -> None:
    pair = socket.socketpair()
    with pytest.raises(RuntimeError, match="not running"):
        TaskPump().add(pair[0], lambda: None)
    for sock in pair:
        sock.close()


def test_the_best_pump_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_pump(), EpollPump if hasattr(select, "epoll") else TaskPump)
    monkeypatch.delattr(select, "epoll", raising=False)
    assert isinstance(open_pump(), TaskPump)
