"""A carrier: one connection's worth of one stream. When it is lost another one goes on after the same cursor."""

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple, Protocol

from stream_gateway.client.errors import ClientError
from stream_protocols.cursor import Gap
from stream_protocols.events import NativeEvent
from stream_protocols.reconnect import Blame


class Lost(Exception):
    """A connection is gone, or did not come about; trying again may help.

    Attributes:
        reason: why, in words that can follow a colon.
        blame: what that says of the transport; None if somebody else has taken note of it already.
        after: seconds that the server asks to wait at least.
    """

    def __init__(self, reason: str, blame: Blame | None = Blame.NETWORK, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.blame = blame
        self.after = after


def again(failure: Lost | ClientError) -> Lost | ClientError:
    """A failure for one more stream that shared what failed: each raises an exception of its own."""
    return Lost(failure.reason, failure.blame, after=failure.after) if isinstance(failure, Lost) else copy(failure)


class Batch(NamedTuple):
    """What came at once.

    `events` with their cursors; None stands for an event of a type that we do not know. `gap`: what is missing before
    them. `ended`: nothing follows.
    """

    events: Sequence[tuple[str, NativeEvent | None]] = ()
    gap: Gap | None = None
    ended: bool = False


class Carrier(Protocol):
    """What brings a stream."""

    gap: Gap | None
    """What the gateway cannot replay, when it says so at the beginning."""

    retry: float | None
    """Seconds that the gateway wants us to wait before we come back (SSE's `retry:`), if it has said so."""

    async def receive(self) -> Batch:
        """Wait for more; possibly nothing but a sign of life.

        Raises:
            Lost: come back.
            ClientError: do not.
        """

    @property
    def dead(self) -> bool:
        """Whether it is of no further use, because a `receive` was cancelled in the middle."""

    def leave(self) -> None:
        """Give it up; the rest happens in the background. May be called twice."""
