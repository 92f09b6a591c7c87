"""Somebody at a terminal: a command in a real pseudo-terminal, what it shows, and keys for it."""

from __future__ import annotations

import fcntl
import os
import re
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

CTRL_C = "\x03"
CTRL_D = "\x04"
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal with a command in it.

    Attributes:
        shown: all that it has shown, without colours and the like.
    """

    def __init__(self, screen: trio.lowlevel.FdStream, process: trio.Process) -> None:
        self._screen = screen
        self._process = process
        self._raw = b""
        self._seen = 0

    @property
    def shown(self) -> str:
        return _STYLE.sub("", self._raw.decode(errors="replace")).replace("\r\n", "\n")

    async def shows(self, text: str) -> None:
        """Wait until this appears, after what was waited for before."""
        while (found := self.shown.find(text, self._seen)) < 0:
            assert await self._more(), f"ended without {text!r}: {self.shown!r}"
        self._seen = found + len(text)

    async def types(self, keys: str) -> None:
        """Press these keys."""
        await self._screen.send_all(keys.encode())

    async def ends(self) -> int:
        """Wait for the command's end; its exit code."""
        while await self._more():
            pass
        return await self._process.wait()

    async def _more(self) -> bool:
        try:
            data = await self._screen.receive_some(4096)
        except (trio.BrokenResourceError, OSError):  # how Linux says that the other side is closed
            data = b""
        self._raw += data
        return bool(data)


@asynccontextmanager
async def terminal(*command: str, cwd: Path | None = None) -> AsyncIterator[Terminal]:
    """Start a command in a terminal of its own; it is killed at the end if it is still there."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (40, 150))

    def take_over() -> None:  # or else Ctrl-C would be a character like any other
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    async with trio.lowlevel.FdStream(master) as screen:
        try:
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                preexec_fn=take_over,
                cwd=cwd,
                env={**os.environ, "TERM": "xterm-256color"},
            )
        finally:
            os.close(slave)
        try:
            yield Terminal(screen, process)
        finally:
            if process.returncode is None:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
