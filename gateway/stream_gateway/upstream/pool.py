"""The pool: which request gets which connection, and when there should be another one.

Decisions only: nothing here waits, so no cancellation can come in between. Whoever is granted something owns it, and
must hand it back, by `released`, `failed` or `withdraw`.
"""

import collections
import enum
import math
from typing import Final

import httpx
import trio

from stream_gateway.upstream.http1.connection import Http1Connection
from stream_gateway.upstream.http2.connection import Http2Connection
from stream_gateway.upstream.http2.limits import ASSUMED_STREAMS

KEEP_IDLE: Final = 64
"""Idle connections kept for an origin: enough for a burst, without holding a provider's sockets for ever."""

Connection = Http1Connection | Http2Connection


class Member:
    """A connection, and what the pool knows of it.

    Attributes:
        requests: how many it serves, those included that are about to be sent on it.
        since: when it last became idle.
        rested: whether it has been idle, so that it may have been closed without our knowledge.
    """

    __slots__ = ("born", "connection", "requests", "rested", "since")

    def __init__(self, connection: Connection, requests: int, now: float) -> None:
        self.connection = connection
        self.requests = requests
        self.rested = not requests
        self.born = self.since = now

    @property
    def has_room(self) -> bool:
        """Whether one more request may be sent on it."""
        if isinstance(self.connection, Http2Connection):
            return self.requests < self.connection.streams
        return not self.requests


class Leave(enum.Enum):
    """What may be granted instead of a connection."""

    TO_CONNECT = "a place for a new connection, to be made by whoever is granted it"


class Ticket:
    """A request's claim on a connection; `granted` is None while it stands in the queue."""

    __slots__ = ("event", "granted")

    def __init__(self) -> None:
        self.granted: Member | Leave | httpx.TransportError | None = None
        self.event: trio.Event | None = None

    def grant(self, what: Member | Leave | httpx.TransportError) -> None:
        """Answer it, and wake who waits."""
        self.granted = what
        if self.event is not None:
            self.event.set()


class Pool:
    """Connections to one origin: those of HTTP/1.1 reused last-in first-out, so that few stay warm; those of HTTP/2
    filled one after the other.

    Args:
        maybe_http2: a new connection may carry many requests. Until it is known, those that come meanwhile wait for it
            instead of making connections of their own.
        keep: connections that are not closed for being idle.
    """

    def __init__(
        self, *, max_connections: int, maybe_http2: bool, idle_timeout: float, max_lifetime: float, keep: int = 0
    ) -> None:
        self.connecting = 0
        self.max_connections = max_connections
        self.requests = 0
        self.attention = trio.Event()  # something has changed for whoever evicts and prewarms
        self._idle_timeout = idle_timeout
        self._max_lifetime = max_lifetime
        self._keep = keep
        self._closed = False
        self._settling = self._unsettled = False
        self._look_again = math.inf  # when `evict` is called next
        self._expected = ASSUMED_STREAMS if maybe_http2 else 1  # what a new connection will carry
        self._members: dict[Connection, Member] = {}
        self._shared: list[Member] = []  # of HTTP/2, in the order in which they were made
        self._idle: collections.deque[Member] = collections.deque()  # of HTTP/1.1; who is idle longest stands first
        self._waiting: dict[Ticket, None] = {}

    # ---- what there is

    @property
    def size(self) -> int:
        """Connections, those included that are being made."""
        return len(self._members) + self.connecting

    @property
    def open(self) -> int:
        """Connections that are there."""
        return len(self._members)

    @property
    def idle(self) -> int:
        """Connections that serve nothing."""
        return len(self._idle) + sum(not member.requests for member in self._shared)

    @property
    def waiting(self) -> int:
        """Requests without a connection, and without leave to make one."""
        return len(self._waiting)

    # ---- requests

    def ask(self) -> Ticket:
        """Claim a connection for a request."""
        ticket = Ticket()
        self._waiting[ticket] = None
        self.settle()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Whoever asked has gone, maybe in the very moment in which it was granted something."""
        self._waiting.pop(ticket, None)
        if isinstance(ticket.granted, Member):
            self.released(ticket.granted)
        elif ticket.granted is Leave.TO_CONNECT:
            self.failed(None)

    def settle(self) -> None:
        """Grant what can be granted, first come first served."""
        self._unsettled = True
        if self._settling:
            return  # looking at a connection has shown that it is closed, for example; the loop below goes on
        self._settling = True
        try:
            while self._waiting and self._unsettled:
                self._unsettled = False
                if (grant := self._next()) is not None:
                    ticket = next(iter(self._waiting))
                    del self._waiting[ticket]
                    ticket.grant(grant)
                    self._unsettled = True
        finally:
            self._settling = False

    def _next(self) -> Member | Leave | None:
        now = trio.current_time()
        member = self._with_room(now) or self._at_rest(now)
        if member is not None:
            member.requests += 1
            self.requests += 1
            return member
        if self._may_connect():
            self.connecting += 1
            return Leave.TO_CONNECT
        return None

    def _with_room(self, now: float) -> Member | None:
        for member in tuple(self._shared):
            if now - member.born > self._max_lifetime:
                self._retire(member)
            elif member.has_room:
                # One that serves nothing may have been closed meanwhile; one that does would have told its requests.
                if not member.requests and not member.connection.is_at_rest():
                    continue
                if member.has_room:  # still, after what it may have said just now
                    return member
        return None

    def _at_rest(self, now: float) -> Member | None:
        while self._idle:
            member = self._idle.pop()
            if now - member.born <= self._max_lifetime and member.connection.is_at_rest():
                return member
            member.connection.close()
        return None

    @staticmethod
    def _retire(member: Member) -> None:
        if isinstance(member.connection, Http2Connection) and member.connection.streams:
            member.connection.retire()

    def _may_connect(self) -> bool:
        if self.size >= self.max_connections:
            return False
        if not self._expected:
            return not self.size  # the provider wants no requests; more connections would not change its mind
        # Those who are connecting are requests too.
        return self.connecting * self._expected < len(self._waiting) + self.connecting

    # ---- connections

    def reserve(self) -> bool:
        """Take a place for a connection that no request waits for; False when there is none."""
        if self.size >= self.max_connections:
            return False
        self.connecting += 1
        return True

    def opened(self, connection: Connection, *, requests: int) -> Member:
        """A place has become a connection, `requests` of its own on it already."""
        self.connecting -= 1
        self.requests += requests
        member = Member(connection, requests, trio.current_time())
        if connection.closed:  # already: whoever made it hears of that
            self.settle()
            return member
        self._members[connection] = member
        if isinstance(connection, Http2Connection):
            self._shared.append(member)
            self._expected = connection.streams
        else:
            self._expected = 1
            if not requests:
                self._idle.append(member)
        self.settle()
        return member

    @property
    def expected(self) -> int:
        """How many requests a new connection of HTTP/2 is taken to carry."""
        return self._expected if self._shared else ASSUMED_STREAMS

    def changed(self) -> None:
        """A provider has said how many requests a connection takes."""
        for member in reversed(self._shared):
            if isinstance(member.connection, Http2Connection) and not member.connection.leaving:
                self._expected = member.connection.streams
                break
        self.settle()

    def failed(self, error: httpx.TransportError | None) -> None:
        """A place has not become a connection; without an error its maker was cancelled."""
        self.connecting -= 1
        if error is not None and not self.size:
            # Who waits has waited for this, and trying for each of them in turn would only take longer.
            waiting, self._waiting = self._waiting, {}
            for ticket in waiting:
                ticket.grant(error)
        self.settle()

    def released(self, member: Member) -> None:
        """A request has ended, in whatever way."""
        member.requests -= 1
        self.requests -= 1
        member.rested = True
        connection = member.connection
        if not member.requests:
            member.since = trio.current_time()
            if connection.closed:
                self._members.pop(connection, None)
            elif self._closed:
                connection.close()
            elif isinstance(connection, Http1Connection):
                self._idle.append(member)
        self.settle()
        if len(self._idle) > max(KEEP_IDLE, self._keep):
            self._idle.popleft().connection.close()
        self._call_attention()

    def gone(self, connection: Connection) -> None:
        """A connection has closed, maybe while it was idle. Its place is free when its last request has ended."""
        member = self._members.get(connection)
        if member is None:
            return
        if member in self._shared:
            self._shared.remove(member)
        elif member in self._idle:
            self._idle.remove(member)
        if not member.requests:
            del self._members[connection]
            self.settle()
            self._call_attention()

    def _call_attention(self) -> None:
        if self._look_again == math.inf or self.size < self._keep:
            self.attention.set()

    # ---- idleness

    def evict(self, now: float) -> float:
        """Close what has been idle for too long; when to look again."""
        self._look_again = math.inf
        rest = sorted([*self._idle, *(member for member in self._shared if not member.requests)], key=_since)
        for member in rest:
            if len(self._members) <= self._keep:
                break
            if member.since + self._idle_timeout > now:
                self._look_again = member.since + self._idle_timeout
                break
            member.connection.close()
        return self._look_again

    def forget_idle(self) -> None:
        """Close all idle connections of HTTP/1.1: one that was idle for less time has turned out to be dead."""
        while self._idle:
            self._idle.popleft().connection.close()

    def close(self) -> None:
        """Close what is idle now, and the others as soon as their requests have ended."""
        self._closed = True
        self.forget_idle()
        for member in tuple(self._shared):
            if not member.requests:
                member.connection.close()


def _since(member: Member) -> float:
    return member.since
