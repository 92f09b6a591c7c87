"""A gateway with SQLite is killed and comes back: what was stored is there; what ran goes on, or says that it ends."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import GatewayClient, native_text, refused, types
from tests.doubles.gateway_process import GatewayProcess
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, Spawn
from tests.doubles.sse_reader import SseEvent
from tests.doubles.waiting import until
from tests.e2e.routing.test_continuing import WHOLE, going_on

pytestmark = pytest.mark.deadline(25)


def sections(folder: Path, **engine: Any) -> dict[str, Any]:
    return {
        "engine": {"kind": "sqlite", "path": str(folder / "streams.db"), **engine},
        "routes.long": {
            "after_first_token": "continue",
            "targets": [{"provider": "mock", "model": "long", "capabilities": ["continue"]}],
        },
    }


async def kill(process: GatewayProcess) -> None:
    process.process.send_signal(signal.SIGKILL)
    await process.process.wait()


async def stored(gateway: GatewayClient, stream: str) -> None:
    """Wait until all that there is of a stream is stored."""
    while (status := await gateway.status(stream))["stored"] < status["events"]:  # noqa: ASYNC110 - nobody says so
        await trio.sleep(0.01)


def client(process: GatewayProcess) -> GatewayClient:
    return GatewayClient(process.host, process.port)


@pytest.mark.parametrize("sync", ["behind", "strict"])
async def test_killed_and_restarted(spawn: Spawn, upstream: OpenAIServer, tmp_path: Path, sync: str) -> None:
    gates = Gate(60), Gate(60)
    upstream.scripts["short"] = Script(deltas=words(30))
    upstream.scripts["held"] = Script(deltas=words(100), gate=gates[0])
    upstream.scripts["long"] = going_on(gate=gates[1])
    settings = sections(tmp_path, sync=sync)
    async with spawn(**settings) as process, client(process) as before:
        done = await before.create("short", lease="finish")
        whole = await (await before.subscribe(done["id"])).events().rest()
        fails, goes_on = [await before.create(model, lease="finish") for model in ("held", "long")]
        seen = {}
        for created in (fails, goes_on):
            seen[created["id"]] = await (await before.subscribe(created["id"])).events().take(40)

        for created in (fails, goes_on):  # what was shown has to be stored when it is killed
            await stored(before, created["id"])
        await kill(process)
    for gate in gates:
        gate.open()
    async with spawn(**settings) as process, client(process) as after:
        again = await (await after.subscribe(done["id"])).events().rest()
        assert [(event.id, event.data) for event in again] == [(event.id, event.data) for event in whole]
        half = await (await after.subscribe(done["id"], last=whole[11].id)).events().rest()
        assert [event.id for event in half] == [event.id for event in whole[12:]]

        shown = seen[fails["id"]]
        rest = await (await after.subscribe(fails["id"], last=shown[-1].id)).events().rest()
        assert types(rest)[-1] == "stream.failed"
        assert rest[-1].json["code"] == "interrupted"
        assert "gap" not in [event.json.get("code") for event in rest]

        shown = seen[goes_on["id"]]
        rest = await (await after.subscribe(goes_on["id"], last=shown[-1].id)).events().rest()
        assert native_text(shown + rest) == WHOLE
        notices = [event.json for event in rest if event.json["type"] == "notice"]
        assert [(notice["code"], notice["data"]["reason"]) for notice in notices] == [("continued", "interrupted")]
        assert types(rest)[-1] == "stream.finished"
        (epoch,) = {event.id.split(".")[1] for event in rest if event.id}
        assert epoch != shown[-1].id.split(".")[1]  # type: ignore[union-attr]


async def test_a_key_is_known_after_a_restart(spawn: Spawn, tmp_path: Path) -> None:
    settings = sections(tmp_path)
    payload = {"model": "demo-n5", "messages": [{"role": "user", "content": "hi"}], "lease": "finish"}
    key = {"Idempotency-Key": "once"}
    async with spawn(**settings) as process, client(process) as before:
        first = await (await before.request("POST", "/v1/streams", payload=payload, headers=key)).json()
        await (await before.subscribe(first["id"])).events().rest()
        await stored(before, first["id"])
        await kill(process)
    async with spawn(**settings) as process, client(process) as after:
        again = await after.request("POST", "/v1/streams", payload=payload, headers=key)
        assert (again.status, (await again.json())["id"]) == (200, first["id"])
        other = await after.request("POST", "/v1/streams", payload={**payload, "model": "demo-n6"}, headers=key)
        assert (await refused(other, 409))["code"] == "key_conflict"


async def test_a_gateway_that_is_stopped_properly_stores_how_its_streams_end(spawn: Spawn, tmp_path: Path) -> None:
    settings = sections(tmp_path) | {"server": {"drain_timeout": 0.1}}
    async with spawn(**settings) as process, client(process) as before:
        created = await before.create("demo-n1000-gap10", lease="finish")
        seen = await (await before.subscribe(created["id"])).events().take(5)
        process.process.terminate()
        with trio.fail_after(10):
            await process.process.wait()
    async with spawn(**settings) as process, client(process) as after:
        rest = await (await after.subscribe(created["id"], last=seen[-1].id)).events().rest()
        assert (types(rest)[-1], rest[-1].json["reason"]) == ("stream.cancelled", "shutdown")


async def test_a_full_disk_stops_nobody_and_is_told(serve: Serve, tmp_path: Path) -> None:
    gateway = await serve(**sections(tmp_path))
    storage = gateway.gateway._storage
    assert storage is not None
    writer = storage.engine._file.writer  # type: ignore[attr-defined]
    created = await gateway.create("demo-n400-gap3", lease="finish")
    events = (await gateway.subscribe(created["id"])).events()
    seen = await events.take(10)
    writer.execute("PRAGMA max_page_count = 1")
    await until(lambda: storage.failing)
    seen += await events.take(20)
    status = await gateway.status(created["id"])
    assert status["stored"] < status["events"]
    writer.execute("PRAGMA max_page_count = 1000000")
    seen += await events.rest()
    assert len(native_text(seen).split()) == 400
    await stored(gateway, created["id"])
    found = await storage.engine.find(created["id"])
    assert found is not None
    assert (found.head, found.sealed) == (newest(seen), True)


def newest(events: list[SseEvent]) -> int:
    """The number of the newest event."""
    return int((events[-1].id or "").split(".")[2])
