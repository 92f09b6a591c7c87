"""A route: a public model name's targets, and what is decided about each generation's next attempt."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

import msgspec

from stream_gateway.config import RouteSettings, TimeoutSettings
from stream_gateway.upstream.routing.budget import Budget
from stream_gateway.upstream.routing.latency import Quantiles
from stream_gateway.upstream.routing.retry import backoff
from stream_gateway.upstream.routing.strategies import STRATEGIES, by_rendezvous
from stream_gateway.upstream.routing.target import Target

RETRY_AFTER: Final = 1.0
"""Seconds that a client should wait at least when all targets are busy: places come free all the time."""

HEDGE_RESERVE: Final = 1.0
"""Hedges that may be saved up: unlike a retry, nothing is lost without one."""


class Wish(msgspec.Struct):
    """What a generation wants of its next attempt.

    Attributes:
        needs: capabilities that the target must have.
        conversation: where the route is sticky, what has to stay at one target.
        tried: targets that it was at; others come first.
    """

    needs: frozenset[str] = frozenset()
    conversation: str | None = None
    tried: set[Target] = msgspec.field(default_factory=set)


class Pick(msgspec.Struct, frozen=True):
    """A target; `queued`: there is no free place, but one may wait for it."""

    target: Target
    queued: bool = False


class Route:
    """Chooses targets, and keeps the budgets of retries and hedges.

    Args:
        name: the public model name.
        targets: at least one.
        timeouts: its own, and the default's where it has none.
        chance: decides what nothing else does.
    """

    def __init__(
        self,
        name: str,
        targets: Sequence[Target],
        settings: RouteSettings,
        timeouts: TimeoutSettings,
        chance: Random,
    ) -> None:
        self.name = name
        self.targets = targets
        self.settings = settings
        self.timeouts = timeouts
        self.retries = Budget(settings.retries.budget)
        hedge = settings.hedge
        self.hedges = None if hedge is None else Budget(hedge.budget, HEDGE_RESERVE, refill=0.0)
        self.first_tokens = Quantiles()
        self._strategy = STRATEGIES[settings.strategy]
        self._chance = chance
        self._groups = _by_priority(targets)
        # Where there is no other place to go, leaving it alone would only refuse what may well succeed.
        self._only = targets[0] if len(targets) == 1 and targets[0].weight else None
        self.selective = any(target.declares for target in targets)

    @property
    def dialect(self) -> str | None:
        """The dialect of the bytes that its streams hold: that of its first choice."""
        return self._groups[0][0].provider.dialect

    def count(self) -> None:
        """A request came."""
        self.retries.deposit()
        if self.hedges is not None:
            self.hedges.deposit()

    def offers(self, needs: frozenset[str]) -> bool:
        """Whether any target, well or not, has these capabilities."""
        return any(target.weight and target.can(needs) for target in self.targets)

    def pick(self, wish: Wish, now: float, *, full: Iterable[Target] = (), again: bool = True) -> Pick | None:
        """The target of the next attempt; None when nobody can take it now.

        Args:
            full: targets whose queues were waited in for too long.
            again: whether targets that were tried may be, when no other is left.
        """
        only = self._only
        if only is not None:
            if (wish.tried and not again) or only in full or not only.can(wish.needs):
                return None
            return self._from([only], wish, now)
        able = [target for target in self._able(wish, now) if target not in full]
        fresh = self._from_groups([t for t in able if t not in wish.tried], wish, now)
        if fresh is None and again:
            return self._from_groups([t for t in able if t in wish.tried], wish, now)
        return fresh

    def _able(self, wish: Wish, now: float) -> list[Target]:
        """Targets that could serve a wish, if they have a place."""
        return [target for target in self.targets if target.ready(now) and target.can(wish.needs)]

    def _from_groups(self, able: list[Target], wish: Wish, now: float) -> Pick | None:
        """From the best priority that has a place, or a place in a queue."""
        for group in self._groups:
            members = [target for target in group if target in able]
            if members and (pick := self._from(members, wish, now)) is not None:
                return pick
        return None

    def _from(self, members: list[Target], wish: Wish, now: float) -> Pick | None:
        """From targets of one priority."""
        if wish.conversation is not None:
            for target in by_rendezvous(members, wish.conversation):
                if target.admission.open:
                    return Pick(target, not target.admission.free)
            return None
        free = [target for target in members if target.admission.free]
        if free:
            return Pick(free[0] if len(free) == 1 else self._strategy(free, now, self._chance))
        queues = [target for target in members if target.admission.queues]
        return Pick(min(queues, key=lambda target: target.admission.waiting), queued=True) if queues else None

    def admits(self, target: Target, now: float) -> bool:
        """Whether an attempt that has waited for its place should still begin."""
        return target is self._only or target.ready(now)

    def pick_hedge(self, wish: Wish, now: float) -> Target | None:
        """A target for a second attempt beside the first, if the budget has one; nobody waits for that."""
        pick = self.pick(wish, now, again=False)
        if pick is None or pick.queued or self.hedges is None or not self.hedges.take(now):
            return None
        return pick.target

    def hedge_delay(self) -> float | None:
        """Seconds without a first token after which a hedge is due; None when there is to be none."""
        hedge = self.settings.hedge
        return None if hedge is None else self.first_tokens.quantile(hedge.quantile)

    def pause(self, wish: Wish, retry: int, asked: float | None, now: float) -> float | None:
        """Seconds before the next attempt, or None when none is worth its wait.

        None at all if there is another target; else as long as jitter says, and as the last one asked.

        Args:
            retry: number of the retry, from 0.
            asked: the seconds of the last attempt's `Retry-After`.
        """
        if any(target.admission.open for target in self._able(wish, now) if target not in wish.tried):
            return 0.0
        rules = self.settings.retries
        jitter = backoff(retry, rules.backoff, rules.max_backoff, self._chance.random())
        if self._only is not None:
            pause = max(asked or 0.0, jitter)
            return pause if pause <= rules.max_wait else None
        soonest = min((t.ready_in(now) for t in self.targets if t.weight and t.can(wish.needs)), default=None)
        if soonest is None or soonest > rules.max_wait:
            return None
        return max(soonest, jitter)

    def ready_in(self, needs: frozenset[str], now: float) -> float:
        """Seconds after which a client that was refused should come back."""
        waits = [target.ready_in(now) for target in self.targets if target.weight and target.can(needs)]
        return max(min(waits, default=0.0), RETRY_AFTER)


def _by_priority(targets: Sequence[Target]) -> list[list[Target]]:
    """Groups of equal priority, the best (lowest) first; those that are never chosen are in none."""
    chosen = [target for target in targets if target.weight] or list(targets)
    return [[t for t in chosen if t.priority == level] for level in sorted({t.priority for t in chosen})]
