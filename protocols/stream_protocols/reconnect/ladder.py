"""Which transport to take: the best one that works, and now and then whether a better one works again."""

import enum
from collections.abc import Sequence
from typing import Final

EARLY_LIMIT: Final = 3
"""Connections in a row that end before anything came, and then the transport is to blame and not the network."""

RETRY_BETTER: Final = 60.0
MAX_RETRY_BETTER: Final = 1800.0
"""Seconds until a better transport is tried again, the first time and at most; they double with each vain try."""


class Blame(enum.Enum):
    """What a failure says of the transport."""

    NETWORK = "nothing: the peer cannot be reached at all, or the connection was good before"
    EARLY = "perhaps something: the connection ended, or stayed silent, before anything came"
    TRANSPORT = "it is refused here: by a proxy, or by a server that does not have it"


class Ladder:
    """The transports of one client, best first; all its streams share what they learn.

    Args:
        rungs: the names of the transports, best first; at least one.
    """

    def __init__(self, rungs: Sequence[str], *, retry_better: float = RETRY_BETTER) -> None:
        self._rungs = list(rungs)
        self._at = 0
        self._early = 0
        self._first_wait = self._wait = retry_better
        self._since = 0.0  # when the better one was last given up, or tried
        self._trying = False

    @property
    def current(self) -> str:
        """The transport that is taken while nothing else is tried."""
        return self._rungs[self._at]

    def choose(self, now: float) -> str:
        """The transport for a connection that is to be made now.

        When the time has come, one caller gets a better one to try, while the others keep to the one that works.
        """
        if not self._at:
            return self.current
        self._since = min(self._since, now)
        if now - self._since < self._wait:
            return self.current
        self._since = now
        self._trying = True
        return self._rungs[self._at - 1]

    def worked(self, rung: str) -> None:
        """Something came over this transport."""
        place = self._rungs.index(rung)
        if place < self._at:
            self._at, self._wait, self._trying = place, self._first_wait, False
        if place == self._at:
            self._early = 0

    def failed(self, rung: str, blame: Blame, now: float) -> bool:
        """A connection over this transport failed; whether it is another's turn now."""
        place = self._rungs.index(rung)
        if place < self._at:
            if self._trying:
                self._trying, self._since = False, now
                self._wait = min(self._wait * 2, MAX_RETRY_BETTER)
            return True
        if place > self._at or blame is Blame.NETWORK:
            return False
        self._early += 1
        if place + 1 == len(self._rungs) or (blame is Blame.EARLY and self._early < EARLY_LIMIT):
            return False
        self._at, self._early, self._since = place + 1, 0, now
        return True
