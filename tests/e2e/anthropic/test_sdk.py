"""The official Anthropic SDK, through the gateway, to a provider of every dialect, over real sockets."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
import trio

from tests.doubles.anthropic_events import SIGNATURE
from tests.doubles.anthropic_sdk import MESSAGES, ask, events_of, text_of, unfinished_generators
from tests.doubles.gate import Gate
from tests.doubles.openai_script import Extras, Script, ToolCall, words
from tests.doubles.vendor_server import VendorServer

pytestmark = unfinished_generators

EITHER = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
EQUAL = pytest.mark.parametrize("dialect", ["anthropic"])

CALLS = (
    ToolCall(id="call_1", name="weather", fragments=('{"city"', ': "Osl', 'o"}')),
    ToolCall(id="call_2", name="time", fragments=('{"zone":', ' "CET"}')),
    ToolCall(id="call_3", name="nothing", fragments=("{}",)),
)
HOT = {"temperature": 0.25}
"""The SDK has no parameter for it any more; older ones and other clients have."""

TOOLS: Any = [{"name": call.name, "input_schema": {"type": "object"}} for call in CALLS]


@EITHER
async def test_text(upstream: VendorServer, sdk: anthropic.AsyncAnthropic, stream: bool) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(200))
    message = await ask(sdk, model="m", stream=stream)
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == script.text
    assert (message.role, message.type, message.stop_reason) == ("assistant", "message", "end_turn")


@EITHER
async def test_usage(upstream: VendorServer, sdk: anthropic.AsyncAnthropic, stream: bool) -> None:
    """What came from the cache is no part of `input_tokens` here, and the sum is all there was."""
    upstream.scripts["m"] = Script(deltas=words(30), reasoning=("a", "b"))
    usage = (await ask(sdk, model="m", stream=stream)).usage
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (32, 2)
    assert usage.cache_read_input_tokens == 3
    written = usage.cache_creation_input_tokens
    assert usage.input_tokens + usage.cache_read_input_tokens + written == 7


@EITHER
@pytest.mark.parametrize(
    ("reason", "stop_reason"), [("length", "max_tokens"), ("content_filter", "refusal"), ("stop", "end_turn")]
)
async def test_stop_reasons(
    upstream: VendorServer, sdk: anthropic.AsyncAnthropic, reason: str, stop_reason: str, stream: bool
) -> None:
    upstream.scripts["m"] = Script(reason=reason)
    assert (await ask(sdk, model="m", stream=stream)).stop_reason == stop_reason


@EITHER
async def test_a_refusal(upstream: VendorServer, sdk: anthropic.AsyncAnthropic, stream: bool) -> None:
    upstream.scripts["m"] = script = Script(declines=True)
    message = await ask(sdk, model="m", stream=stream)
    assert (message.content[0].text, message.stop_reason) == (script.text, "refusal")


async def test_events_come_in_order(upstream: VendorServer, sdk: anthropic.AsyncAnthropic) -> None:
    upstream.scripts["m"] = Script(deltas=words(3), reasoning=("hm", "m"))
    types = [event.type for event in await events_of(sdk, model="m")]
    deltas = ["content_block_delta"]
    assert [kind for kind in types if kind != "ping"] == [
        "message_start",
        *("content_block_start", *deltas * (types.count("content_block_delta") - 3), "content_block_stop"),
        *("content_block_start", *deltas * 3, "content_block_stop"),
        "message_delta",
        "message_stop",
    ]


@EITHER
async def test_thinking(upstream: VendorServer, sdk: anthropic.AsyncAnthropic, dialect: str, stream: bool) -> None:
    """Its signature comes through from its author, and there is none from anybody else."""
    upstream.scripts["m"] = script = Script(deltas=words(3), reasoning=("let me ", "think"))
    message = await ask(sdk, model="m", stream=stream)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "let me think"
    assert message.content[0].signature == (SIGNATURE if dialect == "anthropic" else "")
    assert message.content[1].text == script.text


@EITHER
@pytest.mark.parametrize("interleave", [False, True], ids=["in turn", "interleaved"])
async def test_parallel_tool_calls(
    upstream: VendorServer, sdk: anthropic.AsyncAnthropic, stream: bool, interleave: bool
) -> None:
    upstream.scripts["m"] = Script(tool_calls=CALLS, interleave=interleave)
    message = await ask(sdk, model="m", stream=stream, tools=TOOLS)
    assert [(block.id, block.name, block.input) for block in message.content] == [
        ("call_1", "weather", {"city": "Oslo"}),
        ("call_2", "time", {"zone": "CET"}),
        ("call_3", "nothing", {}),
    ]
    assert message.stop_reason == "tool_use"


@EITHER
async def test_a_round_of_tools(upstream: VendorServer, sdk: anthropic.AsyncAnthropic, stream: bool) -> None:
    """Call, result, answer: what the SDK was given it can give back."""
    upstream.scripts["m"] = Script(tool_calls=CALLS[:2], reasoning=("hm",))
    called = await ask(sdk, model="m", stream=stream, tools=TOOLS)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"result of {block.id}"}
        for block in called.content
        if block.type == "tool_use"
    ]
    messages = [*MESSAGES, called.to_param(), {"role": "user", "content": [*results, {"type": "text", "text": "So?"}]}]
    upstream.scripts["m"] = script = Script(deltas=words(5))
    answer = await ask(sdk, model="m", stream=stream, tools=TOOLS, messages=messages)
    assert answer.content[0].text == script.text
    await upstream.next_exchange()
    sent = (await upstream.next_exchange()).request.body.decode()
    for piece in ("call_1", "call_2", "result of call_1", "result of call_2", "Oslo", "CET", "So?"):
        assert piece in sent


async def test_images(upstream: VendorServer, sdk: anthropic.AsyncAnthropic, dialect: str) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    content: Any = [{"type": "text", "text": "What is this? Ünïcode 🎉"}, {"type": "image", "source": source}]
    upstream.scripts["m"] = Script()
    await ask(sdk, model="m", stream=True, messages=[{"role": "user", "content": content}])
    request = (await upstream.next_exchange()).request
    if dialect == "anthropic":
        assert request.json["messages"] == [{"role": "user", "content": content}]
    else:
        assert "iVBORw0KGgo=" in str(request.json)
        assert "Ünïcode 🎉" in str(request.json)


async def test_instructions_and_settings_reach_the_provider(
    upstream: VendorServer, sdk: anthropic.AsyncAnthropic
) -> None:
    upstream.scripts["mock"] = Script()
    await ask(sdk, model="renamed", stream=True, system="Be brief.", extra_body=HOT)
    request = (await upstream.next_exchange()).request
    assert upstream.model_of(request) == "mock"
    for piece in ("Be brief.", "0.25"):
        assert piece in str(request.json)


@EITHER
async def test_stop_sequences(upstream: VendorServer, sdk: anthropic.AsyncAnthropic, stream: bool) -> None:
    """They reach the provider, or are refused under the name that the client gave them."""
    if not upstream.takes_stop:
        with pytest.raises(anthropic.BadRequestError, match="`stop_sequences`"):
            await ask(sdk, model="mock", stream=stream, stop_sequences=["END"])
        return
    await ask(sdk, model="mock", stream=stream, stop_sequences=["END"])
    assert "END" in str((await upstream.next_exchange()).request.json)


async def test_what_the_providers_dialect_cannot_say(sdk: anthropic.AsyncAnthropic, dialect: str) -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    messages = [{"role": "user", "content": [document]}]
    if dialect == "anthropic":
        assert (await ask(sdk, model="mock", stream=False, messages=messages)).content
        return
    with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\].content\[0\]"):
        await ask(sdk, model="mock", stream=False, messages=messages)


async def test_sdk_sees_each_token_when_it_is_there(upstream: VendorServer, sdk: anthropic.AsyncAnthropic) -> None:
    """In lockstep: the upstream gives the next delta only after the SDK has the one before."""
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate(1)))
    seen = []
    with trio.fail_after(10):
        async for event in await sdk.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True):
            seen.append(event)
            if event.type == "content_block_delta":
                gate.release()
    assert text_of(seen) == script.text


async def test_closing_the_sdk_stream_ends_the_upstream(upstream: VendorServer, sdk: anthropic.AsyncAnthropic) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate(2)))
    stream = await sdk.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True)
    await stream.__anext__()
    exchange = await upstream.next_exchange()
    await stream.close()
    await exchange.left.wait()
    gate.open()


async def test_many_at_once(upstream: VendorServer, sdk: anthropic.AsyncAnthropic) -> None:
    texts: dict[str, str] = {}

    async def one(model: str) -> None:
        texts[model] = text_of(await events_of(sdk, model=model))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            model = f"m{number}"
            upstream.scripts[model] = Script(deltas=tuple(f"{model}.{word}" for word in words(20)))
            nursery.start_soon(one, model)
    assert texts == {f"m{n}": "".join(f"m{n}.{word}" for word in words(20)) for n in range(20)}


async def test_demo(sdk: anthropic.AsyncAnthropic) -> None:
    streamed = await ask(sdk, model="demo-n40-gap0", stream=True)
    whole = await ask(sdk, model="demo-n40-gap0", stream=False)
    assert streamed.content[0].text == whole.content[0].text
    assert streamed.usage.output_tokens == whole.usage.output_tokens == 40


# Between equals


@EQUAL
@EITHER
async def test_the_request_goes_through_untouched(
    upstream: VendorServer, sdk: anthropic.AsyncAnthropic, stream: bool
) -> None:
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    fields: Any = {"system": system, "metadata": {"user_id": "u"}, "service_tier": "auto"}
    headers = {"anthropic-beta": "files-api-2025-04-14", "anthropic-version": "2099-01-01"}
    body = {"vendor_option": {"deep": [1]}, **HOT}
    await ask(sdk, model="renamed", stream=stream, extra_body=body, extra_headers=headers, **fields)
    request = (await upstream.next_exchange()).request
    sent = {"model": "mock", "messages": MESSAGES, "max_tokens": 1000, **body, **fields}
    assert request.json == (sent | {"stream": True} if stream else sent)
    assert request.headers["x-api-key"] == "sk-upstream"
    assert "authorization" not in request.headers
    assert headers.items() <= request.headers.items()


async def test_what_only_anthropic_has_is_not_forwarded_to_others(
    upstream: VendorServer, sdk: anthropic.AsyncAnthropic, dialect: str
) -> None:
    await ask(sdk, model="mock", stream=False, extra_headers={"anthropic-beta": "x"})
    headers = (await upstream.next_exchange()).request.headers
    assert ("anthropic-version" in headers, "anthropic-beta" in headers) == (dialect == "anthropic",) * 2


@EQUAL
async def test_vendor_fields_come_through(upstream: VendorServer, sdk: anthropic.AsyncAnthropic) -> None:
    upstream.scripts["m"] = Script(extras=Extras(top={"x_top": [1, {"y": None}]}, delta={"x_delta": 1}))
    events = await events_of(sdk, model="m")
    assert events[0].x_top == [1, {"y": None}]
    assert all(event.delta.x_delta == 1 for event in events if event.type == "content_block_delta")
    whole = await ask(sdk, model="m", stream=False)
    assert (whole.x_top, whole.id) == ([1, {"y": None}], "msg_double")
