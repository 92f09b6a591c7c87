"""Meters: what is counted while the gateway works. Everything else is read from what exists when somebody asks.

Each has a place on a hot path, so each is a plain attribute. Names of models are those of routes, which the operator
chose; what clients write makes no meter of its own.
"""

import collections
from typing import Final

import msgspec

from stream_gateway.observe.histogram import BETWEEN_CHUNKS, FIRST_TOKEN, PER_TOKEN, SECONDS, TOKENS, Histogram
from stream_protocols.events import StreamFailed, StreamFinished, Terminal

MAX_MISHAPS: Final = 100
"""Recent errors that are remembered, for people to look at."""

GOOD: Final = ""
"""The error type of what went well."""

_STATUSES: Final = frozenset({401, 403, 404, 408, 409, 413, 429, 499, 500, 502, 503, 504, 529})


class Mishap(msgspec.Struct, frozen=True):
    """Something that went wrong with a provider or a stream: which, never what was said. `time` is Unix time."""

    time: float
    route: str
    code: str
    target: str | None = None
    stream: str | None = None


class RouteMeter:
    """What happened to the streams of one public model name.

    Attributes:
        first_token: seconds from a stream's creation to its first content.
        between_chunks: seconds between two appends, from the first content on.
        per_token: seconds of an output token after the first, of whole answers whose tokens were told.
        durations: seconds of whole requests, by the type of their error.
        ended: streams by how they ended.
        created, events, merged, resumes, left, lagged: how many streams, records, records that became part of another
            one's chunk, cursors that came back, clients that left before the end, and clients that were let go.
        gaps: by their reasons.
        pauses, paused_for: how often, and for how many seconds, providers had to wait for room.
    """

    __slots__ = (
        "between_chunks",
        "created",
        "durations",
        "ended",
        "events",
        "first_token",
        "gaps",
        "lagged",
        "left",
        "merged",
        "paused_for",
        "pauses",
        "per_token",
        "resumes",
    )

    def __init__(self) -> None:
        self.first_token = Histogram(FIRST_TOKEN)
        self.between_chunks = Histogram(BETWEEN_CHUNKS)
        self.per_token = Histogram(PER_TOKEN)
        self.durations: dict[str, Histogram] = {}
        self.ended: collections.Counter[str] = collections.Counter()
        self.gaps: collections.Counter[str] = collections.Counter()
        self.created = self.events = self.merged = self.resumes = self.left = self.lagged = self.pauses = 0
        self.paused_for = 0.0

    def duration(self, error: str) -> Histogram:
        """The histogram for requests that ended with this type of error."""
        histogram = self.durations.get(error)
        if histogram is None:
            histogram = self.durations[error] = Histogram(SECONDS)
        return histogram


class TargetMeter:
    """What attempts at one target were like: seconds to the first chunk and in all, tokens in and out."""

    __slots__ = ("duration", "first_chunk", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.first_chunk = Histogram(FIRST_TOKEN)
        self.duration = Histogram(SECONDS)
        self.input_tokens = Histogram(TOKENS)
        self.output_tokens = Histogram(TOKENS)


class Meters:
    """All meters of a gateway.

    Args:
        exemplars: whether histograms of streams remember one stream a bucket.

    Attributes:
        routes: by public model name.
        connections_ended: connections by why they ended.
        reloads: of the configuration, by whether they worked.
        mishaps: the most recent ones, oldest first.
    """

    def __init__(self, *, exemplars: bool = False) -> None:
        self.exemplars = exemplars
        self.routes: dict[str, RouteMeter] = {}
        self.connections_ended: collections.Counter[str] = collections.Counter()
        self.reloads: collections.Counter[str] = collections.Counter()
        self.mishaps: collections.deque[Mishap] = collections.deque(maxlen=MAX_MISHAPS)

    def route(self, name: str) -> RouteMeter:
        """The meter of a route; names that no route has must not come here."""
        meter = self.routes.get(name)
        if meter is None:
            meter = self.routes[name] = RouteMeter()
        return meter

    def observe(self, histogram: Histogram, value: float, stream: str) -> None:
        """Count a value that was seen at a stream."""
        if self.exemplars:
            histogram.exemplify(value, stream)
        else:
            histogram.observe(value)


def error_type(end: Terminal) -> str:
    """How an end is counted: one of a few words, whatever providers say."""
    if isinstance(end, StreamFailed):
        return str(end.status) if end.status in _STATUSES else f"{end.status // 100}xx"
    return GOOD if isinstance(end, StreamFinished) else "cancelled"
