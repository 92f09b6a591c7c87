"""Ctrl-C and SIGTERM, held back while a process is being started or stopped by half."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """Both signals raise `KeyboardInterrupt` in the main thread, at once or when no longer held."""

    def __init__(self) -> None:
        self._depth = 0
        self._waiting = False

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._waiting = True
        else:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._waiting and not self._depth:
                self._waiting = False
                raise KeyboardInterrupt


INTERRUPTS = Interrupts()
"""One for the process, as signals are."""
