"""A gate: what stands behind it goes on one step at a time, as the test lets it.

Stepping instead of sleeping is what makes a test of a live stream deterministic: the test knows what has been
produced because it has released exactly that much.
"""

from __future__ import annotations

import trio


class Gate:
    """Counts the steps that are allowed and not yet taken."""

    def __init__(self, steps: int = 0) -> None:
        self._steps = steps
        self._open = False
        self._changed = trio.Event()

    def release(self, steps: int = 1) -> None:
        """Allow `steps` more."""
        self._steps += steps
        self._wake()

    def open(self) -> None:
        """Allow everything, from now on."""
        self._open = True
        self._wake()

    async def take(self, most: int = 1) -> int:
        """Wait for at least one step, take up to `most` of them and return how many."""
        await trio.lowlevel.checkpoint()
        while not self._open and not self._steps:
            await self._changed.wait()
        if self._open:
            return most
        taken = min(most, self._steps)
        self._steps -= taken
        return taken

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
