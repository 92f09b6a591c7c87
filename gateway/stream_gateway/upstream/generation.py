"""A generation: the attempts that are made until one request has its answer."""

import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, cast

import structlog
import trio

from stream_gateway.upstream.attempt import Attempt, AttemptStatus
from stream_gateway.upstream.continuation import Splice, Transcript, add_usage
from stream_gateway.upstream.placing import Placing
from stream_gateway.upstream.provider import Answer, ProviderFailed, Reply, failing
from stream_gateway.upstream.routing.retry import is_retriable, retry_after
from stream_gateway.upstream.routing.route import Route, Wish
from stream_gateway.upstream.routing.target import Kind, Place, label
from stream_gateway.upstream.sink import Silence
from stream_protocols.dialects.registry import continued, needs
from stream_protocols.errors import InvalidField, StreamProtocolError
from stream_protocols.events import Record, StreamFailed, Usage, failure, last_usage
from stream_protocols.request import Request

_log = structlog.get_logger()

INTERRUPTED: Final = StreamFailed("interrupted", "The gateway that produced this answer has ended; ask again.", 502)
"""How an answer ends that was left by its gateway, and with which nobody goes on."""

NOTHING: Final = frozenset[str]()


class Generation:
    """Places a request at its route's targets, one after the other or two at a time, until it is answered.

    Cancelling `run` or `complete` ends whatever is under way, at the provider too, and gives its place back.

    Attributes:
        dialect: that of the bytes beside the answer's records.
        attempts: what has been tried so far.

    Args:
        conversation: what the client calls the conversation that the request belongs to, if it does.

    Raises:
        InvalidField: no target of the route has the capabilities that the request needs.
    """

    def __init__(self, request: Request, route: Route, conversation: str | None = None) -> None:
        self.dialect = route.dialect
        self.attempts: list[AttemptStatus] = []
        self._request = request
        self._route = route
        wanted = needs(request) if route.selective else NOTHING
        if wanted and not route.offers(wanted):
            missing = " and ".join(sorted(wanted))
            raise InvalidField(
                f"No target of model {request.model[:128]!r} is configured for {missing}.", param="model"
            )
        belongs = (conversation or request.conversation_id) if route.settings.sticky else None
        self._placing = Placing(route, Wish(wanted, belongs))
        self._deadline = math.inf
        self._retries = 0
        self._reply: Reply | None = None
        self._racing: list[Attempt] = []
        self._opened = False
        # Of an answer that clients have seen some of:
        self._transcript = (
            Transcript() if route.settings.after_first_token == "continue" and request.choices == 1 else None
        )
        self._broken: Record | None = None
        self._spent: Usage | None = None

    @property
    def continuable(self) -> bool:
        """Whether the answer may be continued when it breaks off."""
        return self._transcript is not None

    def take_up(self, records: Sequence[Record]) -> bool:
        """Go on with an answer of which clients have been shown these records, by a gateway that is gone.

        False: that is not possible; then there is nothing to `run`.
        """
        if self._transcript is None:
            return False
        if not records:  # nobody has been shown anything
            return True
        self._transcript.note(records)
        self._broken = (INTERRUPTED, None)
        self._opened = True
        self._spent = last_usage(event for event, _ in records)
        return self._can_continue()

    def run(self, answer: Answer) -> Coroutine[Any, Any, None]:
        """Append to an answer until it is over. The result must be awaited.

        Where a target has a place at once, it is asked when this is called (see `Provider.stream`).
        """
        self._start()
        place = self._placing.at_once(self._kind)
        return self._finish(answer, None if place is None else self._attempt(place, answer))

    async def _finish(self, answer: Answer, first: Attempt | None) -> None:
        async def attempt(place: Place) -> Record | None:
            begun = first is not None and place is first.place
            return await self._stream(first if first is not None and begun else self._attempt(place, answer), answer)

        try:
            failed = await self._pursue(attempt, answer, None if first is None else first.place)
        finally:
            answer.valve = None  # an answer is kept for long after what fed it
        if failed is not None:
            answer.extend([failed])

    async def complete(self) -> Reply:
        """The whole answer at once.

        Raises:
            ProviderFailed: there is none.
        """
        self._start()
        failed = await self._pursue(self._complete, None, self._placing.at_once(self._kind))
        if self._reply is None:
            raise ProviderFailed(cast(StreamFailed, cast(Record, failed)[0]))
        return self._reply

    # ---- one attempt after the other

    def _start(self) -> None:
        self._deadline = trio.current_time() + (self._route.timeouts.total or math.inf)
        self._route.count()

    async def _pursue(
        self, attempt: Callable[[Place], Awaitable[Record | None]], answer: Answer | None, place: Place | None
    ) -> Record | None:
        """Make attempts, the first at `place` if there is one; None, or the failure that the client is to see."""
        failed: Record | None = None
        while place or (place := await self._placing.wait(self._kind, self._deadline)):
            failed = await attempt(place)
            if failed is None:
                return None
            self._placing.wish.tried.add(place.target)
            place = None
            if not await self._may_go_on(cast(StreamFailed, failed[0])):
                break
            self._retries += 1
            if self._broken is not None and answer is not None:
                await answer.flowing()
        return self._broken or failed or (self._placing.refusal(self._request.model), None)

    @property
    def _kind(self) -> Kind:
        if self._broken is not None:
            return "continue"
        return "retry" if self._retries else "first"

    async def _may_go_on(self, failure: StreamFailed) -> bool:
        """Whether another attempt is allowed, and worth it; when so, after the pause that it needs."""
        rules = self._route.settings.retries
        if self._retries + 1 >= rules.attempts or not is_retriable(failure):
            return False
        if self._broken is not None and not self._can_continue():
            return False
        now = trio.current_time()
        pause = self._route.pause(self._placing.wish, self._retries, retry_after(failure, time.time()), now)
        if pause is None or now + pause >= self._deadline or not self._route.retries.take(now):
            return False
        _log.info("retrying", route=self._route.name, code=label(failure), pause=round(pause, 3))
        if pause:
            await trio.sleep(pause)
        return True

    def _can_continue(self) -> bool:
        if self._transcript is None or not self._transcript.open:
            return False
        if self._transcript.text:
            self._placing.wish.needs |= {"continue"}
        return self._route.offers(self._placing.wish.needs)

    # ---- a streamed answer

    async def _stream(self, attempt: Attempt, answer: Answer) -> Record | None:
        """One attempt, and another beside it if a hedge is due; None, or how the last of them failed."""
        delay = self._route.hedge_delay() if self._broken is None else None
        if delay is None:
            await self._run(attempt)
        else:
            attempt = await self._race(attempt, answer, delay)
        self._opened = self._opened or attempt.opened
        if attempt.failed is not None and (attempt.shown or self._broken is not None):
            self._broken = self._broken or attempt.failed
            self._spent = add_usage(self._spent, attempt.usage)
            answer.valve = None
        return attempt.failed

    def _attempt(self, place: Place, answer: Answer, kind: Kind | None = None) -> Attempt:
        timeouts = self._route.timeouts
        splice = None
        if self._broken is not None and self._transcript is not None:
            splice = Splice(self._transcript.text, self._spent, label(cast(StreamFailed, self._broken[0])))
        elif self._opened:
            splice = Splice("", None, None)
        first_token = trio.current_time() + (timeouts.first_token or math.inf)
        attempt = Attempt(
            answer,
            place,
            self._status(place, kind or self._kind),
            deadline=min(self._deadline, first_token),
            raw=place.target.provider.dialect == self.dialect,
            hold=len(self._route.targets) > 1,
            # Before the first token there is a deadline for that; the transport shall not be less patient.
            silence=Silence(timeouts.first_token) if timeouts.first_token or timeouts.between_tokens else None,
            transcript=self._transcript,
            splice=splice,
            began=self._began,
        )
        attempt.rest = self._ask(attempt)
        return attempt

    def _ask(self, attempt: Attempt) -> Awaitable[None]:
        """Ask the provider; what is left to do is awaited by `_run`."""
        request, target = self._request, attempt.place.target
        try:
            if self._broken is not None and self._transcript is not None:
                request = continued(request, self._transcript.text)
            return target.provider.stream(request, target.model(request.model), attempt)
        except Exception as error:
            return failing(error)

    def _status(self, place: Place, kind: Kind) -> AttemptStatus:
        status = AttemptStatus(place.target.name, kind, time.time())
        self.attempts.append(status)
        return status

    async def _run(self, attempt: Attempt) -> None:
        """Make an attempt; whatever happens, it is accounted for and its place given back."""
        try:
            with attempt.scope:
                await attempt.rest
            if not attempt.over:
                attempt.fail(self._too_slow(attempt) if attempt.scope.cancelled_caught else _TRUNCATED)
        except StreamProtocolError as error:
            if not attempt.over:
                attempt.fail(failure(error))
        finally:
            failed = None if attempt.failed is None else cast(StreamFailed, attempt.failed[0])
            self._account(attempt.place, attempt.status, attempt.finished, failed, attempt.usage)
            attempt.give_up()
            if attempt.settled is not None:
                attempt.settled.set()

    def _began(self, attempt: Attempt) -> None:
        """An attempt has content: from here on it is the only one."""
        if attempt.scope.deadline < self._deadline:
            attempt.scope.deadline = self._deadline
        if attempt.silence is not None:
            attempt.silence.set(self._route.timeouts.between_tokens)
        took = attempt.place.first_token(trio.current_time())
        attempt.status.first_token = round(took, 4)
        if self._route.hedges is not None:
            self._route.first_tokens.observe(took)
        if attempt.settled is not None:
            attempt.settled.set()
        for rival in self._racing:
            if rival is not attempt:
                rival.give_up()

    async def _race(self, first: Attempt, answer: Answer, delay: float) -> Attempt:
        """Make an attempt, and a second one when the first is late; returns the one that counts."""
        first.settled = trio.Event()
        self._racing = [first]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, first)
            with trio.move_on_after(delay):
                await first.settled.wait()
            if not first.settled.is_set() and (place := self._placing.beside(first.place.target)) is not None:
                hedge = self._attempt(place, answer, "hedge")
                self._racing.append(hedge)
                self._placing.wish.tried.add(place.target)
                nursery.start_soon(self._run, hedge)
        attempts, self._racing = self._racing, []
        return next((attempt for attempt in attempts if attempt.shown or attempt.finished), attempts[-1])

    def _too_slow(self, attempt: Attempt) -> StreamFailed:
        timeouts = self._route.timeouts
        if attempt.scope.deadline < self._deadline:
            message = f"The provider gave no first token within {timeouts.first_token:g} seconds."
        else:
            message = f"The answer was not whole within {timeouts.total:g} seconds."
        return StreamFailed("upstream_timeout", message, 504, "timeout_error")

    # ---- an answer that is not streamed

    async def _complete(self, place: Place) -> Record | None:
        """One attempt; None, or how it failed."""
        target, request = place.target, self._request
        status = self._status(place, self._kind)
        failed: StreamFailed | None = None
        try:
            with trio.CancelScope(deadline=self._deadline) as scope:
                self._reply = await target.provider.complete(request, target.model(request.model))
            if scope.cancelled_caught:
                message = f"The answer was not whole within {self._route.timeouts.total:g} seconds."
                failed = StreamFailed("upstream_timeout", message, 504, "timeout_error")
        except ProviderFailed as error:
            failed = error.failure
        except StreamProtocolError as error:
            failed = failure(error)
        finally:
            usage = None if self._reply is None else self._reply.usage
            self._account(place, status, self._reply is not None, failed, usage)
        return None if failed is None else (failed, None)

    def _account(
        self, place: Place, status: AttemptStatus, finished: bool, failure: StreamFailed | None, usage: Usage | None
    ) -> None:
        """An attempt has ended: in its target's books, and in its stream's."""
        now = trio.current_time()
        if finished:
            status.outcome = "finished"
            place.succeed(usage, now)
        elif failure is not None:
            status.outcome, status.code = "failed", label(failure)
            place.fail(failure, usage, retry_after(failure, time.time()), now)
        else:
            status.outcome = "cancelled"
            place.cancel(usage, now)
        status.duration = round(time.time() - status.started, 4)


_TRUNCATED = StreamFailed("upstream_truncated", "The provider ended the stream before the answer was whole.", 502)
