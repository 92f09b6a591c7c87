"""Several processes on one port: a client may come back to any of them, and each of them may die or be replaced."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.doubles.gateway_client import GatewayClient, native_text, types
from tests.doubles.gateway_process import GatewayProcess
from tests.doubles.http_reader import Truncated
from tests.doubles.served_gateway import Spawn
from tests.doubles.waiting import until

pytestmark = pytest.mark.deadline(60)


def sections(folder: Path) -> dict[str, Any]:
    return {
        "server": {"workers": 3, "drain_timeout": 1.0},
        "engine": {"kind": "sqlite", "path": str(folder / "streams.db"), "lease": 1.0},
    }


async def workers(process: GatewayProcess) -> list[int]:
    """The workers' process ids."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):  # noqa: ASYNC240 - no file of a disk
        with contextlib.suppress(OSError):
            pid, parent = status.read_text().split()[0], status.read_text().rpartition(")")[2].split()[1]
            if int(parent) == process.process.pid:
                found.append(int(pid))
    return found


async def all_listen(process: GatewayProcess, count: int) -> None:
    await until(lambda: sum(line.get("event") == "listening" for line in process.log) >= count, within=20)


async def follow(gateway: GatewayClient, stream: str) -> tuple[str, str]:
    """Read a stream to its end, from whichever worker there is; its text, and how it ended."""
    seen: list[Any] = []
    while not seen or not types(seen)[-1].startswith("stream.f"):
        try:
            response = await gateway.subscribe(stream, last=seen[-1].id if seen else None)
            if response.status == 200:
                events = response.events()
                with trio.move_on_after(0.4):  # and elsewhere, perhaps
                    while (event := await events.next()) is not None:
                        seen.append(event)
        except (OSError, Truncated, trio.BrokenResourceError):
            pass
        await trio.sleep(0.05)
    assert "gap" not in [event.json.get("code") for event in seen]
    return native_text(seen), types(seen)[-1]


async def test_every_worker_has_every_stream(spawn: Spawn, tmp_path: Path) -> None:
    async with spawn(**sections(tmp_path)) as process, GatewayClient(process.host, process.port) as gateway:
        await all_listen(process, 3)
        streams = [(await gateway.create("demo-n60-gap20", lease="finish"))["id"] for _ in range(6)]
        async with trio.open_nursery() as nursery:
            found: list[tuple[str, str]] = []

            async def read(stream: str) -> None:
                found.append(await follow(gateway, stream))

            for stream in streams:
                nursery.start_soon(read, stream)
        assert {end for _, end in found} == {"stream.finished"}
        assert len({text for text, _ in found}) == 1
        assert len(found[0][0].split()) == 60
        assert len({(await gateway.status(streams[0]))["cursor"] for _ in range(10)}) == 1


async def test_a_worker_that_dies_is_replaced_and_its_streams_end(spawn: Spawn, tmp_path: Path) -> None:
    async with spawn(**sections(tmp_path)) as process, GatewayClient(process.host, process.port) as gateway:
        await all_listen(process, 3)
        streams = [(await gateway.create("demo-n400-gap10", lease="finish"))["id"] for _ in range(9)]
        victim = (await workers(process))[0]
        os.kill(victim, signal.SIGKILL)
        await all_listen(process, 4)
        ends = [(await follow(gateway, stream))[1] for stream in streams]
        assert set(ends) <= {"stream.finished", "stream.failed"}
        assert len(await workers(process)) == 3
        assert victim not in await workers(process)


async def test_workers_are_replaced_one_by_one(spawn: Spawn, tmp_path: Path) -> None:
    async with spawn(**sections(tmp_path)) as process, GatewayClient(process.host, process.port) as gateway:
        await all_listen(process, 3)
        before = await workers(process)
        created = await gateway.create("demo-n50-gap5", lease="finish")
        await follow(gateway, created["id"])
        process.process.send_signal(signal.SIGUSR2)
        await all_listen(process, 6)
        for _ in range(20):
            assert (await gateway.status(created["id"]))["status"] == "finished"
        while set(await workers(process)) & set(before):  # noqa: ASYNC110 - nothing announces it
            await trio.sleep(0.05)
        assert len(await workers(process)) == 3
        process.process.terminate()
        await process.process.wait()
        assert process.process.returncode == 0
