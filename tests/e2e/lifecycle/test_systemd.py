"""A service under systemd: it says when it is ready, reloads and stops, and takes the sockets that it is handed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.doubles.gateway_client import GatewayClient

_SCRIPT = Path(sys.executable).with_name("stream-gateway")
DEPLOY = Path(__file__).parents[3] / "deploy"

_HANDING_OVER = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
for number, fd in enumerate(fds):
    os.dup2(fd, 3 + number, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": sys.argv[2]}
os.execv(sys.argv[3], sys.argv[3:])
"""
"""What systemd does between fork and exec."""


class Manager:
    """Hears what a service says of itself."""

    def __init__(self, path: Path) -> None:
        self.heard: list[dict[str, str]] = []
        self._sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = path

    async def listen(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self._sock:
            await self._sock.bind(str(self.path))
            task_status.started()
            while True:
                data = await self._sock.recv(4096)
                self.heard.append(dict(line.split("=", 1) for line in data.decode().splitlines()))

    async def hears(self, key: str, times: int = 1) -> dict[str, str]:
        """Wait until it has been told this so many times."""
        while True:
            told = [states for states in self.heard if key in states]
            if len(told) >= times:
                return told[times - 1]
            await trio.sleep(0.01)


@pytest.fixture
async def manager(nursery: trio.Nursery, tmp_path: Path) -> Manager:
    manager = Manager(tmp_path / "notify")
    await nursery.start(manager.listen)
    return manager


@asynccontextmanager
async def service(
    *command: str, handed: dict[str, socket.socket] | None = None, **environ: str
) -> AsyncIterator[trio.Process]:
    sockets = handed or {}
    whole = [str(_SCRIPT), "serve", "--port", "0", "--control-port", "0", *command]
    if sockets:
        fds, names = ",".join(str(s.fileno()) for s in sockets.values()), ":".join(sockets)
        whole = [sys.executable, "-c", _HANDING_OVER, fds, names, sys.executable, *whole]
    process = await trio.lowlevel.open_process(
        whole,
        env={**os.environ, **environ},
        pass_fds=[sock.fileno() for sock in sockets.values()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_it_says_how_it_is(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "100000"}
    async with service(**environ) as process:
        assert (await manager.hears("READY"))["READY"] == "1"
        await manager.hears("WATCHDOG", times=3)
        process.send_signal(signal.SIGHUP)
        assert re.fullmatch(r"\d+", (await manager.hears("RELOADING"))["MONOTONIC_USEC"])
        await manager.hears("READY", times=2)
        process.send_signal(signal.SIGTERM)
        assert (await manager.hears("STOPPING"))["STOPPING"] == "1"
        assert await process.wait() == 0


async def test_a_reload_that_fails_ends_as_well(manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    async with service("--config", str(path), NOTIFY_SOCKET=str(manager.path)) as process:
        await manager.hears("READY")
        path.write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        await manager.hears("READY", times=2)
        assert process.returncode is None


async def test_a_manager_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with service(handed={"http": sock}, NOTIFY_SOCKET=str(tmp_path / "nobody")) as process:
            async with GatewayClient(*sock.getsockname()) as client:
                assert (await client.get("/v1/models")).status == 200
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


async def test_sockets_that_are_handed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as control, socket.create_server(("127.0.0.1", 0)) as http:
        # They wait, and are not refused, from before the gateway has started.
        async with (
            service(handed={"control": control, "http": http}),
            GatewayClient(*http.getsockname()) as client,
            GatewayClient(*control.getsockname()) as admin,
        ):
            assert (await client.get("/v1/models")).status == 200
            assert (await (await admin.get("/readyz")).json()) == {"status": "ready"}


async def test_connections_wait_while_it_restarts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as control:
        handed = {"http": http, "control": control}
        async with GatewayClient(*http.getsockname()) as client, GatewayClient(*control.getsockname()) as admin:
            async with service(handed=handed) as process:
                assert (await client.get("/v1/models")).status == 200
                assert (await admin.get("/readyz")).status == 200
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
            waiting, probe = await client.connect(), await admin.connect()
            async with service(handed=handed):
                assert (await waiting.request("GET", "/v1/models")).status == 200
                assert (await probe.request("GET", "/readyz")).status == 200


async def test_a_path_that_is_handed_over_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        async with service(handed={"http": sock}) as process:
            stream = await trio.open_unix_socket(str(path))
            async with stream:
                await stream.send_all(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    assert path.exists()


# ---- the examples


def test_the_unit_waits_longer_than_a_drain_takes() -> None:
    unit = (DEPLOY / "stream-gateway.service").read_text()
    assert "Type=notify-reload" in unit
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > 30 + 2  # type: ignore[index]


def test_the_sockets_have_the_names_that_are_looked_for() -> None:
    for name, file in (("http", "stream-gateway.socket"), ("control", "stream-gateway-control.socket")):
        assert f"FileDescriptorName={name}\n" in (DEPLOY / file).read_text()
