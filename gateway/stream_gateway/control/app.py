"""The control plane as an ASGI application: metrics, probes, and what admins see and do."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import structlog
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stream_gateway.config import ConfigError
from stream_gateway.control.access import Access, not_found
from stream_gateway.control.console import Console
from stream_gateway.control.feed import Feed
from stream_gateway.control.subject import Subject
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.jwts import KeysPending
from stream_gateway.guard.principal import ANONYMOUS, LOCAL, Grant
from stream_gateway.observe.exposition import Exposition
from stream_gateway.observe.statistics import StreamStatistics
from stream_gateway.streams.ending import end
from stream_gateway.streams.stream import Stream
from stream_gateway.streams.vitals import describe
from stream_protocols.cursor import format_cursor
from stream_protocols.errors import (
    Forbidden,
    InvalidField,
    LocalError,
    MethodNotAllowed,
    Overloaded,
    StreamProtocolError,
    TooManyRequests,
)

_log = structlog.get_logger()

PAGE: Final = 100
MAX_PAGE: Final = 1000
"""Streams or connections in one answer."""

OPERATOR: Final = "operator"
"""Why a stream was cancelled that an admin cancels."""


def make_app(subject: Subject, access: Access) -> ASGIApp:
    """The application; it answers nobody whom `access` does not let in."""
    routes = [*_Admin(subject, access).routes(), *Console(subject).routes()]
    return _Gate(Starlette(routes=routes, exception_handlers=_HANDLERS), access, subject.guard)


class _Gate:
    """In front of everything: asks `Access`, and lets nothing that goes wrong reach the server."""

    def __init__(self, app: ASGIApp, access: Access, guard: Guard) -> None:
        self._app = app
        self._access = access
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":  # the server's own: it begins or ends
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            await self._check(request)
        except StreamProtocolError as error:
            await _refusal(error)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception:
            _log.exception("control_request_failed", path=_path(request))

    async def _check(self, request: Request) -> None:
        peer = "" if request.client is None else request.client.host
        asked = request.method, _path(request), request.headers, peer
        try:
            self._access.check(*asked)
        except KeysPending:
            await self._guard.settled()
            self._access.check(*asked, final=True)


class _Admin:
    """Handlers."""

    def __init__(self, subject: Subject, access: Access) -> None:
        self._subject = subject
        self._access = access
        self._exposition = Exposition(subject.scene)
        self._feed = Feed(subject.registry, subject.scene, subject.guard.local.id)

    def routes(self) -> list[Route]:
        """Every path; what changes something is no GET."""
        return [
            Route("/metrics", self.metrics),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/admin/status", self.status),
            Route("/admin/streams", self.streams),
            Route("/admin/streams/{name}", self.stream),
            Route("/admin/streams/{name}", self.cancel, methods=["DELETE"]),
            Route("/admin/streams/{name}/watch", self.watch, methods=["POST"]),
            Route("/admin/connections", self.connections),
            Route("/admin/targets", self.targets),
            Route("/admin/feed", self.feed, methods=["POST"]),
            Route("/admin/drain", self.drain, methods=["POST"]),
            Route("/admin/reload", self.reload, methods=["POST"]),
        ]

    async def metrics(self, request: Request) -> Response:
        content_type, pieces = self._exposition.render(request.headers.get("accept", ""))
        body = []
        for piece in pieces:
            body.append(piece)
            await trio.lowlevel.checkpoint()  # with many routes a scrape takes longer than a chunk may wait
        return Response(b"".join(body), media_type=content_type)

    async def healthz(self, request: Request) -> Response:
        """That this is answered is the answer: the data plane runs in the same loop."""
        return _json({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        reason = self._subject.unready()
        return _json({"status": "ready"}) if reason is None else _json({"status": "not ready", "reason": reason}, 503)

    async def status(self, request: Request) -> Response:
        scene = self._subject.scene()
        numbers = msgspec.structs.asdict(scene.statistics)
        del numbers["targets"]  # which have a path of their own
        return _json({"version": scene.version, "unready": self._subject.unready(), **numbers, "survey": scene.survey})

    async def streams(self, request: Request) -> Response:
        """Newest first, those of one status, health or model if asked for, a page at a time."""
        wanted = {name: request.query_params.get(name) for name in ("status", "health", "model")}
        limit = _limit(request)
        after = request.query_params.get("after")
        found: list[StreamStatistics] = []
        for stream in self._after(after):
            if _matches(stream, wanted):
                if len(found) == limit:
                    return _json({"streams": found, "next": found[-1].id})
                found.append(describe(stream, trio.current_time()))
        return _json({"streams": found, "next": None})

    def _after(self, name: str | None) -> Iterator[Stream]:
        streams = reversed(list(self._subject.registry.all()))
        if name is None:
            return streams
        self._subject.registry.get(name, LOCAL)  # one that is forgotten leaves no place to go on from
        return itertools.islice(itertools.dropwhile(lambda stream: stream.id != name, streams), 1, None)

    async def stream(self, request: Request) -> Response:
        stream = self._subject.registry.get(request.path_params["name"], LOCAL)
        seen = msgspec.to_builtins(describe(stream, trio.current_time()))
        end = None if stream.terminal is None else msgspec.to_builtins(stream.terminal)
        return _json({**seen, "lease": stream.lease, "attempts": list(stream.attempts), "end": end})

    async def cancel(self, request: Request) -> Response:
        stream = self._subject.registry.get(request.path_params["name"], LOCAL)
        await end(stream, OPERATOR)
        _log.info("stream_cancelled", stream=stream.id, by=OPERATOR)
        return _json(describe(stream, trio.current_time()))

    async def connections(self, request: Request) -> Response:
        """Newest first, a page at a time; their numbers only grow."""
        limit = _limit(request)
        before = _number(request, "before")
        found = [seen for seen in reversed(self._subject.connected()) if before is None or seen.id < before]
        return _json({"connections": found[:limit], "next": found[limit - 1].id if len(found) > limit else None})

    async def targets(self, request: Request) -> Response:
        statistics = self._subject.scene().statistics
        targets = [msgspec.structs.asdict(target) for target in statistics.targets]
        for target in targets:
            del target["meter"]  # which is for metrics
        return _json({"targets": targets, "pools": statistics.pools})

    async def feed(self, request: Request) -> Response:
        return _json(self._way_to(self._feed.open()))

    async def watch(self, request: Request) -> Response:
        """A way to read what is said in somebody's stream."""
        stream = self._subject.registry.get(request.path_params["name"], LOCAL)
        if stream.owner not in (ANONYMOUS.id, LOCAL.id) and not self._access.asks:
            raise Forbidden(
                "The stream belongs to a client with an API key, and anybody on this machine could ask: "
                "set control.token_env or control.token_file."
            )
        _log.info("stream_watched", stream=stream.id, by=OPERATOR)
        return _json(self._way_to(stream))

    def _way_to(self, stream: Stream) -> dict[str, Any]:
        """How a stream can be read on the data plane, from the oldest event that is kept."""
        first = format_cursor(stream.id, stream.log.epoch, stream.log.oldest - 1)
        token, expires = self._subject.guard.grant(Grant(stream.id), None)
        return {"stream": stream.id, "cursor": first, "connect": "/v1/connect", "token": token, "expires": expires}

    async def drain(self, request: Request) -> Response:
        _log.info("stopping", by=OPERATOR)
        self._subject.stop()
        return _json({"status": "draining"}, 202)

    async def reload(self, request: Request) -> Response:
        try:
            made = self._subject.reload()
        except ConfigError as error:
            raise InvalidField(str(error)) from None
        return _json({"applied": made.applied, "not_live": made.not_live})


def _path(request: Request) -> str:
    """What is routed by. `request.url` is made of the Host header, too, with which a client may say another path."""
    path: str = request.scope["path"]
    return path


def _matches(stream: Stream, wanted: dict[str, str | None]) -> bool:
    if wanted["status"] not in (None, stream.state) or wanted["model"] not in (None, stream.source.model):
        return False
    if wanted["health"] is None:
        return True
    seen = describe(stream, trio.current_time()).health
    return seen is not None and seen.state == wanted["health"]


def _limit(request: Request) -> int:
    limit = _number(request, "limit")
    return PAGE if limit is None else max(1, min(limit, MAX_PAGE))


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 15:
        raise InvalidField(f"Parameter `{name}` must be a whole number, not {text[:32]!r}.", param=name)
    return int(text)


def _json(data: Any, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(data), status, headers, media_type="application/json")


def _refusal(error: StreamProtocolError) -> Response:
    headers = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allow)
    if isinstance(error, Overloaded | TooManyRequests) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Response(error.to_json(), error.status, headers, media_type="application/json")


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StreamProtocolError)
    return _refusal(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: no such path, or not by that method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        message = f"{_path(request)} does not take {request.method[:32]}; it takes {allow}."
        return _refusal(MethodNotAllowed(message, allow=tuple(allow.split(", "))))
    return _refusal(not_found(_path(request)))


async def _on_failure(request: Request, error: Exception) -> Response:
    return _refusal(LocalError("The control plane failed on this request; its log says why."))


_HANDLERS: Final[Any] = {StreamProtocolError: _on_error, HTTPException: _on_http_error, Exception: _on_failure}
