"""Cursors: a position in a stream's log, as text that clients give back without understanding it.

    stream.epoch.seq            after event `seq`; 0 is before the first one
    stream.epoch.seq.offset     and `offset` characters into event `seq + 1`, which was split

The text survives URLs, headers and CORS: at most 128 bytes of `A-Z a-z 0-9 . _ ~ -`, beyond which a
`Last-Event-ID` costs a preflight. A position has exactly one text, so equal positions are equal bytes.

Why the epoch. A log in memory is gone after a restart. Say a client has seen 40 events of stream `chat-7`,
the gateway restarts, and `chat-7` is generated anew: other words, now at event 60. "After 40" makes sense in
the new log too. The client would get events 41 to 60 of an answer whose beginning it never saw, glued to the
beginning of another one, and nobody would notice. Each log therefore draws an epoch when it is made, and a
number counts only within its epoch: a stale cursor is recognised, never misread.

A log may also *go on* under another epoch, when a gateway takes over what another one has left (see `Lives`). Say a
client has seen events 1 to 57, but only 1 to 50 had been stored when its gateway died. Whoever goes on writes events 51
to 57 anew, in other words. Up to 50 both epochs are the same, so a cursor from there is good in the new one, too; one
from beyond stands for words that are void, and its client is told so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import total_ordering
from typing import Final, Literal

from stream_protocols.errors import CursorFromFuture, CursorOfAnotherStream, InvalidCursor, LocalError

MAX_BYTES: Final = 128
"""Longer values of `Last-Event-ID` are not CORS-safelisted (Fetch §2.2.2)."""

MAX_NUMBER: Final = 2**53
"""The integers that JavaScript keeps apart; also bounds what a forged cursor makes us compute."""

Lives = Mapping[str, int]
"""The earlier epochs of a log, each with the last event of it that still stands."""

NO_LIVES: Final[Lives] = {}

MAX_NAMES: Final = MAX_BYTES - 2 * len(str(MAX_NUMBER)) - len("...")
"""Characters for stream id and epoch together, so that no position outgrows `MAX_BYTES`."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,15})"
_CURSOR: Final = re.compile(
    rf"(?P<stream>{_NAME.pattern})\.(?P<epoch>{_NAME.pattern})\.(?P<seq>{_NUMBER})(?:\.(?P<offset>(?!0){_NUMBER}))?"
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Position:
    """How much of a log was seen: all events up to `seq`, and `offset` characters (code points) of the next.

    Positions are ordered within an epoch. Across epochs they have no order, and comparing raises TypeError.
    """

    epoch: str
    seq: int
    offset: int = 0

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Position) or other.epoch != self.epoch:
            return NotImplemented
        return (self.seq, self.offset) < (other.seq, other.offset)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position, and the stream that it is a position in."""

    stream: str
    position: Position


@dataclass(frozen=True, slots=True)
class Gap:
    """What cannot be replayed to a client that comes back.

    Attributes:
        reason: `epoch`: its log is gone, or what it saw of it is void. `retention`: what it missed was dropped.
        missed: How many events are lost to it, one seen in part included; None when nobody can know.
        resume_seq: The `seq` from which it goes on: the next event it gets is `resume_seq + 1`.
    """

    reason: Literal["epoch", "retention"]
    missed: int | None
    resume_seq: int


def check_names(stream: str, epoch: str) -> None:
    """Make sure, once per log, that every cursor into it can be written; `format_cursor` trusts this.

    Raises:
        LocalError: A name is empty or outside `A-Za-z0-9_-`, or both are over `MAX_NAMES` characters.
    """
    for name in (stream, epoch):
        if not _NAME.fullmatch(name):
            raise LocalError(f"{name!r} cannot stand in a cursor: use one or more of A-Z a-z 0-9 _ -.")
    if len(stream) + len(epoch) > MAX_NAMES:
        raise LocalError(f"Stream id {stream!r} and epoch {epoch!r} exceed {MAX_NAMES} characters together.")


def format_cursor(stream: str, epoch: str, seq: int, offset: int = 0) -> str:
    """Write a cursor. Runs for every event sent, so it checks nothing (see `check_names`)."""
    if offset:
        return f"{stream}.{epoch}.{seq}.{offset}"
    return f"{stream}.{epoch}.{seq}"


def parse_cursor(text: str) -> Cursor:
    """Read a cursor.

    Raises:
        InvalidCursor: The text is not exactly what `format_cursor` writes.
    """
    # The length first: it bounds everything that follows, and what the message repeats of a stranger's text.
    match = _CURSOR.fullmatch(text) if len(text) <= MAX_BYTES else None
    if match is None:
        raise InvalidCursor(f"{text[:MAX_BYTES]!r} is no cursor of this gateway; send back one that it gave you.")
    seq, offset = int(match["seq"]), int(match["offset"] or 0)
    if seq > MAX_NUMBER or offset > MAX_NUMBER:
        raise InvalidCursor(f"The cursor {text!r} counts beyond {MAX_NUMBER}; send back one that we gave you.")
    return Cursor(match["stream"], Position(match["epoch"], seq, offset))


def check(cursor: Cursor, *, stream: str, epoch: str, head: int, oldest: int, lives: Lives = NO_LIVES) -> Gap | None:
    """Test whether a log can go on exactly where a client stopped.

    Args:
        cursor: Where the client says it stopped.
        stream: The stream it asks for.
        epoch: The log's epoch.
        head: `seq` of the newest event, 0 if there was none yet.
        oldest: `seq` of the oldest event still retained, `head + 1` if none is.
        lives: the log's earlier epochs.

    Returns:
        None when every event after the cursor can be replayed, else what cannot.

    Raises:
        CursorOfAnotherStream: The cursor belongs to another stream.
        CursorFromFuture: The cursor is beyond the head. (Whether its offset is inside its event, only who
            holds the event can tell.)
    """
    if cursor.stream != stream:
        raise CursorOfAnotherStream(f"The cursor belongs to stream {cursor.stream!r}, not to {stream!r}.")
    position = cursor.position
    begun = position.seq + (position.offset > 0)
    if position.epoch != epoch:
        stands = lives.get(position.epoch)
        if stands is None:
            return Gap("epoch", None, oldest - 1)
        if begun > stands:
            return Gap("epoch", None, max(stands, oldest - 1))
    elif begun > head:
        raise CursorFromFuture(
            f"The cursor points at event {begun}, but {stream!r} is at {head}; send one that we gave you."
        )
    if position.seq + 1 < oldest:
        return Gap("retention", oldest - 1 - position.seq, oldest - 1)
    return None
