"""Secrets of tests, and the watch that none of them comes back: in a log, a response, an error, or a file.

What the doubles receive and pytest collects is looked at as it comes (see `tests/conftest.py`). Only what has been
declared secret by then can be found, so a token is declared once its owner has it.
"""

from __future__ import annotations

from pathlib import Path

MAX_FILE = 4_000_000
_OVERLAP = 512
"""Bytes of a connection that are looked at again with what follows: a secret may come in two pieces."""

SECRETS: dict[str, set[str]] = {}
"""By their first letters: a thousand keys and tokens begin in half a dozen ways, and megabytes are looked at."""
_FIRST = 4

FOUND: list[str] = []


def secret(text: str) -> str:
    """Declare a secret; returns it."""
    assert len(text) > 8, "too short: it would be found everywhere"
    SECRETS.setdefault(text[:_FIRST], set()).add(text)
    return text


def watch(data: bytes | str, where: str) -> None:
    """Look for secrets in something that the gateway has said."""
    text = data if isinstance(data, str) else data.decode("latin-1")
    for first, some in SECRETS.items():
        if first in text:
            FOUND.extend(f"{where}: a secret that begins with {each[:6]!r}" for each in some if each in text)


class Watch:
    """Looks at a connection's bytes as they come."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._tail = b""

    def __call__(self, data: bytes) -> None:
        if SECRETS:
            seen = self._tail + data
            watch(seen, self._where)
            self._tail = seen[-_OVERLAP:]


def watch_files(folder: Path) -> None:
    """Look into the files that tests have left behind, but for those in which a secret belongs (`*.secret`)."""
    if SECRETS:
        for path in (path for path in folder.rglob("*") if path.suffix != ".secret"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE:
                watch(path.read_bytes(), str(path))
