"""`stream-gateway chat` and `tail` in a real pseudo-terminal, as somebody uses them who has just installed it."""

from __future__ import annotations

import socket

import pytest

from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.gate import Gate
from tests.doubles.gateway_process import _SCRIPT
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.terminal import CTRL_C, CTRL_D, terminal

COMMAND = str(_SCRIPT)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STREAM_GATEWAY_URL", "STREAM_GATEWAY_TOKEN"):
        monkeypatch.delenv(name, raising=False)


async def test_a_conversation(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=words(3), gate=(gate := Gate()))
    async with terminal(COMMAND, "chat", "-u", gateway.base_url, "-m", "m") as shell:
        await shell.shows(f"Talking to m at {gateway.base_url}. Ctrl-D ends the conversation")
        await shell.shows("> ")
        await shell.types("one?\n")
        for word in ("w0", "w1", "w2"):  # each appears before there is another
            gate.release()
            await shell.shows(word)
        gate.open()
        await shell.shows("> ")
        await shell.types("two?\n")
        await shell.shows("w2")
        await shell.shows("> ")
        await shell.types(CTRL_D)
        assert await shell.ends() == 0
        assert shell.shown.endswith("> \n")
        assert "Traceback" not in shell.shown


async def test_interrupting_an_answer(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """The provider hears of it: nobody pays for the rest."""
    upstream.scripts["m"] = Script(deltas=words(9), gate=Gate(2))
    async with terminal(COMMAND, "chat", "-u", gateway.base_url, "-m", "m", "tell me") as shell:
        await shell.shows("w1")
        await shell.types(CTRL_C)
        assert await shell.ends() == 130
        assert shell.shown == "w0 w1 ^C\n"
    await upstream.all_left()


@pytest.mark.parametrize("command", [("chat",), ("tail", "STREAM")])
async def test_interrupting_what_waits(
    upstream: OpenAIServer, gateway: ServedGateway, command: tuple[str, ...]
) -> None:
    upstream.scripts["m"] = Script(deltas=words(9), gate=Gate(1))
    name = (await gateway.create("m"))["id"]
    arguments = [name if argument == "STREAM" else argument for argument in command]
    async with terminal(COMMAND, *arguments, "-u", gateway.base_url) as shell:
        await shell.shows("> " if command == ("chat",) else "w0")
        await shell.types(CTRL_C)
        assert await shell.ends() == 130
        assert shell.shown.endswith("^C\n")
        assert "Traceback" not in shell.shown


async def test_reconnecting_is_visible(upstream: OpenAIServer, proxy: ChaosProxy) -> None:
    upstream.scripts["m"] = Script(deltas=words(4), gate=(gate := Gate(2)))
    async with terminal(COMMAND, "chat", "-u", proxy.url, "-m", "m", "x") as shell:
        await shell.shows("w1")
        proxy.strike(Fault.CUT)
        await shell.shows("; trying again in ")
        await shell.shows("back by websocket")
        gate.open()
        await shell.shows("w3")
        assert await shell.ends() == 0


async def test_nobody_is_there() -> None:
    """A reason is given once, however many tries there are, and the verdict has a line of its own."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with terminal(COMMAND, "chat", "-u", url, "x") as shell:
            assert await shell.ends() == 2
    notices, verdict = shell.shown.splitlines()
    assert notices.count("cannot connect") == 1
    assert verdict.startswith(f"stream-gateway: Nobody to talk to at {url} (")
    assert verdict.endswith("Is the address right, and the gateway running?")


async def test_a_stream_that_does_not_exist(gateway: ServedGateway) -> None:
    async with terminal(COMMAND, "tail", "-u", gateway.base_url, "none") as shell:
        assert await shell.ends() == 2
    assert shell.shown.startswith("stream-gateway: There is no stream 'none'")
    assert shell.shown.count("\n") == 1


async def test_a_model_cannot_command_the_terminal(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=("red\x1b[31m\x07\x9b2J ", "\u00fcber\ttab\nline"))
    async with terminal(COMMAND, "chat", "-u", gateway.base_url, "-m", "m", "x") as shell:
        assert await shell.ends() == 0
    assert shell.shown == "red[31m2J über\ttab\nline\n"
