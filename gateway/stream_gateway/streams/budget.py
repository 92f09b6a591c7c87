"""The byte budget of all logs in this process's memory."""


class Budget:
    """Counts bytes.

    Args:
        limit: bytes that all logs together may take.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether it is used up."""
        return self.used >= self.limit

    def account(self, delta: int) -> None:
        """A log grew or, with a negative number, shrank."""
        self.used += delta
