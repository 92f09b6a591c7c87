"""Logs in this process's memory, under one byte budget; gone with the process."""

import secrets

from stream_gateway.streams.log import Log


class MemoryEngine:
    """Makes logs and counts their bytes.

    Args:
        budget: bytes that all logs together may take.

    Attributes:
        trouble: why no log can be kept right now; None: it can.
    """

    trouble: str | None = None

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether the budget is used up."""
        return self.used >= self.budget

    def create(self, stream: str) -> Log:
        """A new, empty log. Its epoch is random: no log of a former process had it."""
        return Log(stream, secrets.token_urlsafe(6))

    def account(self, delta: int) -> None:
        """A log grew or, with a negative number, shrank."""
        self.used += delta

    def drop(self, log: Log) -> None:
        """Forget a log and give its bytes back."""
        self.used -= log.size
