"""Strategies: which of several targets gets the next attempt."""

import hashlib
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from stream_gateway.upstream.routing.target import Target

Strategy = Callable[[Sequence[Target], float, Random], Target]
"""Chooses one of at least one target, all of which may be used; the time and the source of chance are given."""

AS_FAST: Final = 1.2
"""Two targets whose scores differ by no more than this factor count as equally fast: times are noisy."""


def weighted(targets: Sequence[Target], now: float, chance: Random) -> Target:
    """In proportion to the weights, and evenly spread: smooth weighted round-robin, as in nginx."""
    for target in targets:
        target.turn += target.weight
    best = max(targets, key=lambda target: (target.turn, -target.cost))
    best.turn -= sum(target.weight for target in targets)
    return best


def least_in_flight(targets: Sequence[Target], now: float, chance: Random) -> Target:
    """Who has least to do for its weight; of equals the cheaper, then anyone."""
    return min(targets, key=lambda target: (target.in_flight / target.weight, target.cost, chance.random()))


def latency(targets: Sequence[Target], now: float, chance: Random) -> Target:
    """The better of two that chance picks: the shorter expected wait, or the cheaper of two as fast.

    Two choices are enough to keep away from the slow, and too few to make everybody run to the fastest at once.
    """
    one, other = _two(targets, chance)
    first, second = one.score(now), other.score(now)
    if max(first, second) <= min(first, second) * AS_FAST and one.cost != other.cost:
        return min(one, other, key=lambda target: target.cost)
    return one if first <= second else other


def _two(targets: Sequence[Target], chance: Random) -> tuple[Target, Target]:
    first = chance.randrange(len(targets))
    second = chance.randrange(len(targets) - 1) if len(targets) > 1 else 0
    return targets[first], targets[second + (second >= first and len(targets) > 1)]


STRATEGIES: Final[dict[str, Strategy]] = {
    "weighted": weighted,
    "least-in-flight": least_in_flight,
    "latency": latency,
}


def by_rendezvous(targets: Sequence[Target], key: str) -> list[Target]:
    """Targets in the order in which a conversation prefers them: weighted rendezvous hashing.

    The order depends on the key and the targets' names and weights alone. When a target goes, only its conversations
    move; when it comes back, only those return.
    """
    return sorted(targets, key=lambda target: _rank(target, key), reverse=True)


def _rank(target: Target, key: str) -> float:
    digest = hashlib.blake2b(f"{target.name}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # Strictly between 0 and 1, so that the logarithm is finite and not zero.
    return -target.weight / math.log((int.from_bytes(digest, "big") + 1) / (2**64 + 2))
