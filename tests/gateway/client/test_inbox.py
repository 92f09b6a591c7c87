"""An inbox gives all that has come, in order, and no more than fits."""

from __future__ import annotations

import pytest
import trio

from stream_gateway.client.carrier import Lost
from stream_gateway.client.inbox import Inbox
from stream_protocols.commands import Created, Subscribed
from stream_protocols.events import TextDelta

HELLO = TextDelta("hello")


def test_what_comes_before_the_reply_is_of_another_subscription() -> None:
    """Else a hole would open between what was let fall of that one and what this one brings."""
    inbox = Inbox(lambda _: None, 1000)
    inbox.put("s.e.9", HELLO, 10)
    inbox.begin(Subscribed(1, "s", None))
    inbox.put("s.e.3", HELLO, 10)
    inbox.fail(Lost("over"))
    assert list(inbox._items) == [("s.e.3", HELLO)]


async def test_what_does_not_fit_is_left_to_the_gateway() -> None:
    inbox = Inbox(lambda _: None, 500)
    inbox.begin(Created(1, "s", "s.e.0"))
    for number in range(1, 100):
        inbox.put(f"s.e.{number}", HELLO, 50)
    batch = await inbox.receive()
    assert [cursor for cursor, _ in batch.events] == ["s.e.1", "s.e.2", "s.e.3"]
    with pytest.raises(Lost, match="slowly"):
        await inbox.receive()


async def test_a_stream_with_nothing_left() -> None:
    inbox = Inbox(lambda _: None, 500)
    inbox.begin(Subscribed(1, "s", None, ended=True))
    assert (await inbox.receive()).ended


async def test_a_wait_that_is_cancelled_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    inbox = Inbox(lambda _: None, 500)
    inbox.begin(Created(1, "s", "s.e.0"))
    with trio.move_on_after(1):
        await inbox.receive()
    inbox.put("s.e.1", HELLO, 5)
    assert (await inbox.receive()).events == [("s.e.1", HELLO)]
    assert not inbox.dead


def test_one_who_left_before_the_reply_is_forgotten_as_soon_as_there_is_something_to_forget() -> None:
    forgotten: list[str | None] = []
    inbox = Inbox(lambda inbox: forgotten.append(inbox.stream), 500)
    inbox.leave()
    inbox.leave()
    inbox.begin(Created(1, "s", "s.e.0"))
    assert forgotten == [None, "s"]
