"""The examples run as somebody runs them: each in a process of its own, at a terminal where it is made for one."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.terminal import CTRL_C, CTRL_D, terminal
from tests.doubles.waiting import until

EXAMPLES = Path(__file__).parents[3] / "examples"

pytestmark = pytest.mark.deadline(60)  # they take a few seconds, most of it to start Python


def command(name: str, gateway: ServedGateway, model: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), "--url", gateway.base_url, "--model", model]


async def output(name: str, gateway: ServedGateway, model: str) -> str:
    """All that an example prints until it ends well."""
    return (await trio.run_process(command(name, gateway, model), capture_stdout=True)).stdout.decode()


async def test_npc_dialogue(gateway: ServedGateway) -> None:
    shown = await output("npc_dialogue.py", gateway, "demo-n30-gap20")
    assert re.search(r"Mira .*—.*Osric .*Tamsin ", shown, re.DOTALL)
    assert re.search(r"\d+ ticks of 33 ms", shown)
    await gateway.idle()


async def test_an_npc_that_is_interrupted_costs_nothing_more(gateway: ServedGateway) -> None:
    """Nobody's answer ever ends here: the one that was interrupted has been cancelled, and the game goes on."""
    async with terminal(*command("npc_dialogue.py", gateway, "demo-n99-gap5-stall20")) as game:
        await game.shows("—")
        await until(lambda: gateway.now.streams == 4 and gateway.now.running == 3)
        assert gateway.now.sockets == 1
        await game.types(CTRL_C)
        assert await game.ends() == 130
        assert "Traceback" not in game.shown
    await gateway.idle()


async def test_live_captions(gateway: ServedGateway) -> None:
    heard: dict[str, list[str]] = {}
    for line in (await output("live_captions.py", gateway, "demo-n110-gap10")).splitlines():
        viewer, caption = re.fullmatch(r" *[\d.]+ s  (.{15}) (.*)", line).groups()  # type: ignore[union-attr]
        heard.setdefault(viewer.strip(), []).append(caption)
    texts = {viewer: " ".join(captions) for viewer, captions in heard.items()}
    assert len(texts["sentences"].split()) == 110
    assert texts["sentences"] == texts["every 700 ms"] == texts["late, all"]
    assert texts["sentences"].endswith(texts["late, from now"])
    assert len(texts["late, from now"].split()) < 110
    assert all(len(captions) < 30 for captions in heard.values())
    assert gateway.now.streams == 1


async def test_live_analysis(upstream: OpenAIServer, gateway: ServedGateway, tmp_path: Path) -> None:
    """It is left after ten words, and written on; whoever comes back has all of it."""
    upstream.scripts["m"] = script = Script(deltas=words(40), gate=(gate := Gate(10)))
    async with terminal(*command("live_analysis.py", gateway, "m"), cwd=tmp_path) as screen:
        await screen.shows("10/400 words")
        await screen.types(CTRL_C)
        assert await screen.ends() == 130
        assert "Traceback" not in screen.shown
    notes = json.loads((tmp_path / "live_analysis.json").read_bytes())
    assert notes["text"].split() == [word.strip() for word in words(10)]
    await until(lambda: gateway.now.subscriptions == 0)
    gate.open()
    await until(lambda: gateway.now.running == 0)
    async with terminal(*command("live_analysis.py", gateway, "m"), cwd=tmp_path) as screen:
        await screen.shows("Going on after 10 words")
        await screen.shows("40/400 words")
        await screen.shows(script.text)
        assert await screen.ends() == 0
    assert os.listdir(tmp_path) == []
    assert len(upstream.exchanges) == 1


async def test_an_analysis_that_is_gone(gateway: ServedGateway, tmp_path: Path) -> None:
    (tmp_path / "live_analysis.json").write_text('{"stream":"gone","cursor":null,"text":""}')
    result = await trio.run_process(
        command("live_analysis.py", gateway, "m"), capture_stdout=True, capture_stderr=True, check=False, cwd=tmp_path
    )
    assert result.returncode == 1
    assert result.stderr.startswith(b"There is no stream 'gone'")
    assert os.listdir(tmp_path) == []


async def test_tutor(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Interrupted in the second sentence, it knows that it never said the third, and its model stops generating."""
    said = ("One comes first. ", "Two takes a little longer to say. ", "Three. ")
    upstream.scripts["m"] = Script(deltas=said, gate=(gate := Gate(2)))
    async with terminal(*command("tutor.py", gateway, "m")) as lesson:
        await lesson.shows("Ctrl-D when you have none.")
        await lesson.types("What is a number?\n")
        await lesson.shows("One comes first. \nTwo takes")
        await lesson.types("And a prime?\n")
        await upstream.exchanges[0].left.wait()
        gate.open()
        await lesson.shows("Three.")
        await lesson.types(CTRL_D)
        assert await lesson.ends() == 0
    asked = upstream.exchanges[1].request.json["messages"]
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "user"]
    assert asked[2]["content"].startswith("One comes first. Two takes")
    assert not asked[2]["content"].endswith("say. ")


@pytest.mark.parametrize("name", ["npc_dialogue.py", "live_captions.py", "live_analysis.py"])
async def test_without_a_gateway_an_example_says_so(name: str, tmp_path: Path) -> None:
    arguments = [sys.executable, str(EXAMPLES / name), "--url", "nonsense"]
    result = await trio.run_process(arguments, capture_stderr=True, check=False, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == b"'nonsense' is no address of a gateway; expected something like http://127.0.0.1:8080.\n"


def test_the_index_is_complete() -> None:
    index = (EXAMPLES / "README.md").read_text()
    listed = set(re.findall(r"\]\(([\w./]+)\)", index))
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".html")} - {"command_line.py"} <= listed
    assert all((EXAMPLES / name).exists() for name in listed)
