"""What goes wrong, as the exceptions of Google's SDK."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from google import genai

from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.gemini_sdk import HELLO, MESSAGES, ask, in_thread
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script, words
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.vendor_server import VendorServer
from tests.doubles.waiting import until

EITHER = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
ENDINGS = pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE, Ending.NO_DONE, Ending.ERROR])
PATH = "/v1beta/models/mock:"


@EITHER
@pytest.mark.parametrize(
    ("refusal", "kind", "name"),
    [
        (UNAUTHORIZED, genai.errors.ClientError, "UNAUTHENTICATED"),
        (RATE_LIMITED, genai.errors.ClientError, "RESOURCE_EXHAUSTED"),
        (BROKEN, genai.errors.ServerError, "INTERNAL"),
    ],
    ids=["401", "429", "500"],
)
async def test_upstream_refuses(
    upstream: VendorServer, sdk: genai.Client, refusal: Refusal, kind: Any, name: str, dialect: str, stream: bool
) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(kind) as caught:
        await ask(sdk, model="m", stream=stream)
    error = caught.value
    assert (error.code, error.status, error.message) == (refusal.status, name, refusal.message)
    assert error.response.headers.get("retry-after") == refusal.headers.get("Retry-After")
    assert ("details" in error.details["error"]) == (dialect == "gemini")


@EITHER
async def test_unknown_model(sdk: genai.Client, stream: bool) -> None:
    with pytest.raises(genai.errors.ClientError, match="nobody") as caught:
        await ask(sdk, model="nobody", stream=stream)
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@EITHER
async def test_a_bad_request_names_the_field(sdk: genai.Client, stream: bool) -> None:
    extra: Any = {"extra_body": {"contents": "many"}}
    with pytest.raises(genai.errors.ClientError, match="`contents`") as caught:
        await ask(sdk, model="mock", stream=stream, http_options=extra)
    (details,) = caught.value.details["error"]["details"]
    assert details["fieldViolations"][0]["field"] == "contents"
    assert caught.value.status == "INVALID_ARGUMENT"


@ENDINGS
async def test_upstream_dies_after_50_deltas(
    upstream: VendorServer, gateway: ServedGateway, sdk: genai.Client, ending: Ending
) -> None:
    """The SDK raises after the 50 that came: a truncated answer never looks like a complete one."""
    upstream.scripts["m"] = script = Script(deltas=words(50), ending=ending, gate=(gate := Gate(50)))
    texts: list[str] = []
    reasons: list[Any] = []

    def read() -> None:
        for chunk in sdk.models.generate_content_stream(model="m", contents=HELLO):
            texts.append(chunk.text or "")
            reasons.append((chunk.candidates or [])[0].finish_reason)
            if "".join(texts) == script.text:
                trio.from_thread.run_sync(gate.open)

    with pytest.raises(genai.errors.ServerError) as caught:
        await in_thread(read)
    assert caught.value.message
    assert "".join(texts) == script.text
    assert set(reasons) == {None}
    await until(lambda: gateway.now.running == gateway.now.upstream_busy == 0)


@pytest.mark.parametrize("dialect", ["gemini"])
async def test_the_vendors_own_error_in_mid_stream(upstream: VendorServer, sdk: genai.Client) -> None:
    upstream.scripts["m"] = Script(ending=Ending.ERROR)
    with pytest.raises(genai.errors.ServerError) as caught:
        await ask(sdk, model="m", stream=True)
    assert (caught.value.code, caught.value.status, caught.value.message) == (
        503,
        "UNAVAILABLE",
        "The model went away.",
    )


async def test_a_whole_answer_that_breaks_off(upstream: VendorServer, sdk: genai.Client) -> None:
    upstream.scripts["m"] = Script(ending=Ending.CLOSE)
    with pytest.raises(genai.errors.ServerError) as caught:
        await ask(sdk, model="m", stream=False)
    assert (caught.value.code, caught.value.status) == (502, "UNAVAILABLE")


@pytest.mark.parametrize(
    ("method", "target", "payload", "status", "name"),
    [
        ("GET", PATH + "generateContent", None, 405, "INVALID_ARGUMENT"),
        ("POST", PATH + "generateContent", b"{", 400, "INVALID_ARGUMENT"),
        ("POST", PATH + "embedContent", {"content": {}}, 404, "NOT_FOUND"),
        ("POST", PATH + "generateContent", {"contents": []}, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_other_errors_of_the_path(
    gateway: ServedGateway, method: str, target: str, payload: Any, status: int, name: str
) -> None:
    response = await gateway.request(method, target, payload=payload)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["status"]) == (status, status, name)
    assert error["message"]


async def test_a_body_that_is_too_large(serve: Serve, dialect: str) -> None:
    narrow = await serve(provider={"dialect": dialect}, limits={"body_bytes": 1000})
    response = await narrow.request("POST", PATH + "generateContent", payload=b"x" * 1001)
    assert response.status == 413
    assert (await response.json())["error"]["code"] == 413


@pytest.mark.parametrize("dialect", ["gemini"])
async def test_a_key_in_the_query_goes_nowhere(
    upstream: VendorServer, gateway: ServedGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.scripts["m"] = Script(refusal=BROKEN)
    for method in ("generateContent", "streamGenerateContent", "countTokens", "nothing"):
        target = f"/v1beta/models/m:{method}?key=sk-query-secret"
        await (await gateway.request("POST", target, payload={"contents": MESSAGES})).read()
    printed = capsys.readouterr()
    assert "upstream_refused" in printed.out + printed.err
    assert "sk-query-secret" not in printed.out + printed.err
    assert all("sk-query-secret" not in str(exchange.request) for exchange in upstream.exchanges)
