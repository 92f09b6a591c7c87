"""`stream-gateway chat` and `tail` as somebody at a terminal sees them."""

from __future__ import annotations

import json
import subprocess

import pytest
import trio

from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.gate import Gate
from tests.doubles.gateway_process import _SCRIPT
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import ServedGateway


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STREAM_GATEWAY_URL", "STREAM_GATEWAY_TOKEN"):
        monkeypatch.delenv(name, raising=False)


async def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the console script to its end."""
    command = [str(_SCRIPT), *arguments]
    return await trio.run_process(command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False)


async def test_one_question(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(10))
    result = await run("chat", "--url", gateway.base_url, "--model", "m", "tell", "me")
    assert (result.returncode, result.stdout.decode(), result.stderr) == (0, script.text + "\n", b"")
    assert upstream.exchanges[0].request.json["messages"] == [{"role": "user", "content": "tell me"}]


async def test_a_conversation_remembers(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=("yes",))
    result = await run("chat", "-u", gateway.base_url, "-m", "m", stdin=b"one?\n\ntwo?\n")
    assert (result.returncode, result.stdout) == (0, b"yes\nyes\n")
    said = [message["content"] for message in upstream.exchanges[1].request.json["messages"]]
    assert said == ["one?", "yes", "two?"]


async def test_an_answer_that_breaks_off(gateway: ServedGateway) -> None:
    result = await run("chat", "-u", gateway.base_url, "-m", "demo-n9-gap0-fail3", "x")
    assert result.returncode == 1
    assert len(result.stdout.split()) == 3
    assert b"failed after 3 deltas" in result.stderr


async def test_reconnecting_is_visible(upstream: OpenAIServer, proxy: ChaosProxy) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate()))
    results: list[subprocess.CompletedProcess[bytes]] = []

    async def chat() -> None:
        results.append(await run("chat", "-u", proxy.url, "-m", "m", "x"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat)
        await upstream.next_exchange()
        gate.release(10)
        proxy.strike(Fault.CUT)
        gate.open()
    assert results[0].returncode == 0
    assert results[0].stdout.decode() == script.text + "\n"
    assert b"trying again in" in results[0].stderr
    assert b"back by websocket" in results[0].stderr


async def test_tailing(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(5))
    name = (await gateway.create("m"))["id"]
    text = await run("tail", "-u", gateway.base_url, name)
    assert (text.returncode, text.stdout.decode()) == (0, script.text + "\n")
    lines = (await run("tail", "-u", gateway.base_url, "--events", name)).stdout.splitlines()
    assert json.loads(lines[-1])["event"]["type"] == "stream.finished"
    third = json.loads(lines[2])["id"]
    rest = (await run("tail", "-u", gateway.base_url, "--events", "--after", third, name)).stdout.splitlines()
    assert rest == lines[3:]


async def test_mistakes_are_one_line(gateway: ServedGateway) -> None:
    for arguments, said in (
        (["tail", "-u", gateway.base_url, "none"], b"stream-gateway: There is no stream 'none'"),
        (["chat", "-u", "nonsense", "x"], b"stream-gateway: 'nonsense' is no address"),
    ):
        result = await run(*arguments)
        assert result.returncode == 2, result
        assert result.stderr.startswith(said)
        assert len(result.stderr.splitlines()) == 1
