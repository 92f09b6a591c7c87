"""Google's official SDK, through the gateway, to a provider of every dialect, over real sockets."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import trio
from google import genai
from google.genai import types

from tests.doubles.gate import Gate
from tests.doubles.gemini_frames import RESPONSE_ID, SIGNATURE
from tests.doubles.gemini_sdk import HELLO, MESSAGES, ask, in_thread
from tests.doubles.openai_chunks import choice_text
from tests.doubles.openai_script import Extras, Script, ToolCall, words
from tests.doubles.vendor_server import VendorServer

EITHER = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
EQUAL = pytest.mark.parametrize("dialect", ["gemini"])
SEVERAL = {"openai_chat", "gemini"}
"""The dialects that can be asked for several answers."""

CALLS = (
    ToolCall(id="call_1", name="weather", fragments=('{"city"', ': "Osl', 'o"}')),
    ToolCall(id="call_2", name="time", fragments=('{"zone":', ' "CET"}')),
    ToolCall(id="call_3", name="nothing", fragments=("{}",)),
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Any = [{"function_declarations": [{"name": c.name, "parameters_json_schema": SCHEMA} for c in CALLS]}]


@EITHER
async def test_text(upstream: VendorServer, sdk: genai.Client, stream: bool) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(200))
    told = await ask(sdk, model="m", stream=stream)
    assert (told.text(), told.reason()) == (script.text, "STOP")
    assert all(chunk.candidates[0].content.role == "model" for chunk in told.chunks)
    assert len({chunk.response_id for chunk in told.chunks}) == 1


@EITHER
async def test_usage(upstream: VendorServer, sdk: genai.Client, dialect: str, stream: bool) -> None:
    """Thoughts are counted beside what candidates say, and what came from the cache is a part of the prompt."""
    upstream.scripts["m"] = Script(deltas=words(30), reasoning=("hm", "m"))
    told = (await ask(sdk, model="m", stream=stream)).usage
    assert (told.candidates_token_count or 0) + (told.thoughts_token_count or 0) == 32
    assert told.total_token_count == told.prompt_token_count + 32
    assert told.cached_content_token_count == 3
    if dialect in SEVERAL:
        assert (told.prompt_token_count, told.thoughts_token_count) == (7, 2)


@EITHER
@pytest.mark.parametrize(
    ("reason", "finish_reason"), [("length", "MAX_TOKENS"), ("content_filter", "SAFETY"), ("stop", "STOP")]
)
async def test_finish_reasons(
    upstream: VendorServer, sdk: genai.Client, reason: str, finish_reason: str, stream: bool
) -> None:
    upstream.scripts["m"] = Script(reason=reason)
    assert (await ask(sdk, model="m", stream=stream)).reason() == finish_reason


@EITHER
async def test_a_refusal(upstream: VendorServer, sdk: genai.Client, stream: bool) -> None:
    upstream.scripts["m"] = script = Script(declines=True)
    told = await ask(sdk, model="m", stream=stream)
    assert (told.text(), told.reason()) == (script.text, "SAFETY")


@EITHER
async def test_thoughts(upstream: VendorServer, sdk: genai.Client, dialect: str, stream: bool) -> None:
    """Their signature comes through from their author, and there is none from anybody else."""
    upstream.scripts["m"] = script = Script(deltas=words(3), reasoning=("let me ", "think"))
    told = await ask(sdk, model="m", stream=stream)
    assert (told.thoughts, told.text()) == ("let me think", script.text)
    assert (told.parts()[0].thought_signature is not None) == (dialect == "gemini")


@EITHER
async def test_several_candidates(upstream: VendorServer, sdk: genai.Client, dialect: str, stream: bool) -> None:
    if dialect not in SEVERAL:
        with pytest.raises(genai.errors.ClientError, match="`n`"):
            await ask(sdk, model="mock", stream=stream, candidate_count=3)
        return
    upstream.scripts["m"] = script = Script(deltas=words(20))
    told = await ask(sdk, model="m", stream=stream, candidate_count=3)
    assert [told.text(index) for index in range(3)] == [choice_text(script, index) for index in range(3)]
    assert [told.reason(index) for index in range(3)] == ["STOP"] * 3


@EITHER
@pytest.mark.parametrize("interleave", [False, True], ids=["in turn", "interleaved"])
async def test_parallel_tool_calls(upstream: VendorServer, sdk: genai.Client, stream: bool, interleave: bool) -> None:
    upstream.scripts["m"] = Script(tool_calls=CALLS, interleave=interleave)
    told = await ask(sdk, model="m", stream=stream, tools=TOOLS)
    assert [(call.id, call.name, call.args) for call in told.calls] == [
        ("call_1", "weather", {"city": "Oslo"}),
        ("call_2", "time", {"zone": "CET"}),
        ("call_3", "nothing", {}),
    ]
    assert told.reason() == "STOP"


@EITHER
async def test_a_round_of_tools(upstream: VendorServer, sdk: genai.Client, stream: bool) -> None:
    """Call, result, answer: what the SDK was given it can give back."""
    upstream.scripts["m"] = Script(tool_calls=CALLS[:2], reasoning=("hm",))
    told = await ask(sdk, model="m", stream=stream, tools=TOOLS)
    results = [
        types.Part(function_response=types.FunctionResponse(id=c.id, name=c.name, response={"result": f"r {c.id}"}))
        for c in told.calls
    ]
    contents = [*MESSAGES, types.Content(role="model", parts=told.parts()), types.Content(role="user", parts=results)]
    upstream.scripts["m"] = script = Script(deltas=words(5))
    assert (await ask(sdk, model="m", stream=stream, tools=TOOLS, contents=contents)).text() == script.text
    await upstream.next_exchange()
    sent = (await upstream.next_exchange()).request.body.decode()
    for piece in ("call_1", "call_2", "r call_1", "r call_2", "Oslo", "CET"):
        assert piece in sent


async def test_the_sdk_calls_functions_by_itself(upstream: VendorServer, sdk: genai.Client) -> None:
    def weather(city: str) -> str:
        """Tells the weather.

        Args:
            city: where.
        """
        upstream.scripts["m"] = Script(deltas=("Cold.",))
        return f"4 °C in {city}"

    upstream.scripts["m"] = Script(tool_calls=CALLS[:1])
    told = await ask(sdk, model="m", stream=False, tools=[weather])
    assert told.text() == "Cold."
    await upstream.next_exchange()
    assert "4 °C in Oslo" in str((await upstream.next_exchange()).request.json)


@EQUAL
async def test_calls_without_ids(upstream: VendorServer, sdk: genai.Client) -> None:
    upstream.scripts["m"] = Script(tool_calls=(ToolCall(id="", name="weather", fragments=("{}",)),))
    told = await ask(sdk, model="m", stream=True, tools=TOOLS)
    assert [(call.id, call.name) for call in told.calls] == [(None, "weather")]


async def test_images(upstream: VendorServer, sdk: genai.Client, dialect: str) -> None:
    """The SDK writes base64 with other letters than everybody else reads."""
    data = bytes([0xFB, 0xFF, 0xBF, 0x89])
    image = types.Part.from_bytes(data=data, mime_type="image/png")
    upstream.scripts["m"] = Script()
    await ask(sdk, model="m", stream=True, contents=["What is this? Ünïcode 🎉", image])
    sent = str((await upstream.next_exchange()).request.json)
    assert ("-_-_iQ==" if dialect == "gemini" else "+/+/iQ==") in sent
    assert "Ünïcode 🎉" in sent


async def test_instructions_and_settings_reach_the_provider(
    upstream: VendorServer, sdk: genai.Client, dialect: str
) -> None:
    upstream.scripts["mock"] = Script()
    stop = {} if dialect == "openai_responses" else {"stop_sequences": ["END"]}
    config: Any = {"system_instruction": "Be brief.", "max_output_tokens": 4321, **stop}
    await ask(sdk, model="renamed", stream=True, **config)
    sent = (await upstream.next_exchange()).request
    assert "mock" in sent.target + str(sent.json.get("model"))
    for piece in ("Be brief.", "4321", HELLO, *stop.get("stop_sequences", ())):
        assert piece in str(sent.json)


async def test_json_of_a_schema(upstream: VendorServer, sdk: genai.Client) -> None:
    upstream.scripts["m"] = Script(deltas=('{"city"', ':"Oslo"}'))
    config: Any = {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    told = await ask(sdk, model="m", stream=False, **config)
    assert told.chunks[0].parsed == {"city": "Oslo"}
    assert str(SCHEMA["properties"]) in str((await upstream.next_exchange()).request.json)


async def test_what_the_providers_dialect_cannot_say(sdk: genai.Client, dialect: str) -> None:
    search: Any = [{"google_search": {}}]
    if dialect == "gemini":
        assert (await ask(sdk, model="mock", stream=False, tools=search)).text()
        return
    with pytest.raises(genai.errors.ClientError, match=r"tools\[0\]\.googleSearch") as caught:
        await ask(sdk, model="mock", stream=False, tools=search)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


async def test_sdk_sees_each_token_when_it_is_there(upstream: VendorServer, sdk: genai.Client) -> None:
    """In lockstep: the upstream gives the next delta only after the SDK has the one before."""
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate(1)))
    texts = []

    def read() -> None:
        for chunk in sdk.models.generate_content_stream(model="m", contents=HELLO):
            texts.append(chunk.text or "")
            trio.from_thread.run_sync(gate.release)

    await in_thread(read)
    assert "".join(texts) == script.text


async def test_closing_the_sdk_stream_ends_the_upstream(upstream: VendorServer, sdk: genai.Client) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate(2)))

    def read() -> None:
        stream = sdk.models.generate_content_stream(model="m", contents=HELLO)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        sdk.close()

    await in_thread(read)
    await (await upstream.next_exchange()).left.wait()
    gate.open()


async def test_many_at_once(upstream: VendorServer, sdk: genai.Client) -> None:
    texts: dict[str, str] = {}

    async def one(model: str) -> None:
        texts[model] = (await ask(sdk, model=model, stream=True)).text()

    async with trio.open_nursery() as nursery:
        for number in range(20):
            model = f"m{number}"
            upstream.scripts[model] = Script(deltas=tuple(f"{model}.{word}" for word in words(20)))
            nursery.start_soon(one, model)
    assert texts == {f"m{n}": "".join(f"m{n}.{word}" for word in words(20)) for n in range(20)}


async def test_demo(sdk: genai.Client) -> None:
    streamed = await ask(sdk, model="demo-n40-gap0", stream=True)
    whole = await ask(sdk, model="demo-n40-gap0", stream=False)
    assert streamed.text() == whole.text()
    assert streamed.usage.candidates_token_count == whole.usage.candidates_token_count == 40


# Between equals


@EQUAL
@EITHER
async def test_the_request_goes_through_untouched(upstream: VendorServer, sdk: genai.Client, stream: bool) -> None:
    settings: Any = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    extra: Any = {"extra_body": {"vendorOption": {"deep": [1]}}}
    await ask(sdk, model="renamed", stream=stream, safety_settings=settings, top_k=5, http_options=extra)
    request = (await upstream.next_exchange()).request
    assert request.json == {
        "contents": MESSAGES,
        "safetySettings": settings,
        "generationConfig": {"topK": 5},
        "vendorOption": {"deep": [1]},
    }
    assert request.headers["x-goog-api-key"] == "sk-upstream"
    assert "authorization" not in request.headers


@EQUAL
@EITHER
async def test_the_answer_comes_through_untouched(upstream: VendorServer, sdk: genai.Client, stream: bool) -> None:
    extras = Extras(top={"modelStatus": {"message": "fine"}})
    upstream.scripts["m"] = Script(tool_calls=CALLS[:1], extras=extras)
    told = await ask(sdk, model="m", stream=stream)
    assert {(chunk.response_id, chunk.model_status.message) for chunk in told.chunks} == {(RESPONSE_ID, "fine")}
    assert told.parts()[0].thought_signature == base64.b64decode(SIGNATURE)
    assert len(told.chunks) == (2 if stream else 1)
