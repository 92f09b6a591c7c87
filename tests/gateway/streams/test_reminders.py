"""Reminders: each is called when it is due, and again when it says so, until it is left."""

import pytest
import trio
from structlog.typing import EventDict

from stream_gateway.streams.reminders import Reminders

pytestmark = pytest.mark.deadline(10_000)

Clock = trio.testing.MockClock


@pytest.fixture
def reminders(nursery: trio.Nursery) -> Reminders:
    reminders = Reminders()
    nursery.start_soon(reminders.run)
    return reminders


class Calls:
    """Notes its times, and wants to be called again after `pause`."""

    def __init__(self, pause: float) -> None:
        self.began = trio.current_time()
        self.times: list[float] = []
        self.pause = pause

    def __call__(self) -> float:
        self.times.append(trio.current_time() - self.began)
        return trio.current_time() + self.pause


async def test_when_it_is_due_and_again_when_it_says(reminders: Reminders, autojump_clock: Clock) -> None:
    one, two = Calls(10), Calls(4)
    with reminders.remind(one.began + 5, one), reminders.remind(two.began + 3, two):
        await trio.sleep(16)
    assert one.times == pytest.approx([5, 15])
    assert two.times == pytest.approx([3, 7, 11, 15])
    await trio.sleep(100)
    assert (len(one.times), len(two.times)) == (2, 4)


async def test_one_that_comes_later_and_is_due_earlier(reminders: Reminders, autojump_clock: Clock) -> None:
    late, early = Calls(100), Calls(100)
    with reminders.remind(late.began + 50, late):
        await trio.sleep(1)
        with reminders.remind(early.began + 2, early):
            await trio.sleep(10)
    assert (late.times, early.times) == ([], pytest.approx([2]))


async def test_what_was_due_long_ago_is_called_at_once(reminders: Reminders, autojump_clock: Clock) -> None:
    calls = Calls(100)
    with reminders.remind(calls.began - 1000, calls):
        await trio.sleep(1)
    assert calls.times == pytest.approx([0], abs=0.001)


async def test_one_that_fails_ends_itself_only(
    reminders: Reminders, logged: list[EventDict], autojump_clock: Clock
) -> None:
    def fail() -> float:
        raise ZeroDivisionError

    good = Calls(10)
    with reminders.remind(good.began + 1, fail), reminders.remind(good.began + 5, good):
        await trio.sleep(30)
    assert good.times == pytest.approx([5, 15, 25])
    assert [entry["event"] for entry in logged] == ["reminder_failed"]


async def test_leaving_forgets_what_was_to_be_called(reminders: Reminders, autojump_clock: Clock) -> None:
    calls = Calls(10)
    reminder = reminders.remind(calls.began + 5, calls)
    with reminder:
        pass
    assert reminder.callback is None
    await trio.sleep(10)
    assert calls.times == []
