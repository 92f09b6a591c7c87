"""An exchange: one HTTP request and its response, whatever the HTTP version. Routes are written against it."""

import abc
import email.utils
import re
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import trio

from stream_gateway.guard.principal import NOBODY, Principal
from stream_gateway.server.sockets.wire import Serve
from stream_gateway.streams.follower import Outlet
from stream_gateway.streams.subscription import Welcome
from stream_protocols.errors import BadRequest

_ABSOLUTE: Final = re.compile(r"https?://[^/?]*", re.IGNORECASE)
"""What an absolute-form target (RFC 9112 §3.2.2) has before its path: which host was meant makes no difference."""

HeaderList = list[tuple[str, str]]

MAX_PARAMETERS: Final = 100
"""Of a query string: each costs a little, and we know two."""


class BodyOutlet(Outlet, Protocol):
    """The body of a streamed response. Its head leaves with the first write, or when `begin` is called."""

    @property
    def welcome(self) -> Welcome | None:
        """How to ask how much is wanted (see `Subscription`), None where that is not known."""

    def begin(self) -> None:
        """Send the head now, if it has not left.

        Raises:
            OSError: the client is gone.
        """

    async def finish(self) -> None:
        """End the body properly. Without it the client sees that it was cut off."""


def never() -> bool:
    """No."""
    return False


class Exchange(abc.ABC):
    """One request, and the means to answer it once.

    Attributes:
        method, path: of the request; the path without its query, percent-decoded.
        headers: names in lower case; repeated ones joined by commas (RFC 9110 §5.3).
        peer: the client's address.
        principal: who asks, once that is known.
        began: when the request was accepted, in Trio's time.
        common: headers that every response to this request carries.
        root: what clients have to put before our paths, where we are a part of somebody's server.
    """

    principal: Principal = NOBODY
    root = ""

    def __init__(self, method: str, target: str, headers: Sequence[tuple[bytes, bytes]], peer: str) -> None:
        if not target.startswith("/"):
            target = _ABSOLUTE.sub("", target)
        path, _, query = target.partition("?")
        self.method = method
        self.peer = peer
        self.path = urllib.parse.unquote(path) if "%" in path else path
        self.headers: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.began = trio.current_time()
        self.common: HeaderList = []
        self._query = query

    def query(self, name: str) -> str | None:
        """A parameter of the query string, None when it is not there; the first of several.

        Raises:
            BadRequest: there are more than anybody needs.
        """
        try:
            values = urllib.parse.parse_qs(self._query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise BadRequest(f"The query string has more than {MAX_PARAMETERS} parameters.") from None
        return values.get(name, [None])[0]

    def be_last(self) -> None:
        """Take no other request on this connection, where that can be said with the response."""
        return

    @property
    @abc.abstractmethod
    def answered(self) -> bool:
        """Whether a response has begun."""

    @abc.abstractmethod
    async def read_body(self) -> bytes:
        """The whole request body.

        Raises:
            BodyTooLarge, RequestTimeout, BadRequest: it is over the limit, too slow, or broken.
        """

    @abc.abstractmethod
    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """Send a whole response. HEAD gets the same without the body.

        Raises:
            OSError: the client is gone.
        """

    @abc.abstractmethod
    def open(self, status: int, headers: HeaderList, *, unless: Callable[[], bool] = never) -> BodyOutlet:
        """Prepare a streamed response; the body goes into the outlet.

        Nothing waits here, so that nothing can happen between looking at a stream and following it. Until the
        head has left, `respond` may still be used instead.

        Args:
            unless: asked before the head leaves with a first write; when it says so, that write is refused.
        """

    @abc.abstractmethod
    async def upgrade(self, headers: HeaderList, serve: Serve) -> None:
        """Accept a WebSocket: answer, and have `serve` called with what carries its bytes from now on.

        Raises:
            BadRequest, UpgradeRequired: the request is no opening handshake.
            OSError: the client is gone.
        """

    async def respond_json(self, status: int, data: Any, headers: HeaderList | None = None) -> None:
        """Send JSON: `data` as it is when it is bytes, encoded otherwise."""
        body = data if isinstance(data, bytes) else msgspec.json.encode(data)
        await self.respond(status, [("Content-Type", "application/json"), *(headers or [])], body)


_date = (0, "")


def date() -> str:
    """The value of a Date header (RFC 9110 §6.6.1), made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = now, email.utils.formatdate(now, usegmt=True)
    return _date[1]
