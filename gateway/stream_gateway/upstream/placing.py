"""Placing: where the next attempt of one generation is made, and the wait for it."""

import math

import trio

from stream_gateway.upstream.routing.route import Route, Wish
from stream_gateway.upstream.routing.target import Kind, Place, Target
from stream_protocols.events import StreamFailed


class Placing:
    """Finds places at a route's targets. Whoever is given one owns it, and must end it.

    Attributes:
        wish: what the generation wants of a target, and where it has been.
    """

    def __init__(self, route: Route, wish: Wish) -> None:
        self.wish = wish
        self._route = route

    def at_once(self, kind: Kind) -> Place | None:
        """A place at the best target, if that has one without waiting."""
        now = trio.current_time()
        pick = self._route.pick(self.wish, now)
        if pick is None or pick.queued:
            return None
        pick.target.admission.take()
        return Place(pick.target, kind, now)

    async def wait(self, kind: Kind, deadline: float) -> Place | None:
        """A place at the best target that has one, waiting for it if need be; None when there is none in time."""
        full: set[Target] = set()
        now = trio.current_time()
        until = min(now + self._route.settings.queue_timeout, deadline)
        while (pick := self._route.pick(self.wish, now, full=full)) is not None:
            target = pick.target
            if not pick.queued:
                target.admission.take()
                return Place(target, kind, now)
            ours = await _queue(target, until)
            now = trio.current_time()
            if ours and self._route.admits(target, now):
                return Place(target, kind, now)
            if ours:  # while we waited it has begun to fail
                target.admission.release()
            full.add(target)
        return None

    def beside(self, target: Target) -> Place | None:
        """A place for a hedge, somewhere else than at this target; nobody waits for that."""
        wish = Wish(self.wish.needs, self.wish.conversation, self.wish.tried | {target})
        now = trio.current_time()
        other = self._route.pick_hedge(wish, now)
        if other is None:
            return None
        other.admission.take()
        return Place(other, "hedge", now)

    def refusal(self, model: str) -> StreamFailed:
        """What a client hears when no target could be asked at all."""
        wait = math.ceil(self._route.ready_in(self.wish.needs, trio.current_time()))
        message = f"All targets of model {model[:128]!r} are busy or failing; try again later."
        return StreamFailed("overloaded", message, 503, "overloaded_error", retry_after=str(wait))


async def _queue(target: Target, until: float) -> bool:
    """Wait in a target's queue; whether a place there is ours now."""
    come = trio.Event()
    ticket = target.admission.wait(come.set)
    ours = False
    try:
        with trio.move_on_at(until):
            await come.wait()
        ours = ticket.admitted
        return ours
    finally:
        if not ours:
            target.admission.leave(ticket)
