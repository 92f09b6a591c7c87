"""Secrets stay where they belong: not in logs, answers, errors, files or the list of processes."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
import trio
from typer.testing import CliRunner

from stream_gateway.cli import app
from stream_gateway.config import LogSettings
from stream_gateway.observe.logging import configure_logging
from stream_protocols.commands import Auth
from tests.doubles import secrets
from tests.doubles.gateway_client import CHAT, STREAMS, GatewayClient
from tests.doubles.gateway_process import _SCRIPT, GatewayProcess
from tests.doubles.keyed import HELD, MODEL, SIGNING, Keyed, bearer, stream_token, subprotocol
from tests.doubles.secrets import Watch, secret, watch
from tests.doubles.served_gateway import Spawn
from tests.doubles.sockets.raw_socket import JSON, raw_socket, shake
from tests.doubles.sockets.session_client import SessionClient
from tests.doubles.waiting import until


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A watch of the test's own, so that it may find what it looks for."""
    found: list[str] = []
    monkeypatch.setattr(secrets, "FOUND", found)
    monkeypatch.setattr(secrets, "SECRETS", {first: set(some) for first, some in secrets.SECRETS.items()})
    return found


def test_the_watch_finds_what_it_looks_for(kept: list[str]) -> None:
    secret("open-sesame-open-sesame")
    watch("nothing", "a")
    assert kept == []
    watch(b"... open-sesame-open-sesame ...", "b")
    piecewise = Watch("c")
    for piece in (b"... open-ses", b"ame-open-sesame ..."):
        piecewise(piece)
    assert [text.split(":")[0] for text in kept] == ["b", "c"]


async def test_a_log_at_its_most_talkative(keyed: Keyed, spawn: Spawn, tmp_path: Path) -> None:
    """All that can be shown is shown, in all ways, to a process whose log is watched (see `GatewayProcess`)."""
    signing = tmp_path / "log.secret"
    signing.write_text(SIGNING)
    guard = {"keys_file": str(keyed.path), "secret_file": str(signing), "failed_logins": 1000}
    async with spawn(log={"level": "debug", "format": "json"}, guard=guard) as process:
        async with GatewayClient(process.host, process.port) as client:
            for credential in (keyed.ann, secret(keyed.ann + "x"), stream_token("s"), stream_token("s", 1)):
                await _show(client, credential)
            events = (await client.chat(HELD, headers=bearer(keyed.ann))).events()
            await events.take(2)
        await until(lambda: any(entry["event"] == "login_failed" for entry in process.log))
        assert not any(each in command_of(process) for some in secrets.SECRETS.values() for each in some)


def command_of(process: GatewayProcess) -> str:
    """What everybody on the machine sees of a process (Linux)."""
    return Path(f"/proc/{process.process.pid}/cmdline").read_text()


async def _show(client: GatewayClient, credential: str) -> None:
    """Show a credential wherever one could think of."""
    everywhere = bearer(credential), *({name: credential} for name in ("x-api-key", "Authorization", "X-Other"))
    for headers in everywhere:
        for target in ("/v1/models", f"/v1/models?token={credential}", f"{STREAMS}/s/events?token={credential}"):
            await (await client.request("GET", target, headers=headers)).read()
        await (await client.request("POST", CHAT, payload=b"{", headers=headers)).read()
    await (await client.get(f"{STREAMS}/s/events?token={credential}")).read()
    shown = await shake(client, protocol=f"{JSON}, {subprotocol(credential)}")
    await shown.connection.aclose()
    session = SessionClient(await raw_socket(client))
    await session.ask("auth", token=credential)
    await session.socket.line.aclose()


@pytest.mark.parametrize("style", ["console", "json"])
def test_an_exception_with_a_credential_in_it(monkeypatch: pytest.MonkeyPatch, style: str) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logging(LogSettings(format=style))  # type: ignore[arg-type]
    log, key = structlog.get_logger(), "sgk_0123456789ab_" + "s" * 43
    try:
        local = f"Bearer {key}"
        try:
            {}[f"cannot use {key}"]
        except KeyError:
            log.exception("failed", what=f"it was {local}", error=ValueError(key))
    finally:
        structlog.reset_defaults()
    assert "cannot use" in stderr.getvalue()
    assert "[redacted]" in stderr.getvalue()
    assert "ssss" not in stderr.getvalue()


def test_a_command_does_not_show_what_it_carries() -> None:
    assert "secret" not in repr(Auth(ref=1, token="secret"))


@pytest.mark.deadline(60)  # two interpreters have to start
async def test_the_clients_command_line(keyed: Keyed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key comes from a file or the environment, and is not shown by those who refuse it either."""
    gateway = await keyed.start()
    file = tmp_path / "key.secret"
    file.write_text(keyed.ann + "\n")
    command = [str(_SCRIPT), "chat", "--url", gateway.base_url, "--model", MODEL, "hello"]

    async def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process([*command, *arguments], capture_stdout=True, capture_stderr=True, check=False)

    assert (await run("--token-file", str(file))).stdout == b"w0 w1 w2 \n"
    monkeypatch.setenv("STREAM_GATEWAY_TOKEN", secret(keyed.ann + "x"))
    refused = await run()
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert b"its token is missing, wrong" in refused.stderr
    watch(refused.stderr, "what the client says")
    monkeypatch.delenv("STREAM_GATEWAY_TOKEN")
    assert b"Set STREAM_GATEWAY_TOKEN, or give --token-file." in (await run()).stderr


def test_there_is_no_option_for_the_key_itself() -> None:
    for command in ("chat", "tail"):
        assert CliRunner().invoke(app, [command, "--token", "x", "hello"]).exit_code == 2
