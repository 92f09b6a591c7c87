"""Routes: an exchange to the handler of its path and method, and everything that goes wrong to an answer."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from stream_gateway.guard.origins import EXPOSED, MAX_AGE, OriginPolicy
from stream_gateway.server.exchange import Exchange, HeaderList
from stream_protocols.dialects import Dialect
from stream_protocols.dialects.registry import DIALECTS
from stream_protocols.errors import (
    LocalError,
    MethodNotAllowed,
    NotFound,
    OriginNotAllowed,
    Overloaded,
    StreamProtocolError,
    UpgradeRequired,
)
from stream_protocols.events import failure

_log = structlog.get_logger()

Handler = Callable[..., Awaitable[None]]

MAX_HEADERS_ECHOED: Final = 1024
"""Bytes of Access-Control-Request-Headers that are given back: bounds what a stranger can make us repeat."""


class Row:
    """One path: its handlers by method, and the dialect in which its errors are told."""

    def __init__(self, path: str, handlers: dict[str, Handler], dialect: str | None = None) -> None:
        self.pattern = re.compile(path)
        self.handlers = handlers
        self.dialect = dialect


class Routes:
    """Serves exchanges: `handle` is what every connection calls.

    Attributes:
        origins: whose pages may ask; may be changed at any time.
    """

    def __init__(self, table: Sequence[Row], origins: OriginPolicy) -> None:
        self._table = table
        self.origins = origins

    async def handle(self, exchange: Exchange) -> None:
        """Answer one exchange. Nothing but cancellation leaves this; afterwards it is answered, or dead."""
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
        for row in self._table:
            if match := row.pattern.fullmatch(path):
                return row, match.groups()
        return None, ()

    async def _dispatch(self, exchange: Exchange, row: Row | None, arguments: Sequence[str]) -> None:
        self._check_origin(exchange)
        if row is None:
            raise NotFound(f"There is nothing at {exchange.path[:128]!r}.")
        handler = row.handlers.get("GET" if exchange.method == "HEAD" else exchange.method)
        if handler is None:
            await self._options(exchange, row.handlers)
        else:
            await handler(exchange, *arguments)

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
        if isinstance(error, Overloaded) and error.retry_after is not None:
            headers.append(("Retry-After", str(error.retry_after)))
        body = error.to_json() if dialect is None else dialect.encode_error(failure(error))
        try:
            await exchange.respond_json(error.status, body, headers)
        except OSError:
            _log.debug("client_gone", path=exchange.path)
