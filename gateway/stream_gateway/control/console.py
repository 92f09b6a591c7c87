"""The console and the playground: pages for operators, files of this package.

Whoever can reach the control plane gets them, because they say nothing: what they show they ask for, with the
credential that their user gives them.
"""

import hashlib
import importlib.resources
import ipaddress
import re
import urllib.parse
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stream_gateway.control.access import CONSOLE, not_found
from stream_gateway.control.subject import Subject
from stream_gateway.guard.addresses import is_loopback

_PAGES: Final = {CONSOLE: "console.html", f"{CONSOLE}/playground": "playground.html"}

_SHARED: Final = ("tokens.css", "icon.svg", "stream-gateway.js")
"""What these pages have in common with those of the data plane, and where it is kept."""

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
"""A host as it may stand in a policy: nothing that could end a directive or begin another."""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing but files of ours, talking to both planes of this gateway and to nobody else."""

_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _File(NamedTuple):
    media_type: str
    tag: str
    body: bytes


class Console:
    """Serves the pages, as they were when this was made.

    Browsers keep them, and ask each time whether they still are the newest: a page always fits its scripts.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._files = {path.name: _read(path) for path in _paths()}

    def routes(self) -> list[Route]:
        """Every path."""
        return [
            *(Route(path, self.page) for path in _PAGES),
            Route(f"{CONSOLE}/gateway.json", self.gateway),
            Route(f"{CONSOLE}/{{name}}", self.file),
        ]

    async def page(self, request: Request) -> Response:
        """One of the pages."""
        return self._answer(request, self._files[_PAGES[request.scope["path"]]])

    async def file(self, request: Request) -> Response:
        """One of their files."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise not_found(request.scope["path"])
        return self._answer(request, found)

    async def gateway(self, request: Request) -> Response:
        """Where the data plane is, for a browser that has found us; null: it cannot be told."""
        body = msgspec.json.encode({"url": self._data_plane(request)})
        return Response(body, headers=_HEADERS | {"Cache-Control": "no-store"}, media_type="application/json")

    def _answer(self, request: Request, file: _File) -> Response:
        sources = ["'self'", *_sources(self._data_plane(request))]
        headers = _HEADERS | {"ETag": file.tag, "Content-Security-Policy": _POLICY.format(" ".join(sources))}
        known = {tag.strip() for tag in request.headers.get("if-none-match", "").split(",")}
        if file.tag in known or known == {"*"}:
            return Response(status_code=304, headers=headers)
        return Response(file.body, headers=headers, media_type=file.media_type)

    def _data_plane(self, request: Request) -> str | None:
        return seen_from(self._subject.data_plane, request.headers.get("host", ""))


def seen_from(url: str | None, host: str) -> str | None:
    """The data plane's address for a browser that calls the control plane by `host`.

    What is bound to loopback, or to everything, is found where the control plane was: on this machine, or at the other
    end of the same tunnel. Anything else is as it is.
    """
    if url is None:
        return None
    parts = urllib.parse.urlsplit(url)
    name = parts.hostname or ""
    if not (is_loopback(name) or _is_everywhere(name)):
        return url
    ours = re.sub(r":\d*$", "", host)
    if not _NAME.fullmatch(ours):
        return url
    return urllib.parse.urlunsplit(parts._replace(netloc=f"{ours}:{parts.port}" if parts.port else ours))


def _is_everywhere(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def _sources(url: str | None) -> Iterator[str]:
    """The data plane as a policy names it, for requests and for sockets."""
    if url is None:
        return
    parts = urllib.parse.urlsplit(url)
    yield f"{parts.scheme}://{parts.netloc}"
    yield f"{parts.scheme.replace('http', 'ws')}://{parts.netloc}"


def _paths() -> Iterator[Traversable]:
    own = importlib.resources.files("stream_gateway.control") / "assets"
    yield from (path for path in own.iterdir() if path.name.endswith(tuple(_TYPES)))
    shared = importlib.resources.files("stream_gateway.server") / "assets"
    yield from (shared / name for name in _SHARED)


def _read(path: Traversable) -> _File:
    body = path.read_bytes()
    media_type = _TYPES[path.name[path.name.rindex(".") :]]
    return _File(media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"', body)
