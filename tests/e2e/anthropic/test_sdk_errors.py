"""What goes wrong, as the Anthropic SDK's own exceptions."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from tests.doubles.anthropic_sdk import MESSAGES, ask, text_of, unfinished_generators
from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script, words
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.vendor_server import VendorServer
from tests.doubles.waiting import until

pytestmark = unfinished_generators

EITHER = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
ENDINGS = pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE, Ending.NO_DONE, Ending.ERROR])


@EITHER
@pytest.mark.parametrize(
    ("refusal", "kind", "name"),
    [
        (UNAUTHORIZED, anthropic.AuthenticationError, "authentication_error"),
        (RATE_LIMITED, anthropic.RateLimitError, "rate_limit_error"),
        (BROKEN, anthropic.InternalServerError, "api_error"),
    ],
    ids=["401", "429", "500"],
)
async def test_upstream_refuses(
    upstream: VendorServer, sdk: anthropic.AsyncAnthropic, refusal: Refusal, kind: Any, name: str, stream: bool
) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(kind) as caught:
        await ask(sdk, model="m", stream=stream)
    error = caught.value
    assert (error.status_code, error.type, error.api_message) == (refusal.status, name, refusal.message)
    assert error.response.headers.get("retry-after") == refusal.headers.get("Retry-After")


@EITHER
async def test_unknown_model(sdk: anthropic.AsyncAnthropic, stream: bool) -> None:
    with pytest.raises(anthropic.NotFoundError, match="nobody"):
        await ask(sdk, model="nobody", stream=stream)


async def test_a_bad_request_names_the_field(sdk: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="`max_tokens`") as caught:
        await ask(sdk, model="mock", stream=False, extra_body={"max_tokens": "many"})
    assert caught.value.type == "invalid_request_error"


@ENDINGS
async def test_upstream_dies_after_50_deltas(
    upstream: VendorServer, gateway: ServedGateway, sdk: anthropic.AsyncAnthropic, ending: Ending
) -> None:
    """The SDK raises after the 50 that came: a truncated answer never looks like a complete one."""
    upstream.scripts["m"] = script = Script(deltas=words(50), ending=ending, gate=(gate := Gate(50)))
    seen: list[Any] = []

    async def read() -> None:
        async for event in await sdk.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True):
            seen.append(event)
            if text_of(seen) == script.text:
                gate.open()

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read()
    assert caught.value.api_message
    assert text_of(seen) == script.text
    assert "message_stop" not in [event.type for event in seen]
    await until(lambda: gateway.now.running == gateway.now.upstream_busy == 0)


@pytest.mark.parametrize("dialect", ["anthropic"])
async def test_the_vendors_own_error_in_mid_stream(upstream: VendorServer, sdk: anthropic.AsyncAnthropic) -> None:
    upstream.scripts["m"] = Script(ending=Ending.ERROR)
    with pytest.raises(anthropic.APIStatusError) as caught:
        await ask(sdk, model="m", stream=True)
    assert (caught.value.type, caught.value.api_message) == ("overloaded_error", "The model went away.")


async def test_a_whole_answer_that_breaks_off(upstream: VendorServer, sdk: anthropic.AsyncAnthropic) -> None:
    upstream.scripts["m"] = Script(ending=Ending.CLOSE)
    with pytest.raises(anthropic.InternalServerError) as caught:
        await ask(sdk, model="m", stream=False)
    assert (caught.value.status_code, caught.value.type) == (502, "api_error")


async def test_other_errors_of_the_path(gateway: ServedGateway) -> None:
    for method, status in (("GET", 405), ("POST", 400)):
        response = await gateway.request(method, "/v1/messages", payload=b"{" if method == "POST" else None)
        assert response.status == status
        body = await response.json()
        assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")


async def test_a_body_that_is_too_large(serve: Serve) -> None:
    narrow = await serve(limits={"body_bytes": 1000})
    response = await narrow.request("POST", "/v1/messages", payload=b"x" * 1001)
    assert response.status == 413
    assert (await response.json())["error"]["type"] == "request_too_large"
