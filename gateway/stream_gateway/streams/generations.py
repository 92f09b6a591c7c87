"""Generations: the one thing that the server asks for answers."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import trio

from stream_gateway.engines.engine import Entry
from stream_gateway.guard.principal import Principal
from stream_gateway.guard.quotas import Quotas
from stream_gateway.observe.meters import GOOD, error_type
from stream_gateway.streams.producer import Generate
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.spending import spent_on
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.generation import Generation
from stream_gateway.upstream.provider import ProviderFailed, Reply
from stream_gateway.upstream.routing.router import Router
from stream_protocols.errors import StreamProtocolError
from stream_protocols.events import Record
from stream_protocols.request import Lease, Request


class Generations:
    """Turns requests into streams, or into whole replies. Who answers, after how many attempts, is decided below.

    Attributes:
        quotas: what those who ask have used.
    """

    def __init__(self, registry: Registry, router: Router, quotas: Quotas | None = None) -> None:
        self.quotas = Quotas() if quotas is None else quotas  # an empty one is false
        self._registry = registry
        self._router = router

    def models(self) -> list[str]:
        """The names that clients can ask for."""
        return self._router.models()

    def create(
        self,
        request: Request,
        principal: Principal,
        *,
        lease: Lease | None = None,
        key: str | None = None,
        asked: bytes = b"",
        conversation: str | None = None,
        echo: bytes = b"",
        name: str | None = None,
    ) -> tuple[Stream, Callable[[], None]]:
        """A new stream for a request, and the function that starts its producer.

        Args:
            principal: who asks, and whose it will be.
            lease, key, asked, echo, name: see `Registry.create`.
            conversation: see `Generation`.

        Raises:
            UnknownModel, InvalidField: nobody here answers that.
            TooManyRequests: the principal has used up what they may have.
            Overloaded: there is no memory for another stream.
        """
        route = self._router.find(request.model)
        generation = Generation(request, route, conversation)
        bill = self.quotas.generation(principal, len(request.body))
        try:
            stream = self._registry.create(
                request.model,
                owner=principal.id,
                dialect=generation.dialect,
                lease=lease,
                key=key,
                asked=asked,
                echo=echo,
                route=route.name,
                name=name,
                request=request if generation.continuable else None,
                conversation=conversation,
            )
        except BaseException:
            bill.settle(0)
            raise
        stream.bill = bill
        stream.attempts = generation.attempts
        return stream, partial(self._registry.start, stream, partial(self._run, generation, len(request.body)))

    def _run(self, generation: Generation, size: int, stream: Stream) -> Coroutine[Any, Any, None]:
        """Run a generation, whose request is kept until its end."""
        rest = generation.run(stream)
        self._registry.hold(size)
        return self._finish(rest, size)

    async def _finish(self, rest: Awaitable[None], size: int) -> None:
        try:
            await rest
        finally:
            self._registry.let_go(size)

    def revive(self, entry: Entry, records: Sequence[Record]) -> Generate | None:
        """What goes on with an answer that another gateway has begun and left at these records; None: nothing can."""
        request = entry.request
        if request is None:
            return None
        try:
            generation = Generation(request, self._router.find(request.model), entry.conversation)
        except StreamProtocolError:  # its route is configured otherwise now
            return None
        if entry.dialect != generation.dialect or not generation.take_up(records):
            return None

        def generate(stream: Stream) -> Awaitable[None]:
            stream.attempts = generation.attempts
            return self._run(generation, len(request.body), stream)

        return generate

    async def complete(self, request: Request, principal: Principal, *, conversation: str | None = None) -> Reply:
        """The whole answer at once. Cancelling it ends it at the provider.

        Raises:
            UnknownModel, InvalidField: nobody here answers that.
            TooManyRequests: the principal has used up what they may have.
            ProviderFailed: there is no answer.
            Overloaded: there is no memory for another request.
        """
        route = self._router.find(request.model)
        generation, size = Generation(request, route, conversation), len(request.body)
        self._registry.check_room()
        bill = self.quotas.generation(principal, size)
        meter, began = self._registry.meters.route(route.name), trio.current_time()
        error, tokens, characters = "cancelled", None, 0
        self._registry.hold(size)
        try:
            reply = await generation.complete()
            error = GOOD
            tokens, characters = spent_on([*reply.events, *([] if reply.usage is None else [reply.usage])])
            characters = characters or len(reply.body or b"")
        except ProviderFailed as failed:
            error = error_type(failed.failure)
            raise
        finally:
            bill.settle(tokens, characters)
            self._registry.let_go(size)
            meter.duration(error).observe(trio.current_time() - began)
        return reply
