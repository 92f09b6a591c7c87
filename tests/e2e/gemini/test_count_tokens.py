"""`:countTokens`: asked of a provider that can tell, and refused where none can."""

from __future__ import annotations

from typing import Any

import pytest
from google import genai

from tests.doubles.gemini_sdk import HELLO, MESSAGES, in_thread
from tests.doubles.gemini_server import COUNTED
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.vendor_server import VendorServer

EQUAL = pytest.mark.parametrize("dialect", ["gemini"])
PATH = "/v1beta/models/renamed:countTokens"


@EQUAL
async def test_a_provider_of_the_dialect_counts(upstream: VendorServer, sdk: genai.Client) -> None:
    counted = await in_thread(lambda: sdk.models.count_tokens(model="renamed", contents=HELLO))
    assert counted.total_tokens == COUNTED
    request = (await upstream.next_exchange()).request
    assert request.target == "/v1beta/models/mock:countTokens"
    assert request.json == {"contents": MESSAGES}
    assert request.headers["x-goog-api-key"] == "sk-upstream"


@EQUAL
async def test_a_whole_request_is_counted_under_the_providers_name(
    upstream: VendorServer, gateway: ServedGateway
) -> None:
    asked: Any = {"model": "models/renamed", "contents": MESSAGES, "tools": []}
    response = await gateway.request("POST", PATH, payload={"generateContentRequest": asked})
    assert (await response.json()) == {"totalTokens": COUNTED}
    sent = upstream.exchanges[0].request.json
    assert sent == {"generateContentRequest": {**asked, "model": "models/mock"}}


@pytest.mark.parametrize("dialect", ["openai_chat"])
@pytest.mark.parametrize("model", ["mock", "demo"])
async def test_nobody_else_does(sdk: genai.Client, model: str) -> None:
    with pytest.raises(genai.errors.ClientError, match="count"):
        await in_thread(lambda: sdk.models.count_tokens(model=model, contents=HELLO))


@EQUAL
async def test_a_provider_that_cannot_be_reached(serve: Serve) -> None:
    lonely = await serve(provider={"dialect": "gemini", "base_url": "http://127.0.0.1:1/v1beta"})
    response = await lonely.request("POST", PATH, payload={"contents": MESSAGES})
    assert response.status == 502
    assert (await response.json())["error"]["status"] == "UNAVAILABLE"


@EQUAL
async def test_bad_json(gateway: ServedGateway) -> None:
    response = await gateway.request("POST", PATH, payload=b"[")
    assert response.status == 400
