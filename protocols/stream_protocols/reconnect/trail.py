"""Where a reader is on its stream: what to resume after, what it has seen already, and what it will never see."""

from typing import NamedTuple

from stream_protocols.cursor import Cursor, Gap, parse_cursor
from stream_protocols.errors import InvalidCursor


class Admitted(NamedTuple):
    """An event is new; `gap` is what is missing right before it."""

    gap: Gap | None


_PLAIN = Admitted(None)


class Trail:
    """One reader's way through one stream.

    Numbers that are left out are no gap: events that mean nothing to a native client are numbered, and never sent.
    A gap is there when the gateway says so. Another epoch is one, too, unless it begins with a connection for which the
    gateway has been shown a cursor of the former one, and has said that nothing is missing.

    A gap is told together with the first event after it. If the connection is lost in between, the gateway says it
    again, perhaps larger, and the application shall hear of it once.

    Attributes:
        cursor: the position after the last event that was admitted; None before the first.
    """

    def __init__(self, cursor: str | None = None) -> None:
        self.cursor = cursor
        self._last = _parse(cursor)
        self._gap: Gap | None = None
        self._fresh = False

    def announce(self, gap: Gap | None) -> None:
        """A connection has begun, and the gateway says what it cannot replay, if anything."""
        self._gap = gap
        self._fresh = True

    def admit(self, cursor: str) -> Admitted | None:
        """Take the event that carries this cursor; None when it was taken before."""
        last, new = self._last, _parse(cursor)
        if self._seen(cursor, new):
            return None
        gap, self._gap = self._gap, None
        fresh, self._fresh = self._fresh, False
        self.cursor, self._last = cursor, new
        if last is None or new is None:
            return _PLAIN if gap is None else Admitted(gap)
        if last.position.epoch != new.position.epoch:
            if fresh and gap is None:
                return _PLAIN
            return Admitted(gap or Gap("epoch", None, new.position.seq - 1))
        if gap is None or gap.resume_seq <= last.position.seq:
            return _PLAIN  # nothing is missing between what was seen and what comes
        return Admitted(gap)

    def _seen(self, text: str, new: Cursor | None) -> bool:
        last = self._last
        if last is None or new is None or last.position.epoch != new.position.epoch:
            return text == self.cursor
        return new.position <= last.position


def _parse(text: str | None) -> Cursor | None:
    """A cursor; None for one of a form that a newer gateway may have, which is good for resuming all the same."""
    try:
        return None if text is None else parse_cursor(text)
    except InvalidCursor:
        return None
