"""Who asks for what, where, and what happens when it is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.doubles.gateway_client import MESSAGES, STREAMS, chat_body, native_text, openai_text, refused
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.pieces import ndjson, sse, text, websocket
from tests.doubles.raw_client import Response
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.session_client import session
from tests.doubles.sockets.session_client import text as pushed

EXAMPLES = Path(__file__).parents[3] / "examples"
SCRIPT = Script(deltas=words(8))
ROUTE = {"targets": [{"provider": "mock", "model": "m"}]}


@pytest.fixture
async def gateway(serve: Serve, upstream: OpenAIServer) -> ServedGateway:
    """With a route of its own strategy."""
    upstream.scripts["m"] = SCRIPT
    routed = {**ROUTE, "chunking": "bytes:8"}
    return await serve(**{"routes.plain": ROUTE, "routes.routed": routed, "streams": {"chunking": "passthrough"}})


async def sizes(response: Response) -> list[int]:
    """The lengths of the texts in the chunks of a chat completion."""
    texts = [openai_text([event]) for event in await response.events().rest()]
    assert "".join(texts) == SCRIPT.text
    return [len(text) for text in texts if text]


# Each word has three characters: as they are, in eights, in fives.
PLAIN, EIGHTS, FIVES = [3] * 8, [8, 8, 8], [5, 5, 5, 5, 4]


async def test_the_route_decides_when_nobody_else_does(gateway: ServedGateway) -> None:
    assert await sizes(await gateway.chat("plain")) == PLAIN
    assert await sizes(await gateway.chat("routed")) == EIGHTS


async def test_the_request_decides_before_the_route(gateway: ServedGateway) -> None:
    chat = "/v1/chat/completions"
    query = await gateway.request("POST", f"{chat}?chunking=bytes:5", payload=chat_body("routed"))
    assert await sizes(query) == FIVES
    assert await sizes(await gateway.chat("routed", headers={"Stream-Chunking": "bytes:5"})) == FIVES
    assert await sizes(await gateway.chat("routed", chunking="bytes:5")) == FIVES
    assert await sizes(await gateway.chat("routed", chunking=None)) == EIGHTS
    assert await sizes(await gateway.chat("routed", chunking="passthrough")) == PLAIN


async def test_the_field_is_not_the_providers(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    await sizes(await gateway.chat("plain", chunking="bytes:5", custom={"chunking": 1}))
    body = upstream.exchanges[-1].request.json
    assert "chunking" not in body
    assert body["custom"] == {"chunking": 1}


async def test_query_before_header_before_body(gateway: ServedGateway) -> None:
    response = await gateway.request(
        "POST",
        "/v1/chat/completions?chunking=bytes:5",
        payload=chat_body("plain", chunking="bytes:4"),
        headers={"Stream-Chunking": "bytes:8"},
    )
    assert await sizes(response) == FIVES
    headers = {"Stream-Chunking": "bytes:8"}
    assert await sizes(await gateway.chat("plain", headers=headers, chunking="bytes:5")) == EIGHTS


async def test_who_creates_a_stream_chooses_for_its_readers_who_do_not(gateway: ServedGateway) -> None:
    stream = (await gateway.create("plain", chunking="bytes:5"))["id"]
    events = await (await gateway.subscribe(stream)).events().rest()
    assert native_text(events) == SCRIPT.text
    assert len([event for event in events if event.json["type"] == "text.delta"]) == 5
    for read in (sse, ndjson, websocket):
        pieces = await read(gateway, stream, "bytes:8", None, None)
        assert [len(piece) for _, piece in pieces if piece] == EIGHTS
    client = await session(gateway)
    await client.subscribe(stream)
    assert len([push for push in await client.rest(stream) if push["event"]["type"] == "text.delta"]) == 5


async def test_a_socket_chooses_in_its_commands(gateway: ServedGateway) -> None:
    client = await session(gateway)
    for model, fields, count in (
        ("plain", {"chunking": "bytes:5"}, 5),
        ("routed", {}, 3),
        ("plain", {"request": {"model": "plain", "messages": MESSAGES, "chunking": "bytes:8"}}, 3),
        ("routed", {"chunking": "passthrough"}, 8),
    ):
        stream = await client.create(model, **fields)
        pushes = await client.rest(stream)
        assert pushed(pushes) == SCRIPT.text
        assert len([push for push in pushes if push["event"]["type"] == "text.delta"]) == count


async def test_a_resumed_completion_chooses_anew(gateway: ServedGateway) -> None:
    response = await gateway.chat("plain", lease=60, chunking="bytes:5")
    first = await response.events().take(3)
    await response.connection.aclose()
    again = await gateway.chat("plain", headers={"Last-Event-ID": first[-1].id or ""}, chunking="bytes:8")
    rest = await again.events().rest()
    assert openai_text([*first, *rest]) == SCRIPT.text
    assert max(len(openai_text([event])) for event in rest) == 8


# What is none

NONE = "sentence"


async def check(response: Response, param: str) -> None:
    error = await refused(response, 400)
    assert error["param"] == param
    assert error["message"].startswith(f"Field `{param}` is wrong: there is no chunking 'sentence'; known: adaptive, ")
    assert "interval:MILLISECONDS" in error["message"]


async def test_a_name_that_means_nothing(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    stream = (await gateway.create("plain"))["id"]
    await sse(gateway, stream, "words", None, None)
    asked, known = len(upstream.exchanges), gateway.now.streams
    await check(await gateway.subscribe(stream, chunking=NONE), "chunking")
    await check(await gateway.get(f"{STREAMS}/{stream}/events", Stream_Chunking=NONE), "Stream-Chunking")
    await check(await gateway.chat("plain", chunking=NONE), "chunking")
    await check(await gateway.chat("plain", headers={"Stream-Chunking": NONE}), "Stream-Chunking")
    body = {"model": "plain", "messages": MESSAGES, "chunking": NONE}
    await check(await gateway.request("POST", STREAMS, payload=body), "chunking")
    client = await session(gateway)
    for command, fields in (
        ("stream.create", {"request": {"model": "plain", "messages": MESSAGES}}),
        ("stream.subscribe", {"stream": stream}),
    ):
        for name in (NONE, ""):
            error = await client.refused(command, chunking=name, **fields)
            assert (error["code"], error["param"]) == ("invalid_field", "chunking")
    assert len(upstream.exchanges) == asked, "a refused request asked the provider"
    assert gateway.now.streams == known


@pytest.mark.parametrize("value", [5, ["words"], {"name": "words"}, True])
async def test_a_field_of_another_type(gateway: ServedGateway, value: object) -> None:
    error = await refused(await gateway.chat("plain", chunking=value), 400)
    assert error["param"] == "chunking"
    assert "expected `str" in error["message"]


async def test_a_number_out_of_range(gateway: ServedGateway) -> None:
    error = await refused(await gateway.chat("plain", chunking="bytes:0"), 400)
    assert error["message"] == "Field `chunking` is wrong: 'bytes:0' needs a whole number from 1 to 65536."


# A strategy of somebody's own


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "custom_chunker", raising=False)


@pytest.mark.usefixtures("examples")
async def test_the_example(serve: Serve, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script(deltas=("Well, one", " clause, and another", " one; then ", "the end, almost"))
    clauses = {"class": "custom_chunker:Clauses", "shortest": 12}
    gateway = await serve(**{"chunking.clauses": clauses, "routes.spoken": {**ROUTE, "chunking": "clauses"}})
    stream = (await gateway.create("spoken"))["id"]
    for strategy in ("clauses", None):
        query = {} if strategy is None else {"chunking": strategy}
        events = await (await gateway.subscribe(stream, **query)).events().rest()
        texts = [event.json["text"] for event in events if "text" in event.json]
        assert texts == ["Well, one clause, ", "and another one; ", "then the end, ", "almost"]


FAILING = """\
from stream_protocols.chunking import Chunker

class Fails(Chunker):
    def __init__(self, after, how):
        self.left, self.how = after, how

    def cut(self, waiting):
        if waiting.final and waiting.text.startswith("A probe"):
            return 0
        self.left -= 1
        if self.left >= 0:
            return min(2, len(waiting.text))
        if self.how == "raise":
            raise RuntimeError("lost my way")
        return len(waiting.text) + 5
"""


@pytest.mark.parametrize("how", ["raise", "ask for too much"])
@pytest.mark.parametrize("after", [0, 1, 4])
async def test_one_that_fails_costs_its_client_nothing(
    serve: Serve,
    upstream: OpenAIServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
    after: int,
) -> None:
    """It goes on by passthrough from the last good cursor, and the log says why; a neighbour notices nothing."""
    (tmp_path / "failing_chunker.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "failing_chunker", raising=False)
    upstream.scripts["m"] = SCRIPT
    settings = {"class": "failing_chunker:Fails", "after": after, "how": how}
    gateway = await serve(**{"chunking.fails": settings})
    stream = (await gateway.create("m", lease="finish"))["id"]
    for read in (sse, ndjson, websocket):
        capsys.readouterr()
        pieces = await read(gateway, stream, "fails", None, None)
        assert text(pieces) == SCRIPT.text
        log = capsys.readouterr().out
        assert log.count("chunker_failed") == 1
        assert ("RuntimeError: lost my way" if how == "raise" else "BadCut: Fails cut ") in log
        assert text(await read(gateway, stream, "words", None, None)) == SCRIPT.text
