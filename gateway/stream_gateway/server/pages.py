"""Pages of our own for people's browsers: files of this package, with everything that a browser should be told."""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from stream_gateway.server.exchange import Exchange, HeaderList
from stream_protocols.errors import NotFound

FOLDER: Final = Path(__file__).with_name("assets")

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""By hand, because what the machine's own table says depends on the machine."""

_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""Nothing but files of ours, and nothing that was said is ever taken for a page's code."""

_SECURITY: Final[HeaderList] = [
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


class _File(NamedTuple):
    headers: HeaderList
    tag: str
    body: bytes


class Pages:
    """Serves one page and the files that it is made of, as they were when this was made.

    Browsers keep them, and ask each time whether they still are the newest: a page and its scripts always fit together,
    also right after an upgrade.

    Args:
        page: the page's file; all files of the folder can be had.
    """

    def __init__(self, page: str) -> None:
        self._files = {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in _TYPES}
        self._page = self._files[page]

    async def page(self, exchange: Exchange) -> None:
        """The page itself."""
        await _send(exchange, self._page)

    async def file(self, exchange: Exchange, name: str) -> None:
        """One of its files."""
        found = self._files.get(name)
        if found is None:
            raise NotFound(f"There is nothing at {exchange.path[:128]!r}.")
        await _send(exchange, found)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    # Weak: what leaves may be compressed, and is the same page all the same (RFC 9110 §8.8.1).
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    kept = [("ETag", tag), ("Cache-Control", "no-cache")]
    return _File([("Content-Type", f"{_TYPES[path.suffix]}; charset=utf-8"), *kept, *_SECURITY], tag, body)


async def _send(exchange: Exchange, file: _File) -> None:
    known = [tag.strip() for tag in exchange.headers.get("if-none-match", "").split(",")]
    if file.tag in known or known == ["*"]:
        await exchange.respond(304, file.headers[1:])
    else:
        await exchange.respond(200, file.headers, file.body)
