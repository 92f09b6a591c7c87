"""The admin's API, on a gateway that serves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import msgspec
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from stream_gateway.client import Client
from stream_gateway.config import ConfigError
from stream_gateway.control.access import Access
from stream_gateway.control.app import make_app
from stream_gateway.guard import jwks
from stream_gateway.guard.keys import new_key
from stream_gateway.streams.storage import Storage
from stream_protocols.events import Notice
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import types
from tests.doubles.issuer import AUDIENCE, ISSUER, KeyServer, jwk, jwk_set, token
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until
from tests.e2e.control.conftest import Subject


async def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"type", "code", "message", "param"}
    return error


async def test_probes(admin: httpx.AsyncClient, gateway: ServedGateway) -> None:
    assert (await admin.get("/healthz")).json() == {"status": "ok"}
    assert (await admin.get("/readyz")).json() == {"status": "ready"}
    gateway.gateway._storage = cast(Storage, SimpleNamespace(failing=True))
    response = await admin.get("/readyz")
    assert (response.status_code, response.json()) == (
        503,
        {"status": "not ready", "reason": "streams cannot be stored"},
    )
    gateway.gateway.drain()
    response = await admin.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"status": "not ready", "reason": "draining"})
    assert (await admin.get("/healthz")).status_code == 200


async def test_metrics(admin: httpx.AsyncClient, gateway: ServedGateway) -> None:
    await (await gateway.chat("demo-n3")).read()
    response = await admin.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    (sample,) = families["stream_gateway_streams_created"].samples
    assert (sample.labels, sample.value) == ({"route": "demo"}, 1)
    response = await admin.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.text.endswith("# EOF\n")


async def test_streams_a_page_at_a_time(admin: httpx.AsyncClient, gateway: ServedGateway) -> None:
    names = [(await gateway.create("demo-n2"))["id"] for _ in range(5)]
    await until(lambda: not gateway.now.running)
    seen: list[str] = []
    after: str | None = None
    while True:
        page = (await admin.get("/admin/streams", params={"limit": 2} | ({"after": after} if after else {}))).json()
        seen += [stream["id"] for stream in page["streams"]]
        if (after := page["next"]) is None:
            break
    assert seen == names[::-1]
    assert (await refusal(await admin.get("/admin/streams?after=nobody"), 404))["code"] == "unknown_stream"
    assert (await refusal(await admin.get("/admin/streams?limit=x"), 400))["param"] == "limit"


async def test_streams_of_one_kind(admin: httpx.AsyncClient, gateway: ServedGateway, upstream: OpenAIServer) -> None:
    gate = Gate()
    upstream.scripts["mock"] = Script(deltas=words(3), gate=gate)
    running = (await gateway.create("renamed"))["id"]
    ended = (await gateway.create("demo-n2"))["id"]
    await until(lambda: gateway.now.running == 1)

    async def those(**wanted: str) -> list[str]:
        return [stream["id"] for stream in (await admin.get("/admin/streams", params=wanted)).json()["streams"]]

    assert await those() == [ended, running]
    assert await those(status="finished") == await those(model="demo-n2") == [ended]
    assert await those(health="flowing") == await those(model="renamed") == [running]
    assert await those(health="stalled") == await those(status="failed") == []
    shown = (await admin.get(f"/admin/streams/{running}")).json()
    assert (shown["target"], shown["health"]["state"], shown["end"]) == ("mock/mock", "flowing", None)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["running"]
    gate.open()


async def test_cancelling(admin: httpx.AsyncClient, gateway: ServedGateway, upstream: OpenAIServer) -> None:
    gate = Gate(2)
    upstream.scripts["mock"] = Script(deltas=words(30), gate=gate)
    stream = (await gateway.create("renamed", lease="finish"))["id"]
    events = (await gateway.subscribe(stream)).events()
    await events.take(2)
    assert (await admin.delete(f"/admin/streams/{stream}")).json()["status"] == "cancelled"
    rest = await events.rest()
    assert rest[-1].json == {"type": "stream.cancelled", "reason": "operator"}
    assert (await admin.delete(f"/admin/streams/{stream}")).json()["status"] == "cancelled"
    await refusal(await admin.delete("/admin/streams/nobody"), 404)


async def test_connections(admin: httpx.AsyncClient, gateway: ServedGateway) -> None:
    for _ in range(3):
        await (await (await gateway.connect()).request("GET", "/v1/models")).read()
    page = (await admin.get("/admin/connections?limit=2")).json()
    assert [c["id"] for c in page["connections"]] == [3, 2]
    assert {(c["peer"], c["protocol"]) for c in page["connections"]} == {("127.0.0.1", "http/1.1")}
    page = (await admin.get(f"/admin/connections?before={page['next']}")).json()
    assert ([c["id"] for c in page["connections"]], page["next"]) == ([1], None)


async def test_targets_and_status(admin: httpx.AsyncClient, gateway: ServedGateway) -> None:
    await (await gateway.chat("renamed")).read()
    await until(lambda: not gateway.now.upstream_busy)
    targets = (await admin.get("/admin/targets")).json()
    (mine,) = [target for target in targets["targets"] if target["route"] == "renamed"]
    assert (mine["target"], mine["breaker"], mine["successes"]) == ("mock/mock", "closed", 1)
    assert mine["latency"] > 0
    assert targets["pools"]["mock"]["connections"] == 1
    status = (await admin.get("/admin/status")).json()
    assert (status["streams"], status["unready"], status["survey"]["paused"]) == (1, None, 0)


async def test_drain_and_reload(admin: httpx.AsyncClient, subject: Subject) -> None:
    assert (await admin.post("/admin/reload")).json() == {"applied": ["log.level"], "not_live": ["server.port"]}
    subject.reloads = ConfigError("gateway.toml: key `server.port`: expected `int`, got `str`.")
    assert "server.port" in (await refusal(await admin.post("/admin/reload"), 400))["message"]
    assert not subject.stopped.is_set()
    assert (await admin.post("/admin/drain")).status_code == 202
    assert subject.stopped.is_set()


@pytest.mark.parametrize("path", ["/admin/drain", "/admin/reload", "/admin/feed"])
async def test_nothing_changes_by_get(admin: httpx.AsyncClient, subject: Subject, path: str) -> None:
    response = await admin.get(path)
    assert (await refusal(response, 405))["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"
    assert not subject.stopped.is_set()


async def test_what_is_not_there(admin: httpx.AsyncClient) -> None:
    assert (await refusal(await admin.get("/admin/nothing"), 404))["code"] == "not_found"
    await refusal(await admin.get("/metrics", headers={"Host": "evil.example"}), 421)
    await refusal(await admin.post("/admin/drain", headers={"Origin": "http://evil.example"}), 403)


async def test_a_failure_is_an_answer(admin: httpx.AsyncClient, subject: Subject) -> None:
    subject.reloads = RuntimeError("oops")
    error = await refusal(await admin.post("/admin/reload"), 500)
    assert "oops" not in error["message"]


# ---- the feed


async def test_the_path_that_counts_is_the_one_that_is_answered(subject: Subject) -> None:
    """A Host header with a path in it makes no request for a probe of one for an admin."""
    app = make_app(subject, Access((), "a-long-random-text"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9090") as client:
        for host in ("127.0.0.1:9090/healthz?", "127.0.0.1/console/", "127.0.0.1/healthz#", "127.0.0.1:9090\\healthz?"):
            assert (await client.get("/admin/streams", headers={"Host": host})).status_code == 421
        for path in ("/healthz/../admin/streams", "/console/../admin/streams", "/healthz%2f", "//healthz", "/HEALTHZ"):
            assert (await client.get(path)).status_code in (401, 404)


async def test_an_admins_jwt_whose_key_has_yet_to_be_fetched(
    serve: Serve, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "MIN_INTERVAL", 0.0)
    keys = KeyServer()
    await nursery.start(keys.run)
    jwt = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": keys.url, "admin_scope": "admin"}
    gateway = await serve(guard={"jwt": jwt})
    guard = gateway.gateway.guard
    app = make_app(Subject(gateway), Access((), None, guard.recognise, closed=True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9090") as client:

        async def status(shown: str) -> int:
            return (await client.get("/admin/status", headers={"Authorization": f"Bearer {shown}"})).status_code

        assert await status(token(scope="admin")) == 200
        keys.answer = jwk_set(jwk("RS256", "new"))  # they rotate
        assert await status(token(kid="new", scope="admin")) == 200
        assert await status(token(kid="new", scope="other")) == 401
        assert await status(token(kid="none", scope="admin")) == 401


async def test_the_feed(admin: httpx.AsyncClient, gateway: ServedGateway) -> None:
    feed = (await admin.post("/admin/feed")).json()
    assert (await admin.post("/admin/feed")).json()["stream"] == feed["stream"]
    await (await gateway.chat("demo-n30")).read()
    await (await gateway.chat("demo-fail2")).read()
    events = (await gateway.subscribe(feed["stream"], after=feed["cursor"])).events()
    seen = await events.take(3)
    assert set(types(seen)) <= {"stream.started", "notice"}
    last = seen[-1].json
    assert last["code"] == "console.snapshot"
    snapshot = last["data"]["snapshot"]
    assert snapshot["connections"] == 3
    assert (snapshot["running"], snapshot["retained"]) == (0, 2)
    assert snapshot["first_token"]["count"] in (0, 1, 2)
    assert [error["route"] for error in snapshot["errors"]] == ["demo", "demo"]
    assert {target["circuit"] for target in snapshot["targets"]} == {"closed"}
    assert gateway.gateway.meters.route("demo").created == 2  # the feed is nobody's answer


async def test_the_feed_ends_with_the_gateway(admin: httpx.AsyncClient, gateway: ServedGateway) -> None:
    feed = (await admin.post("/admin/feed")).json()
    events = (await gateway.subscribe(feed["stream"])).events()
    await events.take(2)
    gateway.gateway.drain()
    assert (await events.rest())[-1].json == {"type": "stream.cancelled", "reason": "shutdown"}
    await gateway.gateway.idle()


async def test_the_feed_on_a_socket(admin: httpx.AsyncClient, gateway: ServedGateway) -> None:
    feed = (await admin.post("/admin/feed")).json()
    codes: list[str] = []
    async with Client(gateway.base_url, transports=["websocket"]) as client:
        async for event in client.attach(feed["stream"], after=feed["cursor"]):
            if isinstance(event, Notice):
                codes.append(event.code)
            if len(codes) == 2:
                break
        assert client.statistics().connects["websocket"] == 1
    assert codes == ["console.snapshot"] * 2


async def test_the_feeds_token_is_good_where_clients_have_to_say_who_they_are(serve: Serve, tmp_path: Path) -> None:
    _, key = new_key("somebody")
    file = tmp_path / "keys.json"
    file.write_bytes(msgspec.json.encode({"keys": [key]}))
    file.chmod(0o600)
    gateway = await serve(guard={"keys_file": str(file)})
    app = make_app(Subject(gateway), Access((), None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9090") as admin:
        feed = (await admin.post("/admin/feed")).json()
    target = f"/v1/streams/{feed['stream']}/events"
    assert (await gateway.get(target)).status == 401
    response = await gateway.get(target, Authorization=f"Bearer {feed['token']}")
    assert types(await response.events().take(2)) == ["stream.started", "notice"]
