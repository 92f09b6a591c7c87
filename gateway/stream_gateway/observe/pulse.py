"""A stream's pulse: when its records came. The one thing that is measured for each append."""

import time
from collections.abc import Sequence
from typing import Final

from stream_gateway.observe.meters import Meters, Mishap, RouteMeter, error_type
from stream_gateway.observe.tracing import parent
from stream_protocols.events import (
    TERMINAL,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    Terminal,
    TextDelta,
    ToolCallDelta,
    Usage,
)

SHARE: Final = 0.1
"""What the newest gap counts for in the usual one: about the last ten appends say what is usual."""

_CONTENT: Final = frozenset({TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta})


class Pulse:
    """Belongs to one stream. Times are Trio's, in seconds; only `began` is Unix time.

    Args:
        meters, route: where it counts; without a route, nowhere that anybody sees.
        ours: whether the stream is produced here. One that is stored, or produced by another node, counts there.

    Attributes:
        meter: for what happens between the stream and its clients.
        born: when the stream was made.
        first: when its first content came; None before.
        last: when something came last.
        gap: the usual time between two appends; 0 while nobody knows.
        usage: the tokens that were told last.
        parent: the span that whoever asked for the stream has named, if any.
    """

    __slots__ = (
        "_meters",
        "_produced",
        "_stream",
        "began",
        "born",
        "ended",
        "first",
        "gap",
        "last",
        "meter",
        "parent",
        "route",
        "usage",
    )

    def __init__(self, meters: Meters, route: str | None, stream: str, now: float, *, ours: bool = True) -> None:
        self.meter = RouteMeter() if route is None else meters.route(route)
        self._produced = self.meter if ours else RouteMeter()
        self._produced.created += 1
        self.began = time.time()
        self.born = self.last = now
        self.ended: float | None = None
        self.first: float | None = None
        self.gap = 0.0
        self.usage: Usage | None = None
        self.parent = parent()
        self.route = route
        self._meters = meters
        self._stream = stream

    def take_over(self, now: float) -> None:
        """From now on the stream is produced here: for what is counted, it begins anew."""
        self._produced = self.meter
        self._produced.created += 1
        self.born, self.first, self.gap = now, None, 0.0

    @property
    def seen(self) -> bool:
        """Whether the stream is an answer to somebody, rather than one of the gateway's own."""
        return self.route is not None

    def beat(self, records: Sequence[Record], now: float) -> None:
        """Records were appended."""
        gap, self.last = now - self.last, now
        meter = self._produced
        meter.events += len(records)
        if self.first is not None:
            self.gap += (gap - self.gap) * SHARE if self.gap else gap
            meter.between_chunks.observe(gap)
        if len(records) != 1 or type(records[0][0]) is not TextDelta or self.first is None:
            self._look(records, now)

    def _look(self, records: Sequence[Record], now: float) -> None:
        """What is not the next piece of text, as nearly every append is."""
        for event, _ in records:
            if self.first is None and type(event) in _CONTENT:
                self.first = now
                self._meters.observe(self._produced.first_token, now - self.born, self._stream)
            if isinstance(event, Usage):
                self.usage = event
            elif isinstance(event, TERMINAL):
                self._end(event, now)

    def _end(self, end: Terminal, now: float) -> None:
        self.ended = now
        meter, error = self._produced, error_type(end)
        if isinstance(end, StreamFinished):
            tokens = 0 if self.usage is None else self.usage.output_tokens
            if self.first is not None and tokens > 1:
                self._meters.observe(meter.per_token, (now - self.first) / (tokens - 1), self._stream)
        elif isinstance(end, StreamFailed) and self.route is not None and meter is self.meter:
            self._meters.mishaps.append(Mishap(time.time(), self.route, error, stream=self._stream))
        self._meters.observe(meter.duration(error), now - self.born, self._stream)
        meter.ended[_outcome(end)] += 1


def _outcome(end: Terminal) -> str:
    if isinstance(end, StreamCancelled):
        return f"cancelled_{end.reason}"
    return "finished" if isinstance(end, StreamFinished) else "failed"
