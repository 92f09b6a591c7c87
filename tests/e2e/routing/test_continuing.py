"""An upstream dies in mid-stream: with `continue` another goes on where it stopped, with `fail` the client is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import native_text, openai_text, types
from tests.doubles.http_requests import Request
from tests.doubles.openai_script import BUSY, Refusal, Script, ToolCall, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.routes import ROUTE, all_given_back, counted, in_order, routed
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.session_client import session, text

ALL = words(200)
WHOLE = "".join(ALL)
NO_PREFILL = Refusal(status=400, code=None, message="The last message must be the user's.")
CONTINUE = {"after_first_token": "continue"}


def going_on(repeats: Callable[[str], str] = lambda said: "", **fields: Any) -> Callable[[Request], Script]:
    """A model that goes on from a trailing assistant message, after repeating as much of it as `repeats` says."""

    def script(request: Request) -> Script:
        last = request.json["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else ""
        assert WHOLE.startswith(said)
        rest = repeats(said) + WHOLE[len(said) :]
        return Script(deltas=tuple(rest[start : start + 5] for start in range(0, len(rest), 5)), **fields)

    return script


async def continuing(serve: Serve, *models: str, **settings: Any) -> ServedGateway:
    """A gateway with a route whose targets can all continue."""
    targets = in_order(*models, capabilities=["continue"])
    return await serve(**routed(targets, **{**CONTINUE, **settings}))


@pytest.mark.parametrize("ending", [Ending.CLOSE, Ending.ERROR, Ending.NO_DONE])
@pytest.mark.parametrize("deltas", range(0, 201, 10))
async def test_the_text_is_whole_and_the_splice_is_marked_once(
    upstream: OpenAIServer, serve: Serve, deltas: int, ending: Ending
) -> None:
    gateway = await continuing(serve, "bad", "good")
    upstream.scripts |= {"bad": Script(deltas=ALL[:deltas], ending=ending), "good": going_on()}
    created = await gateway.create(ROUTE)
    native = await (await gateway.subscribe(created["id"])).events().rest()
    assert native_text(native) == WHOLE
    assert types(native)[-1] == "stream.finished"
    assert types(native).count("stream.started") == 1
    notices = [event.json for event in native if event.json["type"] == "notice"]
    assert [notice["code"] for notice in notices] == ["continued"] * (deltas > 0)
    chat = await (await gateway.subscribe(created["id"], dialect="openai_chat")).events().rest()
    assert openai_text(chat) == WHOLE
    assert chat[-1].data == "[DONE]"
    assert len([event for event in chat if '"role"' in event.data]) == 1
    said = upstream.exchanges[1].request.json["messages"][1:]
    assert said == ([{"role": "assistant", "content": "".join(ALL[:deltas])}] if deltas else [])
    await all_given_back(gateway)


@pytest.mark.parametrize(
    "repeats",
    [lambda said: said, lambda said: said[-40:], lambda said: said[-12:]],
    ids=["all", "the last words", "just enough"],
)
@pytest.mark.parametrize("deltas", [3, 10, 100, 200])
async def test_what_is_said_twice_is_shown_once(
    upstream: OpenAIServer, serve: Serve, deltas: int, repeats: Callable[[str], str]
) -> None:
    gateway = await continuing(serve, "bad", "good")
    upstream.scripts |= {"bad": Script(deltas=ALL[:deltas], ending=Ending.CLOSE), "good": going_on(repeats)}
    chat = await (await gateway.chat(ROUTE)).events().rest()
    assert openai_text(chat) == WHOLE


async def test_it_may_die_again(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await continuing(serve, "first", "second", "third")
    second = going_on()

    def dying(request: Request) -> Script:
        script = second(request)
        return Script(deltas=script.deltas[:20], ending=Ending.CLOSE)

    upstream.scripts |= {
        "first": Script(deltas=ALL[:50], ending=Ending.CLOSE),
        "second": dying,
        "third": going_on(lambda said: said),
    }
    created = await gateway.create(ROUTE)
    native = await (await gateway.subscribe(created["id"])).events().rest()
    assert native_text(native) == WHOLE
    assert types(native).count("notice") == 2
    status = await gateway.status(created["id"])
    assert [(a["target"], a["kind"], a["outcome"]) for a in status["attempts"]] == [
        ("mock/first", "first", "failed"),
        ("mock/second", "continue", "failed"),
        ("mock/third", "continue", "finished"),
    ]


async def test_the_same_target_goes_on_when_it_is_the_only_one(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await continuing(serve, "m")
    scripts = iter([lambda request: Script(deltas=ALL[:70], ending=Ending.CLOSE)])
    upstream.scripts["m"] = lambda request: next(scripts, going_on())(request)
    events = await (await gateway.chat(ROUTE)).events().rest()
    assert openai_text(events) == WHOLE


async def test_usage_is_the_sum_of_what_is_known(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await continuing(serve, "bad", "good")
    upstream.scripts |= {"bad": Script(deltas=ALL[:70], ending=Ending.CLOSE), "good": going_on()}
    events = await (await gateway.chat(ROUTE, stream_options={"include_usage": True})).events().rest()
    usages = [event.json["usage"] for event in events if event.data != "[DONE]" and event.json.get("usage")]
    assert [usage["prompt_tokens"] for usage in usages] == [7]
    await all_given_back(gateway)
    counts = counted(gateway, "good")
    assert (counts.input_tokens, counts.output_tokens) == (7, usages[0]["completion_tokens"])


@pytest.mark.parametrize("refusal", [BUSY, NO_PREFILL], ids=["busy", "a request it cannot take"])
async def test_when_nobody_can_go_on_the_first_failure_is_told(
    upstream: OpenAIServer, serve: Serve, refusal: Refusal
) -> None:
    gateway = await continuing(serve, "bad", "worse")
    upstream.scripts |= {"bad": Script(deltas=ALL[:9], ending=Ending.ERROR), "worse": Script(refusal=refusal)}
    created = await gateway.create(ROUTE)
    events = await (await gateway.subscribe(created["id"])).events().rest()
    assert native_text(events) == "".join(ALL[:9])
    assert events[-1].json["code"] == "model_gone"
    assert "notice" not in types(events)


async def test_only_who_declares_it_goes_on(upstream: OpenAIServer, serve: Serve) -> None:
    targets = [*in_order("bad", "cannot"), {**in_order("can")[0], "priority": 2, "capabilities": ["continue"]}]
    gateway = await serve(**routed(targets, **CONTINUE))
    upstream.scripts |= {"bad": Script(deltas=ALL[:9], ending=Ending.CLOSE), "can": going_on()}
    assert openai_text(await (await gateway.chat(ROUTE)).events().rest()) == WHOLE
    assert [exchange.request.json["model"] for exchange in upstream.exchanges] == ["bad", "can"]


async def test_an_answer_that_broke_off_while_it_was_being_thought_of(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await continuing(serve, "bad", "good")
    upstream.scripts |= {"bad": Script(reasoning=("Hm, ",), deltas=(), ending=Ending.CLOSE), "good": going_on()}
    created = await gateway.create(ROUTE)
    events = await (await gateway.subscribe(created["id"])).events().rest()
    assert native_text(events) == WHOLE
    assert types(events)[1:4] == ["reasoning.delta", "notice", "text.delta"]
    assert upstream.exchanges[1].request.json["messages"] == upstream.exchanges[0].request.json["messages"]


CALL = ToolCall(id="call_1", name="weather", fragments=('{"city":', '"Oslo"', "}"))


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        (Script(tool_calls=(CALL,), ending=Ending.CLOSE), {}),
        (Script(deltas=ALL[:9], ending=Ending.CLOSE), {"n": 2}),
    ],
    ids=["a tool call", "several choices"],
)
async def test_what_is_never_continued(
    upstream: OpenAIServer, serve: Serve, script: Script, fields: dict[str, Any]
) -> None:
    gateway = await continuing(serve, "bad", "good")
    upstream.scripts |= {"bad": script, "good": going_on()}
    events = await (await gateway.chat(ROUTE, **fields)).events().rest()
    assert "error" in events[-1].json
    assert len(upstream.exchanges) == 1


@pytest.mark.parametrize("deltas", range(10, 201, 10))
async def test_without_it_every_dialect_hears_of_the_failure(upstream: OpenAIServer, serve: Serve, deltas: int) -> None:
    gateway = await serve(**routed(in_order("bad", "good")))
    upstream.scripts |= {
        "bad": Script(deltas=ALL[:deltas], ending=Ending.CLOSE, gate=(gate := Gate())),
        "good": going_on(),
    }
    socket = await session(gateway)
    stream = await socket.create(ROUTE)
    native = (await gateway.subscribe(stream)).events()
    chat = (await gateway.subscribe(stream, dialect="openai_chat")).events()
    gate.open()
    said = "".join(ALL[:deltas])
    ends = await native.rest()
    assert (native_text(ends), types(ends)[-1]) == (said, "stream.failed")
    ends = await chat.rest()
    assert openai_text(ends) == said
    assert ends[-1].json["error"]["code"] == "upstream_error"
    pushed = await socket.rest(stream)
    assert text(pushed) == said
    assert pushed[-1]["event"]["type"] == "stream.failed"
    assert len(upstream.exchanges) == 1
