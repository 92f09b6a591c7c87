"""Hang-ups: who leaves is noticed at once, whatever it has left unread behind it."""

import select
import socket
from collections.abc import Callable, Iterator

import pytest
import trio
from structlog.typing import EventDict
from trio.testing import wait_all_tasks_blocked

from stream_gateway.server.hangups import EpollHangups, Hangups, PollingHangups, open_hangups

pytestmark = pytest.mark.deadline(1000)

Clock = trio.testing.MockClock


class Pair:
    """A watched connection."""

    def __init__(self, hangups: Hangups) -> None:
        self.sock, self.peer = socket.socketpair()
        self.sock.setblocking(False)
        self.calls = 0
        self.then: Callable[[], None] | None = None
        self.hangups = hangups
        hangups.add(self.sock, self.on_hangup)

    def on_hangup(self) -> None:
        self.calls += 1
        if self.then is not None:
            self.then()

    def close(self) -> None:
        self.hangups.remove(self.sock)
        self.sock.close()
        self.peer.close()


@pytest.fixture(params=[EpollHangups, PollingHangups])
def hangups(request: pytest.FixtureRequest, nursery: trio.Nursery) -> Hangups:
    """Either kind, running."""
    hangups: Hangups = request.param()
    nursery.start_soon(hangups.run)
    return hangups


Make = Callable[[], Pair]


@pytest.fixture
def make(hangups: Hangups) -> Iterator[Make]:
    pairs: list[Pair] = []

    def make() -> Pair:
        pairs.append(Pair(hangups))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


async def a_moment() -> None:
    """Long enough for either kind."""
    await trio.sleep(1)
    await wait_all_tasks_blocked()


async def test_who_leaves_is_noticed_once(make: Make, autojump_clock: Clock) -> None:
    leaver, stayer = make(), make()
    await a_moment()
    assert leaver.calls == 0
    leaver.peer.close()
    await a_moment()
    await a_moment()
    assert (leaver.calls, stayer.calls) == (1, 0)


async def test_who_says_that_nothing_more_comes_has_hung_up(make: Make, autojump_clock: Clock) -> None:
    pair = make()
    pair.peer.shutdown(socket.SHUT_WR)
    await a_moment()
    assert pair.calls == 1


async def test_what_is_sent_is_no_hangup_and_is_not_taken(make: Make, autojump_clock: Clock) -> None:
    pair = make()
    pair.peer.send(b"pipelined")
    await a_moment()
    assert pair.calls == 0
    assert pair.sock.recv(100) == b"pipelined"


async def test_who_is_not_watched_any_more_may_leave(make: Make, hangups: Hangups, autojump_clock: Clock) -> None:
    pair = make()
    hangups.remove(pair.sock)
    hangups.remove(pair.sock)
    pair.peer.close()
    await a_moment()
    assert pair.calls == 0


async def test_removing_itself_and_others_while_it_is_told(make: Make, autojump_clock: Clock) -> None:
    one, two = make(), make()
    one.then, two.then = two.close, one.close
    one.peer.close()
    two.peer.close()
    await a_moment()
    assert one.calls + two.calls >= 1
    third = make()
    third.peer.close()
    await a_moment()
    assert third.calls == 1


async def test_a_callback_that_fails_concerns_one_connection(
    make: Make, logged: list[EventDict], autojump_clock: Clock
) -> None:
    bad, good = make(), make()

    def fail() -> None:
        raise ZeroDivisionError

    bad.then = fail
    bad.peer.close()
    await a_moment()
    good.peer.close()
    await a_moment()
    assert good.calls == 1
    assert [entry["event"] for entry in logged] == ["hangup_failed"]


async def test_after_it_has_stopped_removing_is_nothing() -> None:
    for kind in (EpollHangups, PollingHangups):
        hangups: Hangups = kind()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hangups.run)
            await wait_all_tasks_blocked()
            pair = Pair(hangups)
            nursery.cancel_scope.cancel()
        pair.close()


def test_the_best_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_hangups(), EpollHangups if hasattr(select, "epoll") else PollingHangups)
    monkeypatch.delattr(select, "epoll", raising=False)
    assert isinstance(open_hangups(), PollingHangups)
