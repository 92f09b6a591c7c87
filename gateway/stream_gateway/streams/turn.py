"""A turn: what several streams have to say in one run of plain calls leaves in one send.

A connection that carries many streams must not send once for each of them. Whoever is about to write for
several (the pump for a batch of sockets, a stream for its subscribers) makes a turn of it; a connection asks to
be flushed when the turn is over. Outside a turn it is flushed at once.
"""

from collections.abc import Callable

import structlog

_log = structlog.get_logger()


class Turn:
    """Use it as a context manager, around calls that do not wait. Turns nest; the outermost one counts."""

    __slots__ = ("_depth", "_due")

    def __init__(self) -> None:
        self._depth = 0
        self._due: dict[Callable[[], None], None] = {}

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1
        if self._due and not self._depth:
            self._end()

    def defer(self, function: Callable[[], None]) -> None:
        """Call the function once at the end of the turn, however often it is deferred; at once outside of one."""
        if self._depth:
            self._due[function] = None
        else:
            function()

    def _end(self) -> None:
        due, self._due = self._due, {}
        for function in due:
            try:
                function()
            except Exception:  # it is not the fault of whoever happens to end the turn
                _log.exception("end_of_turn_failed")
