"""Routes: an exchange to the handler of its path and method, and everything that goes wrong to an answer.

Nobody reaches a handler unrecognised: every path lets in principals only, unless its row says otherwise.
"""

import enum
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from stream_gateway.guard import tokens
from stream_gateway.guard.credentials import checked, credential_of
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.jwts import KeysPending
from stream_gateway.guard.origins import EXPOSED, MAX_AGE, OriginPolicy
from stream_gateway.guard.principal import NOBODY, Principal
from stream_gateway.observe.tracing import remember_parent
from stream_gateway.server.exchange import Exchange, HeaderList
from stream_protocols.dialects import Dialect
from stream_protocols.dialects.registry import DIALECTS
from stream_protocols.errors import (
    Forbidden,
    LocalError,
    MethodNotAllowed,
    NotFound,
    OriginNotAllowed,
    Overloaded,
    StreamProtocolError,
    TooManyRequests,
    Unauthorized,
    UpgradeRequired,
)
from stream_protocols.events import failure

_log = structlog.get_logger()

Handler = Callable[..., Awaitable[None]]

MAX_HEADERS_ECHOED: Final = 1024
"""Bytes of Access-Control-Request-Headers that are given back: bounds what a stranger can make us repeat."""


class Admits(enum.Enum):
    """Whom a path lets in."""

    PRINCIPALS = "who has shown what is good for everything"
    HOLDERS = "holders of a stream token as well"
    HOLDERS_BY_URL = "holders of a stream token as well, who may show it as `?token=`: an EventSource has no headers"
    LATER = "everybody; the handler asks who they are, and accepts nothing before it knows"
    EVERYBODY = "everybody: there is nothing behind it that is not public"


class Row:
    """One path: its handlers by method, the dialect in which its errors are told, and whom it lets in."""

    def __init__(
        self,
        path: str,
        handlers: dict[str, Handler],
        dialect: str | None = None,
        admits: Admits = Admits.PRINCIPALS,
    ) -> None:
        self.pattern = re.compile(path)
        self.handlers = handlers
        self.dialect = dialect
        self.admits = admits


class Routes:
    """Serves exchanges: `handle` is what every connection calls.

    Attributes:
        origins: whose pages may ask; may be changed at any time.
    """

    def __init__(self, table: Sequence[Row], origins: OriginPolicy, guard: Guard) -> None:
        self.table = table
        self.origins = origins
        self._guard = guard

    async def handle(self, exchange: Exchange) -> None:
        """Answer one exchange. Nothing but cancellation leaves this; afterwards it is answered, or dead."""
        remember_parent(exchange.headers.get("traceparent"))
        row, arguments = self._find(exchange.path)
        dialect = DIALECTS[row.dialect] if row is not None and row.dialect else None
        try:
            await self._dispatch(exchange, row, arguments)
        except StreamProtocolError as error:
            if isinstance(error, LocalError) and not isinstance(error, Overloaded):
                _log.exception("request_failed", path=exchange.path)
            await self._respond_error(exchange, error, dialect)
        except OSError as error:
            _log.debug("client_gone", path=exchange.path, error=str(error))
        except Exception:
            _log.exception("request_failed", path=exchange.path)
            failed = LocalError("The gateway failed on this request; its log says why.")
            await self._respond_error(exchange, failed, dialect)

    def _find(self, path: str) -> tuple[Row | None, Sequence[str]]:
        for row in self.table:
            if match := row.pattern.fullmatch(path):
                return row, match.groups()
        return None, ()

    async def _dispatch(self, exchange: Exchange, row: Row | None, arguments: Sequence[str]) -> None:
        self._check_origin(exchange)
        if row is not None and exchange.method == "OPTIONS":  # browsers ask without credentials (Fetch, CORS preflight)
            await self._options(exchange, row.handlers)
            return
        exchange.principal = await self._recognise(exchange, Admits.PRINCIPALS if row is None else row.admits)
        headers, refusal = self._guard.quotas.request(exchange.principal)
        exchange.common += headers
        if refusal is not None:
            raise refusal
        if row is None:
            raise NotFound(f"There is nothing at {exchange.path[:128]!r}.")
        handler = row.handlers.get("GET" if exchange.method == "HEAD" else exchange.method)
        if handler is None:
            await self._options(exchange, row.handlers)
        else:
            await handler(exchange, *arguments)

    async def _recognise(self, exchange: Exchange, admits: Admits) -> Principal:
        """Who asks, if the path admits them.

        Raises:
            Unauthorized, TooManyRequests: nobody knows, or it has been guessed too often.
            Forbidden: they have a token that is not for this.
        """
        if admits is Admits.EVERYBODY:
            return NOBODY
        credential = credential_of(exchange.headers)
        if credential is None and admits is Admits.HOLDERS_BY_URL and exchange.method in ("GET", "HEAD"):
            credential = _token_of(exchange)
        if credential is not None:
            try:
                principal = self._guard.recognise(credential, exchange.peer)
            except KeysPending:
                await self._guard.settled()
                principal = self._guard.recognise(credential, exchange.peer, final=True)
        elif admits is Admits.LATER and not self._guard.open:
            return NOBODY
        else:
            principal = self._guard.stranger(exchange.peer)
        if principal.grant is not None and admits is Admits.PRINCIPALS:
            raise Forbidden("A stream token is good for its stream only; this takes an API key or a JWT.")
        return principal

    def _check_origin(self, exchange: Exchange) -> None:
        """Let browsers' pages in by their origin; what is no browser sends none."""
        origin = exchange.headers.get("origin")
        if origin is None:
            return
        if not origin.isascii() or not self.origins.allows(origin, exchange.headers.get("host")):
            raise OriginNotAllowed(
                f"Pages of {origin[:128]!r} may not use this gateway; add the origin to cors.origins to let them."
            )
        exchange.common += [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", EXPOSED),
            ("Vary", "Origin"),
        ]

    async def _options(self, exchange: Exchange, handlers: dict[str, Handler]) -> None:
        methods = sorted({*handlers, "OPTIONS", *(["HEAD"] if "GET" in handlers else [])})
        allow = ", ".join(methods)
        if exchange.method != "OPTIONS":
            message = f"{exchange.path} does not take {exchange.method[:32]}; it takes {allow}."
            raise MethodNotAllowed(message, allow=tuple(methods))
        headers: HeaderList = [("Allow", allow)]
        if "access-control-request-method" in exchange.headers:
            wanted = exchange.headers.get("access-control-request-headers", "").encode("ascii", "ignore").decode()
            headers += [
                ("Access-Control-Allow-Methods", allow),
                ("Access-Control-Allow-Headers", wanted[:MAX_HEADERS_ECHOED]),
                ("Access-Control-Max-Age", MAX_AGE),
            ]
        await exchange.respond(204, headers)

    async def _respond_error(self, exchange: Exchange, error: StreamProtocolError, dialect: Dialect | None) -> None:
        """Answer with an error, unless an answer has begun: then only cutting it off is honest."""
        if exchange.answered:
            return
        headers: HeaderList = []
        if isinstance(error, MethodNotAllowed):
            headers.append(("Allow", ", ".join(error.allow)))
        if isinstance(error, UpgradeRequired):
            headers += [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        if isinstance(error, Unauthorized):
            headers.append(("WWW-Authenticate", "Bearer"))
        if isinstance(error, Overloaded | TooManyRequests) and error.retry_after is not None:
            headers.append(("Retry-After", str(error.retry_after)))
        body = error.to_json() if dialect is None else dialect.encode_error(failure(error))
        try:
            await exchange.respond_json(error.status, body, headers)
        except OSError:
            _log.debug("client_gone", path=exchange.path)


def _token_of(exchange: Exchange) -> str | None:
    """The parameter `token`. URLs stand in histories and logs, so nothing that is good for long may be in one.

    Raises:
        Unauthorized: it is no stream token.
    """
    token = exchange.query("token")
    if token is not None and not token.startswith(tokens.PREFIX):
        raise Unauthorized("Only stream tokens may stand in a URL; send any other credential in a header.")
    return None if token is None else checked(token)
