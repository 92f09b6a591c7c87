"""Conversations as Gemini is told them, and as it would tell them again."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from stream_protocols.conversation import (
    Conversation,
    Format,
    Image,
    Message,
    NamedTool,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Untranslatable,
)
from stream_protocols.dialects.gemini import Gemini
from stream_protocols.dialects.gemini.models import is_newer
from stream_protocols.dialects.gemini.writing import UNSIGNED
from tests.protocols.dialects.conversations import PIXEL, RICH, WEATHER, simple

DIALECT = Gemini()
HELLO = Message("user", (Text("hello"),))


def write(*, model: str = "gemini-2.5-flash", messages: tuple[Message, ...] = (HELLO,), **fields: Any) -> Any:
    return json.loads(DIALECT.write(Conversation(messages=messages, **fields), model=model, stream=True))


def contents(*messages: Message, model: str = "gemini-2.5-flash") -> Any:
    return write(messages=messages, model=model)["contents"]


def config(model: str = "gemini-2.5-flash", **fields: Any) -> Any:
    return write(model=model, **fields).get("generationConfig")


def test_a_rich_one_to_the_letter() -> None:
    assert json.loads(DIALECT.write(RICH, model="gemini-2.5-flash", stream=False)) == {
        "contents": [
            {
                "role": "user",
                "parts": [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL}}],
            },
            {
                "role": "model",
                "parts": [
                    {"text": "Let me look."},
                    {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Oslo"}}},
                ],
            },
            {
                "role": "user",
                "parts": [{"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "4 °C"}}}],
            },
            {"role": "model", "parts": [{"text": "Cold."}]},
            {"role": "user", "parts": [{"text": "And tomorrow?"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "weather",
                        "description": "Tells the weather.",
                        "parametersJsonSchema": WEATHER.parameters,
                    }
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "generationConfig": {"maxOutputTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    }


def test_there_and_back() -> None:
    body = DIALECT.write(RICH, model="gemini-2.5-flash", stream=True)
    assert DIALECT.read(DIALECT.parse_request(body, model="m", stream=True)) == RICH


@given(simple)
def test_simple_ones_there_and_back(conversation: Conversation) -> None:
    body = DIALECT.write(conversation, model="gemini-3-pro", stream=True)
    back = DIALECT.read(DIALECT.parse_request(body, model="m", stream=True))
    named = None if conversation.format is None else msgspec.structs.replace(conversation.format, name="answer")
    assert msgspec.structs.replace(back, tool_choice=None) == msgspec.structs.replace(conversation, format=named)


# Turns


def test_neighbours_are_joined_and_what_says_nothing_is_left_out() -> None:
    assert contents(
        HELLO,
        Message("user", (Text(""), Text("again"))),
        Message("assistant", (Reasoning("Hm."), Text(""))),
        Message("user", (Text("third"),)),
        Message("assistant", (Text("a"),)),
        Message("assistant", (Text("b"),)),
    ) == [
        {"role": "user", "parts": [{"text": "hello"}, {"text": "again"}, {"text": "third"}]},
        {"role": "model", "parts": [{"text": "a"}, {"text": "b"}]},
    ]


@pytest.mark.parametrize("messages", [(), (Message("user", ()),), (Message("user", (Text(""),)),)])
def test_nothing_at_all_is_refused(messages: tuple[Message, ...]) -> None:
    with pytest.raises(Untranslatable) as caught:
        write(messages=messages)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("image", "part"),
    [
        (Image(data=PIXEL, media_type="image/png"), {"inlineData": {"mimeType": "image/png", "data": PIXEL}}),
        (
            Image(url="https://x.org/a.JPG?b=c.png"),
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.org/a.JPG?b=c.png"}},
        ),
        (Image(url="https://x.org/a"), {"fileData": {"fileUri": "https://x.org/a"}}),
        (
            Image(url="https://x.org/a", media_type="image/webp"),
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.org/a"}},
        ),
    ],
)
def test_images(image: Image, part: Any) -> None:
    assert contents(Message("user", (image,))) == [{"role": "user", "parts": [part]}]


CALLS = (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", ""))


def test_calls_of_newer_models_have_to_be_signed() -> None:
    """One in each turn, which says that nobody has signed it."""
    turn = Message("assistant", (Text("So:"), *CALLS))
    for model, signed in (("gemini-3-pro", [False, True, False]), ("gemini-2.5-pro", [False, False, False])):
        _, content = contents(HELLO, turn, model=model)
        assert ["thoughtSignature" in part for part in content["parts"]] == signed
    assert len(UNSIGNED) % 4 == 0, "the field is base64"


@pytest.mark.parametrize(
    ("model", "newer"),
    [
        ("gemini-3-pro-preview", True),
        ("gemini-3.8-flash", True),
        ("gemini-10-pro", True),
        ("models/gemini-flash-latest", True),
        ("gemini-2.5-pro", False),
        ("gemini-2.0-flash", False),
        ("gemini-1.5-flash-8b", False),
        ("gemini-pro", False),
        ("gemini-pro-vision", False),
        ("gemini-pro-latest", True),
        ("gemini-exp-1206", False),
        ("gemma-3-27b-it", False),
        ("mock", False),
    ],
)
def test_generations(model: str, newer: bool) -> None:
    assert is_newer(model) == newer


def test_results() -> None:
    results = (
        ToolResult("a", (Text("1"), Text("2"))),
        ToolResult("b", (Text("Broken."), Image(data=PIXEL, media_type="image/png")), failed=True),
    )
    _, _, content = contents(HELLO, Message("assistant", CALLS), Message("user", results))
    assert content["parts"] == [
        {"functionResponse": {"id": "a", "name": "f", "response": {"output": "1\n2"}}},
        {"functionResponse": {"id": "b", "name": "g", "response": {"error": "Broken."}}},
        {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
    ]


@pytest.mark.parametrize(
    "message",
    [
        Message("user", (ToolResult("unknown", (Text("x"),)),)),
        Message("assistant", (ToolCall("a", "f", "{"),)),
        Message("assistant", (ToolCall("a", "f", "[1]"),)),
    ],
)
def test_calls_and_results_that_cannot_be_told(message: Message) -> None:
    with pytest.raises(Untranslatable) as caught:
        contents(HELLO, message)
    assert caught.value.param == "messages"


def test_arguments_keep_their_text() -> None:
    body = DIALECT.write(
        Conversation(messages=(HELLO, Message("assistant", (ToolCall("a", "f", '{"x":1.50}'),)))),
        model="m",
        stream=True,
    )
    assert b'"args":{"x":1.50}' in body


# Settings


def test_every_setting() -> None:
    assert config(top_k=5, presence_penalty=0.5, frequency_penalty=-1.0, choices=2, seed=7, temperature=2.0) == {
        "temperature": 2.0,
        "topK": 5,
        "seed": 7,
        "presencePenalty": 0.5,
        "frequencyPenalty": -1.0,
        "candidateCount": 2,
    }
    assert config() is None
    assert config(user="u") is None


@pytest.mark.parametrize(
    ("seed", "sent"), [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, 0), (2**40 + 5, 5), (-1, 2**31 - 1)]
)
def test_seeds_have_32_bits(seed: int, sent: int) -> None:
    assert config(seed=seed)["seed"] == sent


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (NamedTool("f"), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_how_tools_are_to_be_used(choice: Any, calling: Any) -> None:
    body = write(tools=(Tool("f"),), tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": calling}
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert "toolConfig" not in write(tool_choice=choice)
    assert "toolConfig" not in write(tools=(Tool("f"),))


def test_one_call_at_a_time_is_refused() -> None:
    with pytest.raises(Untranslatable) as caught:
        write(tools=(Tool("f"),), parallel_tool_calls=False)
    assert caught.value.param == "parallel_tool_calls"
    write(parallel_tool_calls=False)
    write(tools=(Tool("f"),), parallel_tool_calls=True)
    write(tools=(Tool("f"),), parallel_tool_calls=False, tool_choice="none")


def test_formats() -> None:
    assert config(format=Format()) == {"responseMimeType": "application/json"}
    schema = {"type": "object", "additionalProperties": False}
    assert config(format=Format(schema, "x", True)) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }


def level(name: str, *, shown: bool = True) -> Any:
    return {"thinkingLevel": name, "includeThoughts": shown}


def budget(tokens: int) -> Any:
    return {"thinkingBudget": tokens, "includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "asked", "thinking"),
    [
        ("gemini-2.5-flash", {"effort": "none"}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"effort": "low"}, budget(1024)),
        ("gemini-2.5-flash", {"effort": "medium"}, budget(8192)),
        ("gemini-2.5-flash", {"effort": "xhigh"}, budget(24_576)),
        ("gemini-2.5-flash", {"reasoning_tokens": 2000}, budget(2000)),
        ("gemini-2.5-flash", {"effort": "high", "reasoning_tokens": 90_000}, budget(24_576)),
        ("gemini-2.5-flash", {"reasoning_tokens": 0}, {"thinkingBudget": 0}),
        ("gemini-3-flash", {"effort": "none"}, level("minimal", shown=False)),
        ("gemini-3-pro", {"effort": "none"}, level("low", shown=False)),
        ("gemini-3-pro-preview", {"effort": "minimal"}, level("low")),
        ("gemini-3-flash", {"effort": "minimal"}, level("minimal")),
        ("gemini-3-flash", {"effort": "max"}, level("high")),
        ("gemini-3-flash", {"reasoning_tokens": 5000}, level("medium")),
        ("gemini-3-flash", {"effort": "low", "reasoning_tokens": 5000}, level("low")),
    ],
)
def test_thinking(model: str, asked: Any, thinking: Any) -> None:
    assert config(model, **asked)["thinkingConfig"] == thinking


def test_an_effort_that_nobody_knows() -> None:
    with pytest.raises(Untranslatable) as caught:
        config(effort="heroic")
    assert caught.value.param == "reasoning_effort"
