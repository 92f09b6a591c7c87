"""`POST /v1/messages/count_tokens`: asked of a provider that can tell, and refused where none can."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from anthropic._constants import ANTHROPIC_API_VERSION

from tests.doubles.anthropic_sdk import MESSAGES
from tests.doubles.anthropic_server import COUNTED
from tests.doubles.openai_script import Script
from tests.doubles.served_gateway import Serve
from tests.doubles.vendor_server import VendorServer

EQUAL = pytest.mark.parametrize("dialect", ["anthropic"])


@EQUAL
async def test_a_provider_of_the_dialect_counts(upstream: VendorServer, sdk: anthropic.AsyncAnthropic) -> None:
    upstream.scripts["mock"] = Script()
    count = await sdk.messages.count_tokens(
        model="renamed", messages=MESSAGES, system="x", extra_headers={"anthropic-beta": "b"}
    )
    assert count.input_tokens == COUNTED
    request = (await upstream.next_exchange()).request
    assert request.target == "/v1/messages/count_tokens"
    assert request.json == {"model": "mock", "messages": MESSAGES, "system": "x"}
    assert request.headers["x-api-key"] == "sk-upstream"
    assert request.headers["anthropic-version"] == ANTHROPIC_API_VERSION
    assert request.headers["anthropic-beta"] == "b"


@pytest.mark.parametrize("dialect", ["openai_chat"])
@pytest.mark.parametrize("model", ["mock", "demo"])
async def test_nobody_else_does(sdk: anthropic.AsyncAnthropic, model: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match="count"):
        await sdk.messages.count_tokens(model=model, messages=MESSAGES)


@EQUAL
async def test_bad_requests(sdk: anthropic.AsyncAnthropic, serve: Serve) -> None:
    nothing: Any = []
    with pytest.raises(anthropic.BadRequestError, match="`messages`"):
        await sdk.messages.count_tokens(model="mock", messages=nothing)


@EQUAL
async def test_a_provider_that_cannot_be_reached(serve: Serve, sdk: anthropic.AsyncAnthropic) -> None:
    lonely = await serve(provider={"dialect": "anthropic", "base_url": "http://127.0.0.1:1/v1"})
    response = await lonely.request(
        "POST", "/v1/messages/count_tokens", payload={"model": "mock", "messages": MESSAGES}
    )
    assert response.status == 502
    assert (await response.json())["error"]["type"] == "api_error"
