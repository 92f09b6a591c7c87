"""SIGHUP: what can change changes, no connection is lost, and what needs a restart is named."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from stream_gateway.config import ConfigError, config_from_toml
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import GatewayClient, openai_text
from tests.doubles.gateway_config import KEY_VARIABLE, gateway_toml
from tests.doubles.gateway_process import GatewayProcess, gateway_process
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway


def reload(gateway: ServedGateway, upstream: OpenAIServer, **sections: Any) -> Any:
    return gateway.gateway.reload(config_from_toml(gateway_toml(upstream.base_url, **sections)))


async def test_routes_come_and_go_while_streams_run(gateway: ServedGateway, upstream: OpenAIServer) -> None:
    gate = Gate(2)
    upstream.scripts["mock"] = script = Script(deltas=words(10), gate=gate)
    events = (await gateway.chat("renamed")).events()
    seen = await events.take(2)
    made = reload(
        gateway,
        upstream,
        **{"routes.new": {"targets": [{"provider": "mock", "model": "other"}]}},
        provider={"silence_timeout": 7},
    )
    assert made.applied == ('providers."mock"', 'routes."new"')
    assert made.not_live == ()
    upstream.scripts["other"] = Script(deltas=("new", " words"))
    assert openai_text(await (await gateway.chat("new")).events().rest()) == "new words"
    gate.open()
    assert openai_text(seen + await events.rest()) == script.text
    reload(gateway, upstream)
    assert (await gateway.chat("new")).status == 404  # it is the double's now, by the route `*`


async def test_what_stays_as_it_is_keeps_what_it_has_learned(gateway: ServedGateway, upstream: OpenAIServer) -> None:
    await (await gateway.chat("renamed")).read()
    before = {target.route: target.attempts for target in gateway.now.targets}
    pool = gateway.gateway._vendors["mock"].transport
    reload(gateway, upstream, **{"routes.new": {"targets": [{"provider": "demo", "model": "demo"}]}})
    after = {target.route: target.attempts for target in gateway.now.targets}
    assert after == {**before, "new": 0}
    assert gateway.gateway._vendors["mock"].transport is pool


async def test_a_key_changes_without_losing_a_connection(
    gateway: ServedGateway, upstream: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await gateway.chat("renamed")).read()
    upstream.key = "sk-rotated"
    assert (await gateway.chat("renamed")).status == 401
    monkeypatch.setenv(KEY_VARIABLE, "sk-rotated")
    assert reload(gateway, upstream).applied == ()
    assert (await gateway.chat("renamed")).status == 200


async def test_limits_and_the_like(gateway: ServedGateway, upstream: OpenAIServer) -> None:
    connection = await gateway.connect()
    await (await connection.request("GET", "/v1/models")).read()
    made = reload(
        gateway,
        upstream,
        limits={"body_bytes": 1000},
        cors={"origins": ["https://app.example"]},
        streams={"budget_bytes": 1},
        server={"keepalive": 3, "drain_timeout": 4, "backlog": 5},
        compression={"gzip_level": 9},
    )
    assert made.applied == (
        "server.keepalive",
        "server.drain_timeout",
        "limits.body_bytes",
        "streams.budget_bytes",
        "cors.origins",
    )
    assert made.not_live == ("server.backlog", "compression.gzip_level")
    assert (await gateway.chat("renamed", user="x" * 2000)).status == 413
    assert (await gateway.get("/v1/models", Origin="https://app.example")).status == 200
    assert (await connection.request("GET", "/v1/models")).status == 200  # it is as it was
    # What needs a restart is named each time, until it is as it was.
    assert reload(gateway, upstream, compression={"gzip_level": 9}).not_live == ("compression.gzip_level",)


async def test_what_cannot_be_used_changes_nothing(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve()
    config = gateway.gateway.config
    with pytest.raises(ConfigError, match="is not set"):
        reload(gateway, upstream, provider={"api_key_env": "NOBODY_HAS_SET_THIS"}, limits={"body_bytes": 1000})
    assert gateway.gateway.config is config
    assert (await gateway.chat("renamed", user="x" * 2000)).status == 200


# ---- the process


async def _next(process: GatewayProcess, event: str, after: int = 0) -> dict[str, Any]:
    while True:
        for entry in process.log[after:]:
            if entry["event"] == event:
                return entry
        await trio.sleep(0.01)


async def test_a_hangup(tmp_path: Path) -> None:
    text = '[log]\nlevel = "{level}"\n[compression]\ngzip_level = {gzip}\n[routes.{name}]\n' + (
        'targets = [{{ provider = "demo", model = "demo-n3" }}]\n'
    )
    async with (
        gateway_process(text.format(level="info", gzip=1, name="old"), tmp_path) as process,
        GatewayClient(process.host, process.port) as client,
    ):
        running = (await client.chat("demo-n10-gap50")).events()
        await running.take(1)
        (tmp_path / "gateway.toml").write_text(text.format(level="debug", gzip=3, name="new"))
        process.process.send_signal(signal.SIGHUP)
        line = await _next(process, "reloaded")
        assert line["applied"] == ["log.level", 'routes."old"', 'routes."new"']
        assert line["needs_restart"] == ["compression.gzip_level"]
        assert (await client.chat("new")).status == 200
        assert (await client.chat("old")).status == 404
        await (await client.connect()).reset()
        assert (await _next(process, "connection_broke"))["level"] == "debug"
        (tmp_path / "gateway.toml").write_text("[log]\nlevle = 1\n")
        process.process.send_signal(signal.SIGHUP)
        line = await _next(process, "reload_failed")
        assert line["error"].endswith("key `log.levle` is not known; did you mean `level`?")
        assert (await running.rest())[-1].data == "[DONE]"
