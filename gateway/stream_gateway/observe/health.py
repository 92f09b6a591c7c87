"""A stream's health: one word and the reason for it, from the facts alone.

The first that holds counts:

    lagging      the provider waits, because clients do not keep up
    recovering   an attempt failed, and another one has not answered yet
    stalled      nothing has come for far too long
    slow         nothing has come for a while, or what comes is slow
    lagging      somebody is far behind
    flowing      none of these
"""

from enum import StrEnum
from typing import Final

import msgspec

FIRST_SLOW: Final = 5.0
"""Seconds without a first token after which a stream counts as slow, and below as stalled: models may think first."""

FIRST_STALLED: Final = 30.0

SLOW: Final = 2.0
"""Seconds of silence in an answer that are never slow by themselves; nor are less than `UNUSUAL` usual gaps."""

STALLED: Final = 10.0

UNUSUAL: Final = 10.0
"""How many times the usual gap a silence has to last, to be one."""

SLOW_GAP: Final = 1.0
"""Seconds between two chunks that are slow even where they are usual."""

FAR: Final = 64
"""Events: who is so far behind lags. Fewer are on their way at any time."""


class State(StrEnum):
    """How a running stream is."""

    FLOWING = "flowing"
    SLOW = "slow"
    STALLED = "stalled"
    LAGGING = "lagging"
    RECOVERING = "recovering"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a running stream's health depends on. Times are of one steady clock, in seconds.

    Attributes:
        born, first, last: when it was made, had its first content, and had anything.
        gap: the usual time between two chunks; 0 when nobody knows.
        paused_since: since when its provider has waited for room; None when it does not.
        clients, behind: subscriptions, and those that are `FAR` behind.
        lag: events that the last of them has not been given.
        attempt: number of the newest attempt at a provider, from 1.
        failed: how the one before failed, if the newest was made because it did, and has not answered yet.
    """

    born: float
    first: float | None = None
    last: float = 0.0
    gap: float = 0.0
    paused_since: float | None = None
    clients: int = 0
    behind: int = 0
    lag: int = 0
    attempt: int = 1
    failed: str | None = None


class Health(msgspec.Struct, frozen=True):
    """A state, and why it is that one, for people."""

    state: State
    reason: str


def health(facts: Facts, now: float) -> Health:
    """How a running stream is."""
    if facts.paused_since is not None:
        waited = _seconds(now - facts.paused_since)
        return Health(
            State.LAGGING, f"its provider has waited {waited} for {facts.behind or 'some'} of {_clients(facts.clients)}"
        )
    if facts.failed is not None:
        return Health(State.RECOVERING, f"attempt {facts.attempt} after {facts.failed}")
    silent = _of_first_token(facts, now) if facts.first is None else _of_chunks(facts, now)
    if silent is not None:
        return silent
    if facts.behind:
        return Health(
            State.LAGGING, f"{facts.behind} of {_clients(facts.clients)} behind, the last by {facts.lag} events"
        )
    if facts.first is None:
        return Health(State.FLOWING, f"waits for its first token since {_seconds(now - facts.born)}")
    return Health(State.FLOWING, f"a chunk every {_seconds(facts.gap)}" if facts.gap else "has begun")


def _of_first_token(facts: Facts, now: float) -> Health | None:
    waited = now - facts.born
    if waited < FIRST_SLOW:
        return None
    state = State.STALLED if waited >= FIRST_STALLED else State.SLOW
    return Health(state, f"no first token for {_seconds(waited)}")


def _of_chunks(facts: Facts, now: float) -> Health | None:
    silence = now - facts.last
    usual = f"; usual are {_seconds(facts.gap)}" if facts.gap else ""
    for state, limit in ((State.STALLED, STALLED), (State.SLOW, SLOW)):
        if silence >= max(limit, UNUSUAL * facts.gap):
            return Health(state, f"nothing for {_seconds(silence)}{usual}")
    if facts.gap >= SLOW_GAP:
        return Health(State.SLOW, f"a chunk every {_seconds(facts.gap)}")
    return None


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
