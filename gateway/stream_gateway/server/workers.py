"""Workers: several gateway processes on one port, and the process that looks after them.

Each worker listens for itself, and the kernel spreads connections over them (`SO_REUSEPORT`). They share streams
through the engine, so that a client may come back to any of them. A worker that dies is replaced; the streams that it
produced are taken over by the others.
"""

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import structlog
import trio

from stream_gateway.config import ServerSettings
from stream_gateway.server.binding import reserve

_log = structlog.get_logger()

READY: Final = "STREAM_GATEWAY_READY_FD"
"""The environment variable that tells a worker where to say that it listens."""

SETTLED: Final = 5.0
"""Seconds after which a worker that ends is replaced at once; one that ends sooner would only do so again."""

UNUSABLE: Final = 2
"""The exit code of a worker that cannot use its configuration."""


class Worker:
    """One place among the workers, and whichever process has it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.process: trio.Process | None = None
        self._command = command
        self._environment = environment
        self._stopping = False

    async def run(self) -> int:
        """Keep a process running until told to stop; the exit code that ended it."""
        while True:
            began = trio.current_time()
            self.process = await self._start()
            if self._stopping:  # it was told to the process before
                _signal(self.process, signal.SIGTERM)
            code = await self._end()
            if self._stopping or code == UNUSABLE:
                return code
            _log.error("worker_ended", pid=self.process.pid, code=code)
            await trio.sleep(0 if trio.current_time() - began > SETTLED else 1)

    async def _end(self) -> int:
        """The exit code of whichever process has the place when it ends."""
        process = None
        code = 0
        while process is not self.process:
            process = self.process
            code = 0 if process is None else await process.wait()
        return code

    async def _start(self) -> trio.Process:
        """A new process, which listens unless it has ended."""
        reading, writing = os.pipe()
        try:
            environment = {**self._environment, READY: str(writing)}
            process = await trio.lowlevel.open_process(self._command, env=environment, pass_fds=(writing,))
        finally:
            os.close(writing)
        async with trio.lowlevel.FdStream(reading) as ready:
            await ready.receive_some(1)
        return process

    async def replace(self) -> None:
        """Start another process, and let the old one go when it listens."""
        old, new = self.process, await self._start()
        if new.poll() is not None:
            _log.error("worker_not_replaced", code=new.returncode)
            return
        if old is not None:
            self.process = new
            _signal(old, signal.SIGTERM)

    def tell(self, number: int) -> None:
        """Hand a signal on; after SIGINT and SIGTERM there is no other process."""
        self._stopping = self._stopping or number in (signal.SIGINT, signal.SIGTERM)
        if self.process is not None:
            _signal(self.process, number)


def _signal(process: trio.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


async def supervise(config: Path | None, server: ServerSettings) -> int:
    """Run workers until SIGINT or SIGTERM, and then until they have ended; the exit code.

    SIGHUP reaches each of them. SIGUSR2 replaces them one by one: each when its successor listens.
    """
    with reserve(server) as (host, port):
        command = [sys.executable, "-m", "stream_gateway", "serve", "--host", host, "--port", str(port)]
        command += ["--control-port", "0"]  # each has a control plane of its own
        if config is not None:
            command += ["--config", str(config)]
        environment = {
            **os.environ,
            "STREAM_GATEWAY_SERVER__WORKERS": "1",
            "STREAM_GATEWAY_SERVER__REUSE_PORT": "true",
        }
        workers = [Worker(command, environment) for _ in range(server.workers)]
        codes: list[int] = []
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(*numbers) as signals:
                nursery.start_soon(_obey, workers, signals, nursery)
                async with trio.open_nursery() as running:
                    for worker in workers:
                        running.start_soon(_run, worker, workers, codes)
                nursery.cancel_scope.cancel()
    return max(codes, key=abs, default=0)


async def _run(worker: Worker, workers: Sequence[Worker], codes: list[int]) -> None:
    code = await worker.run()
    codes.append(code)
    if code == UNUSABLE:
        for other in workers:
            other.tell(signal.SIGTERM)


async def _obey(workers: Sequence[Worker], signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
    async for number in signals:
        if number == signal.SIGUSR2:
            nursery.start_soon(_replace, workers)
        else:
            for worker in workers:
                worker.tell(number)


async def _replace(workers: Sequence[Worker]) -> None:
    _log.info("replacing_workers", count=len(workers))
    for worker in workers:
        await worker.replace()


def say_ready() -> None:
    """Tell whoever has started this process that it listens, if somebody wants to know."""
    number = os.environ.pop(READY, None)
    if number is not None:
        with contextlib.suppress(OSError):
            os.write(int(number), b"1")
            os.close(int(number))
