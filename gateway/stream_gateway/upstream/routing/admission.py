"""Admission: how many attempts a target serves at once, and who waits for a place."""

import collections
from collections.abc import Callable


class Ticket:
    """A place in a queue.

    Attributes:
        admitted: whether it has become a place at the target; whoever holds the ticket owns that then.
    """

    __slots__ = ("_wake", "admitted")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.admitted = False
        self._wake = wake

    def admit(self) -> None:
        """Its turn has come."""
        self.admitted = True
        self._wake()


class Admission:
    """Counts the places at one target; first come, first served.

    Args:
        limit: places; None for no limit.
        queue: how many may wait.
    """

    def __init__(self, limit: int | None = None, queue: int = 0) -> None:
        self.in_flight = 0
        self._limit = limit
        self._queue = queue
        self._waiting: collections.OrderedDict[Ticket, None] = collections.OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def free(self) -> bool:
        """Whether there is a place that nobody waits for."""
        return self._limit is None or (self.in_flight < self._limit and not self._waiting)

    @property
    def queues(self) -> bool:
        """Whether one more may wait."""
        return len(self._waiting) < self._queue

    @property
    def open(self) -> bool:
        """Whether there is a place, or one in the queue."""
        return self.free or self.queues

    def take(self) -> None:
        """Take a place; only when `free`."""
        self.in_flight += 1

    def wait(self, wake: Callable[[], None]) -> Ticket:
        """Wait for a place; only when it `queues`. `wake` is called when it has come."""
        ticket = Ticket(wake)
        self._waiting[ticket] = None
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Wait no longer; give the place back if it has come meanwhile."""
        if ticket.admitted:
            self.release()
        else:
            self._waiting.pop(ticket, None)

    def release(self) -> None:
        """A place is free: it goes to whoever waits longest."""
        if self._waiting:
            ticket, _ = self._waiting.popitem(last=False)
            ticket.admit()
        else:
            self.in_flight -= 1
