"""OpenAI's endpoints that are no chat, through the official SDK and by hand."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.doubles.gate import Gate
from tests.doubles.gemini_server import GeminiServer
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script
from tests.doubles.openai_server import PLAIN, SOUND, SPEECH, OpenAIServer
from tests.doubles.routes import ROUTE, routed, target
from tests.doubles.sdk import MESSAGES
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until

EMBEDDINGS = "/v1/embeddings"


@pytest.mark.parametrize("path", [path for path in PLAIN if path != SPEECH])
async def test_json_is_passed_with_the_providers_name(
    upstream: OpenAIServer, gateway: ServedGateway, path: str
) -> None:
    """All but the model's name stays as it was written: numbers, order, unknown fields."""
    body = b'{ "x": 1.50, "model":"renamed","input":["\\u00fc", 1e400],"n":null}'
    response = await gateway.request("POST", path, payload=body)
    assert response.status == 200
    assert response.head["content-type"] == "application/json"
    assert await response.json() == {"object": "list", "model": "mock", "data": [{"path": path}]}
    request = (await upstream.next_exchange()).request
    assert request.body == b'{"x":1.50,"model":"mock","input":["\\u00fc", 1e400],"n":null}'
    assert request.headers["authorization"] == "Bearer sk-upstream"
    assert request.headers["content-type"] == "application/json"


async def test_the_sdks_embeddings(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    reply: Any = await sdk.embeddings.create(model="renamed", input="hello", encoding_format="float")
    assert reply.model == "mock"
    assert (await upstream.next_exchange()).request.json["input"] == "hello"


async def test_the_sdks_speech(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    """An answer of any type comes back as it is, to the byte."""
    reply = await sdk.audio.speech.create(model="mock", input="hello", voice="alloy")
    assert reply.content == SOUND
    assert reply.response.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (UNAUTHORIZED, openai.AuthenticationError),
        (RATE_LIMITED, openai.RateLimitError),
        (BROKEN, openai.InternalServerError),
    ],
    ids=["401", "429", "500"],
)
async def test_the_provider_refuses(
    upstream: OpenAIServer, sdk: openai.AsyncOpenAI, refusal: Refusal, kind: Any
) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(kind) as caught:
        await sdk.embeddings.create(model="m", input="hello")
    assert refusal.message in caught.value.message
    assert caught.value.code == refusal.code
    assert caught.value.response.headers.get("retry-after") == refusal.headers.get("Retry-After")


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"{", 400, "invalid_json", None),
        (b"[1]", 400, "invalid_json", None),
        (b'{"input":"x"}', 400, "invalid_field", "model"),
        (b'{"model":5}', 400, "invalid_field", "model"),
        (b'{"model":"mock","stream":true}', 400, "invalid_field", "stream"),
        (b'{"model":"demo"}', 400, "untranslatable_field", "model"),
        (b'{"model":"nobody"}', 404, "model_not_found", None),
    ],
)
async def test_what_cannot_be_passed(
    gateway: ServedGateway, body: bytes, status: int, code: str, param: str | None
) -> None:
    response = await gateway.request("POST", EMBEDDINGS, payload=body)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (status, code, param)
    assert error["message"]


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/images/edits", EMBEDDINGS])
async def test_forms_are_refused(upstream: OpenAIServer, gateway: ServedGateway, path: str, kind: str) -> None:
    response = await gateway.request("POST", path, payload=b"--x", headers={"Content-Type": kind})
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (415, "unsupported_body", "Content-Type")
    assert "JSON" in error["message"]
    assert upstream.exchanges == []


async def test_a_provider_of_another_dialect_has_no_such_paths(serve: Serve, nursery: Any) -> None:
    server = GeminiServer(key="sk-upstream")
    await nursery.start(server.run)
    gateway = await serve(provider={"dialect": "gemini", "base_url": server.base_url})
    response = await gateway.request("POST", EMBEDDINGS, payload={"model": "mock", "input": "x"})
    assert (response.status, (await response.json())["error"]["code"]) == (400, "untranslatable_field")
    assert server.exchanges == []


async def test_the_first_target_that_has_these_paths_is_asked(
    upstream: OpenAIServer, serve: Serve, nursery: Any
) -> None:
    server = GeminiServer(key="sk-upstream")
    await nursery.start(server.run)
    other = {"dialect": "gemini", "base_url": server.base_url}
    targets = [{"provider": "other", "model": "x"}, {"provider": "mock", "model": "mock"}]
    gateway = await serve(**{"providers.other": other, "routes.both": {"targets": targets}})
    response = await gateway.request("POST", EMBEDDINGS, payload={"model": "both", "input": "x"})
    assert (await response.json())["model"] == "mock"
    assert (len(server.exchanges), len(upstream.exchanges)) == (0, 1)


async def test_the_best_target_is_asked(upstream: OpenAIServer, serve: Serve) -> None:
    """Not one that is switched off, and none that has asked to be left alone, while there is another."""
    gateway = await serve(**routed([target("off", weight=0), target("spare", priority=1), target("first")]))
    busy = Refusal(status=503, code="busy", message="Busy.", headers={"Retry-After": "60"})
    upstream.scripts |= {"first": Script(refusal=busy), "spare": Script()}
    asked = {"model": ROUTE, "input": "x"}
    await (await gateway.request("POST", EMBEDDINGS, payload=asked)).read()
    await (await gateway.chat(ROUTE, stream=False)).read()
    await (await gateway.request("POST", EMBEDDINGS, payload=asked)).read()
    models = [exchange.request.json["model"] for exchange in upstream.exchanges if "input" in exchange.request.json]
    assert models == ["first", "spare"]


async def test_a_client_that_leaves_ends_the_call(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate(0)))
    connection = await gateway.connect()
    await connection.send(connection.render("POST", EMBEDDINGS, payload={"model": "m", "input": "x"}))
    exchange = await upstream.next_exchange()
    await connection.reset()
    await exchange.left.wait()
    await until(lambda: gateway.now.upstream_busy == 0)
    gate.open()


async def test_a_provider_that_is_not_there(serve: Serve) -> None:
    lonely = await serve(provider={"base_url": "http://127.0.0.1:1/v1"})
    response = await lonely.request("POST", EMBEDDINGS, payload={"model": "mock", "input": "x"})
    assert response.status == 502
    assert (await response.json())["error"]["code"] == "upstream_error"


async def test_an_answer_that_is_too_large(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(provider={"max_reply_bytes": 40})
    response = await gateway.request("POST", EMBEDDINGS, payload={"model": "mock", "input": "x"})
    assert response.status == 502
    assert (await response.json())["error"]["message"]


async def test_chat_is_none_of_them(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.create(model="mock", messages=MESSAGES)
    assert reply.choices[0].message.content == Script().text
