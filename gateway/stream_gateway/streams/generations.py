"""Generations: the one thing that the server asks for answers."""

from collections.abc import Callable
from functools import partial

from stream_gateway.guard.principal import Principal
from stream_gateway.guard.quotas import Quotas
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.spending import spent_on
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.generation import Generation
from stream_gateway.upstream.provider import Reply
from stream_gateway.upstream.routing.router import Router
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
    ) -> tuple[Stream, Callable[[], None]]:
        """A new stream for a request, and the function that starts its producer.

        Args:
            principal: who asks, and whose it will be.
            lease, key, asked, echo: see `Registry.create`.
            conversation: see `Generation`.

        Raises:
            UnknownModel, InvalidField: nobody here answers that.
            TooManyRequests: the principal has used up what they may have.
            Overloaded: there is no memory for another stream.
        """
        generation = Generation(request, self._router.find(request.model), conversation)
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
            )
        except BaseException:
            bill.settle(0)
            raise
        stream.bill = bill
        stream.attempts = generation.attempts
        return stream, partial(self._registry.start, stream, generation.run)

    async def complete(self, request: Request, principal: Principal, *, conversation: str | None = None) -> Reply:
        """The whole answer at once. Cancelling it ends it at the provider.

        Raises:
            UnknownModel, InvalidField: nobody here answers that.
            TooManyRequests: the principal has used up what they may have.
            ProviderFailed: there is no answer.
        """
        generation = Generation(request, self._router.find(request.model), conversation)
        bill = self.quotas.generation(principal, len(request.body))
        tokens, characters = None, 0
        try:
            reply = await generation.complete()
            tokens, characters = spent_on([*reply.events, *([] if reply.usage is None else [reply.usage])])
            characters = characters or len(reply.body or b"")
        finally:
            bill.settle(tokens, characters)
        return reply
