"""Visitors: who is at the other end of a connection that stays, as far as they have shown."""

import time
from collections.abc import Callable

from stream_gateway.guard.credentials import checked
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.principal import ANONYMOUS, NOBODY, Principal
from stream_protocols.errors import Forbidden, Unauthorized


class Visitor:
    """Somebody with a socket.

    Attributes:
        principal: who it is; nobody until they have shown something good.

    Args:
        principal: what the handshake has shown.
    """

    def __init__(self, guard: Guard, principal: Principal, address: str) -> None:
        self.principal = principal
        self._guard = guard
        self._address = address
        self._leave: Callable[[], None] | None = None

    def enter(self) -> None:
        """Their socket is open; `leave` has to follow.

        Raises:
            TooManyRequests: they have as many as they may.
        """
        if self._leave is None and self.principal is not NOBODY:
            self._leave = self._guard.quotas.socket(self.principal)

    def leave(self) -> None:
        """Their socket is closed."""
        if self._leave is not None:
            self._leave()
            self._leave = None

    def check(self) -> None:
        """Raise Unauthorized unless they are known, and what they have shown is still good."""
        if self.principal is NOBODY:
            raise Unauthorized('Nobody knows yet who you are; say {"type":"auth","token":…} first.')
        if self.principal.expires <= time.time():
            raise Unauthorized('What you have shown has expired; say {"type":"auth","token":…} with something newer.')

    def show(self, credential: str, *, final: bool = False) -> None:
        """They show something: who they are, or that they still are.

        Args:
            final: see `Guard.recognise`.

        Raises:
            Unauthorized, TooManyRequests, KeysPending: see `Guard.recognise`.
            Forbidden: it is somebody else's.
        """
        principal = self._guard.recognise(checked(credential), self._address, final=final)
        if principal.id != self.principal.id:
            if self.principal.id not in (NOBODY.id, ANONYMOUS.id):
                raise Forbidden("This socket is somebody else's already; open another one.")
            self.leave()
        self.principal = principal
        self.enter()

    async def settled(self) -> None:
        """Wait until nothing is pending any more."""
        await self._guard.settled()
