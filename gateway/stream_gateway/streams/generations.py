"""Generations: the one thing that the server asks for answers."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from stream_gateway.engines.engine import Entry
from stream_gateway.guard.principal import Principal
from stream_gateway.observe.meters import GOOD, error_type
from stream_gateway.streams.producer import Generate
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.generation import Generation
from stream_gateway.upstream.provider import ProviderFailed, Reply
from stream_gateway.upstream.routing.router import Router
from stream_protocols.errors import StreamProtocolError
from stream_protocols.events import Record
from stream_protocols.request import Lease, Request


class Generations:
    """Turns requests into streams, or into whole replies. Who answers, after how many attempts, is decided below."""

    def __init__(self, registry: Registry, router: Router) -> None:
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
            Overloaded: there is no memory for another stream.
        """
        route = self._router.find(request.model)
        generation = Generation(request, route, conversation)
        stream = self._registry.create(
            request.model,
            owner=principal.id,
            dialect=generation.dialect,
            lease=lease,
            key=key,
            asked=asked,
            echo=echo,
            name=name,
            request=request if generation.continuable else None,
            conversation=conversation,
            route=route.name,
        )
        stream.attempts = generation.attempts
        return stream, partial(self._registry.start, stream, generation.run)

    def revive(self, entry: Entry, records: Sequence[Record]) -> Generate | None:
        """What goes on with an answer that another gateway has begun and left at these records; None: nothing can."""
        if entry.request is None:
            return None
        try:
            generation = Generation(entry.request, self._router.find(entry.request.model), entry.conversation)
        except StreamProtocolError:  # its route is configured otherwise now
            return None
        if entry.dialect != generation.dialect or not generation.take_up(records):
            return None

        def generate(stream: Stream) -> Awaitable[None]:
            stream.attempts = generation.attempts
            return generation.run(stream)

        return generate

    async def complete(self, request: Request, principal: Principal, *, conversation: str | None = None) -> Reply:
        """The whole answer at once. Cancelling it ends it at the provider.

        Raises:
            UnknownModel, InvalidField: nobody here answers that.
            ProviderFailed: there is no answer.
        """
        route = self._router.find(request.model)
        meter, began = self._registry.meters.route(route.name), trio.current_time()
        error = "cancelled"
        try:
            reply = await Generation(request, route, conversation).complete()
            error = GOOD
        except ProviderFailed as failed:
            error = error_type(failed.failure)
            raise
        finally:
            meter.duration(error).observe(trio.current_time() - began)
        return reply
