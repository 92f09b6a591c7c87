"""Keepalive: exactly when the silence has lasted its interval, and only to clients who are waiting."""

import pytest
import trio

from stream_gateway.server.keepalive import Keepalive
from stream_gateway.streams.stream import Stream
from stream_gateway.streams.subscription import Subscription
from tests.gateway.streams.conftest import make_rig, rig
from tests.gateway.streams.outlet import SlowOutlet
from tests.gateway.streams.rig import Rig, native, texts

__all__ = ["make_rig", "rig"]

pytestmark = pytest.mark.deadline(10_000)

Clock = trio.testing.MockClock
INTERVAL = 15.0
SIGN = b":\n"


class TimedOutlet(SlowOutlet):
    """Notes when keepalives come."""

    def __init__(self) -> None:
        super().__init__()
        self.signs: list[float] = []

    def write_now(self, data: bytes) -> bool:
        if data == SIGN:
            self.signs.append(trio.current_time())
        return super().write_now(data)


class Watched:
    """A client that is kept alive until it leaves."""

    def __init__(self, stream: Stream, keepalive: Keepalive) -> None:
        self.stream = stream
        self.keepalive = keepalive
        self.outlet = TimedOutlet()
        self.scope = trio.CancelScope()
        self.began = trio.current_time()

    async def run(self, waited: float = 0.0, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with (
            self.scope,
            Subscription(self.stream, native(self.stream), self.outlet) as subscription,
            self.keepalive.watching(subscription, self.began - waited),
        ):
            task_status.started()
            await subscription.run()

    @property
    def times(self) -> list[float]:
        """When keepalives came, counted from the beginning."""
        return [sign - self.began for sign in self.outlet.signs]


@pytest.fixture
def keepalive(nursery: trio.Nursery) -> Keepalive:
    """A running one; the tests take the clock themselves, because only then it is theirs."""
    keepalive = Keepalive(INTERVAL)
    nursery.start_soon(keepalive.run)
    return keepalive


async def watched(rig: Rig, keepalive: Keepalive, waited: float = 0.0, *, started: bool = False) -> Watched:
    client = Watched(rig.stream(started=started), keepalive)
    await rig.nursery.start(client.run, waited)
    return client


async def test_silence_is_broken_again_and_again(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    client = await watched(rig, keepalive)
    await trio.sleep(4.5 * INTERVAL)
    assert client.times == pytest.approx([15, 30, 45, 60])


async def test_silence_counts_from_the_last_write(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    client = await watched(rig, keepalive)
    for pause in (1, 13, 20, 2):
        await trio.sleep(pause)
        client.stream.extend(texts(str(pause)))
    await trio.sleep(20)
    # Written at 1, 14, 34 and 36.
    assert client.times == pytest.approx([29, 51])


@pytest.mark.parametrize("last", [1.0, 7.0, 8.0, 14.9])
async def test_silence_is_never_longer_whenever_the_last_write_was(
    rig: Rig, keepalive: Keepalive, autojump_clock: Clock, last: float
) -> None:
    client = await watched(rig, keepalive)
    await trio.sleep(last)
    client.stream.extend(texts("a"))
    await trio.sleep(1.5 * INTERVAL)
    assert client.times == pytest.approx([last + INTERVAL])


async def test_steady_writing_needs_no_keepalive(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    client = await watched(rig, keepalive)
    for _ in range(100):
        await trio.sleep(INTERVAL - 0.1)
        client.stream.extend(texts("a"))
    assert client.times == []


async def test_silence_before_the_first_write_counts(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    client = await watched(rig, keepalive, waited=10)
    await trio.sleep(30)
    assert client.times == pytest.approx([5, 20])


async def test_who_has_waited_too_long_already_hears_at_once(
    rig: Rig, keepalive: Keepalive, autojump_clock: Clock
) -> None:
    client = await watched(rig, keepalive, waited=100)
    await trio.sleep(INTERVAL + 1)
    assert client.times == pytest.approx([0, 15], abs=0.001)


async def test_each_client_has_its_own_times(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    clients = []
    for _ in range(5):
        clients.append(await watched(rig, keepalive))
        await trio.sleep(4)
    await trio.sleep(20)
    assert all(client.times[:1] == pytest.approx([15]) for client in clients)


async def test_one_that_comes_later_but_is_due_earlier(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    await watched(rig, keepalive)
    await trio.sleep(1)
    early = await watched(rig, keepalive, waited=12)
    await trio.sleep(5)
    assert early.times == pytest.approx([3])


async def test_who_has_left_hears_nothing_more(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    leaver, stayer = await watched(rig, keepalive), await watched(rig, keepalive)
    await trio.sleep(16)
    leaver.scope.cancel()
    await trio.sleep(30)
    assert leaver.times == pytest.approx([15])
    assert stayer.times == pytest.approx([15, 30, 45])


async def test_who_lags_has_enough_to_read(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    client = await watched(rig, keepalive)
    client.outlet.room = 3
    client.stream.extend(texts("a"))
    await trio.sleep(10 * INTERVAL)
    assert client.times == []
    client.outlet.allow(float("inf"))
    await trio.sleep(INTERVAL)
    assert len(client.times) == 1
    assert b'"a"' in client.outlet.taken


async def test_one_that_breaks_is_nothing_to_the_others(rig: Rig, keepalive: Keepalive, autojump_clock: Clock) -> None:
    broken, good = await watched(rig, keepalive), await watched(rig, keepalive)
    # A client's own task is where its error belongs; here it is caught, as the server does.
    broken.outlet.error = BrokenPipeError()
    broken.scope.cancel()
    other = Watched(rig.stream(), keepalive)
    other.outlet.error = RuntimeError("a bug")

    async def run() -> None:
        with pytest.raises(RuntimeError, match="a bug"):
            await other.run()

    rig.nursery.start_soon(run)
    await trio.sleep(2 * INTERVAL + 1)
    assert good.times == pytest.approx([15, 30])


async def test_many_clients_that_came_and_went_leave_nothing(
    rig: Rig, keepalive: Keepalive, autojump_clock: Clock
) -> None:
    for _ in range(200):
        client = await watched(rig, keepalive)
        client.scope.cancel()
        await trio.sleep(0.01)
    await trio.sleep(INTERVAL)
    assert keepalive._heap == []
