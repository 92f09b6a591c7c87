"""Vitals: what can be told of streams when somebody asks; nothing of it is kept while nobody does."""

import heapq
from collections.abc import Iterable
from typing import Final

from stream_gateway.observe.health import FAR, Facts, Health, State, health
from stream_gateway.observe.meters import GOOD, error_type
from stream_gateway.observe.statistics import Laggard, StreamStatistics, Survey
from stream_gateway.observe.tracing import Story, Try
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.attempt import AttemptStatus
from stream_protocols.events import StreamFinished

TOP: Final = 10
"""Laggards that a survey names."""

_AGAIN: Final = ("retry", "continue")


def facts_of(stream: Stream) -> Facts:
    """What a running stream's health depends on."""
    pulse, head = stream.pulse, stream.log.head
    lags = [head - follower.position for follower in stream.followers]
    attempts = stream.attempts
    newest = attempts[-1] if attempts else None
    number, failed = len(attempts), None
    if newest is not None and newest.outcome == "failed":
        number, failed = number + 1, newest.code
    elif newest is not None and number > 1 and newest.first_token is None and newest.kind in _AGAIN:
        failed = attempts[-2].code
    return Facts(
        born=pulse.born,
        first=pulse.first,
        last=pulse.last,
        gap=pulse.gap,
        paused_since=stream.paused_since,
        clients=len(lags),
        behind=sum(lag >= FAR for lag in lags),
        lag=max(lags, default=0),
        attempt=number or 1,
        failed=failed,
    )


def health_of(stream: Stream, now: float) -> Health | None:
    """How a stream is; None when it has ended."""
    return None if stream.over else health(facts_of(stream), now)


def describe(stream: Stream, now: float) -> StreamStatistics:
    """A stream as operators see it."""
    pulse, log = stream.pulse, stream.log
    return StreamStatistics(
        id=stream.id,
        model=stream.source.model,
        status=stream.state,
        health=health_of(stream, now),
        age=round((pulse.ended or now) - pulse.born, 3),
        events=log.head,
        bytes=log.size,
        subscribers=stream.subscribers,
        lag=max((log.head - follower.position for follower in stream.followers), default=0),
        target=stream.attempts[-1].target if stream.attempts else None,
    )


def story_of(stream: Stream) -> Story:
    """What a stream that has been produced was like, for who traces."""
    pulse, end = stream.pulse, stream.terminal
    return Story(
        stream=stream.id,
        model=stream.source.model,
        route=pulse.route or stream.source.model,
        began=pulse.began,
        duration=(pulse.ended or pulse.last) - pulse.born,
        first_token=None if pulse.first is None else round(pulse.first - pulse.born, 6),
        error=GOOD if end is None else error_type(end),
        reason=end.reason if isinstance(end, StreamFinished) else None,
        usage=pulse.usage,
        parent=pulse.parent,
        tries=[_try(attempt) for attempt in stream.attempts],
    )


def _try(attempt: AttemptStatus) -> Try:
    provider, _, model = attempt.target.partition("/")
    error = attempt.code or "failed" if attempt.outcome == "failed" else GOOD
    return Try(
        provider=provider,
        model=model,
        kind=attempt.kind,
        began=attempt.started,
        duration=attempt.duration or 0.0,
        first_token=attempt.first_token,
        error="cancelled" if attempt.outcome == "cancelled" else error,
    )


def survey(streams: Iterable[Stream], now: float) -> Survey:
    """All running answers at once."""
    states = dict.fromkeys(map(str, State), 0)
    live = lagging = paused = 0
    behind = []
    for stream in streams:
        if stream.over or not stream.pulse.seen:
            continue
        states[health(facts_of(stream), now).state] += 1
        paused += stream.paused_since is not None
        head = stream.log.head
        for follower in stream.followers:
            live += follower.live
            lagging += not follower.live
            if follower.position < head:
                behind.append(Laggard(stream.id, stream.source.model, head - follower.position, follower.held_up))
    worst = heapq.nlargest(TOP, behind, key=_lag)
    return Survey(states, live, lagging, paused, tuple(worst))


def _lag(laggard: Laggard) -> int:
    return laggard.lag
