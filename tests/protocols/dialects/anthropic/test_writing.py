"""Conversations as messages requests, and back."""

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
from stream_protocols.dialects.anthropic.request import parse_request
from stream_protocols.dialects.anthropic.writing import DEFAULT_MAX_TOKENS
from stream_protocols.dialects.openai_chat import OpenAIChat
from stream_protocols.dialects.registry import upstream_body
from tests.protocols.dialects.anthropic.asking import (
    ANTHROPIC,
    HI,
    SCHEMA,
    again,
    asks,
    assistant,
    user,
    written,
)
from tests.protocols.dialects.conversations import RICH, simple


def test_a_rich_one_there_and_back() -> None:
    assert again(RICH) == RICH


@given(simple)
def test_any_there_and_back(asked: Conversation) -> None:
    """Blank texts are not told, schemas have no name, and a limit is always said."""
    asked = msgspec.structs.replace(asked, stop=tuple(stop for stop in asked.stop if stop.strip()))
    said = [part for m in asked.messages for part in m.parts if not isinstance(part, Text) or part.text.strip()]
    if not said:
        with pytest.raises(Untranslatable):
            again(asked)
        return
    back = again(asked)
    assert back.system == tuple(text for text in asked.system if text.strip())
    assert back.tools == asked.tools
    assert back.max_tokens == (asked.max_tokens or DEFAULT_MAX_TOKENS)
    assert (back.temperature, back.stop) == (asked.temperature, asked.stop)
    assert (back.format is None) == (asked.format is None)
    assert [part for m in back.messages for part in m.parts] == said


def test_the_least_and_the_stream() -> None:
    hello = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    least = {"model": "claude-haiku-4-5", "max_tokens": DEFAULT_MAX_TOKENS, "messages": hello}
    assert written(asks()) == least
    assert written(asks(), stream=True) == {**least, "stream": True}


def test_neighbours_of_one_role_are_joined_and_results_stand_first() -> None:
    asked = asks(
        user("a"),
        user("b"),
        assistant(Text("Let me see."), ToolCall("c", "f", '{"x": 1.50}')),
        assistant(ToolCall("d", "f", "")),
        user("wait"),
        Message("user", (ToolResult("c", (Text("1"),)),)),
        Message("user", (ToolResult("d", (Text("2"), Image(url="https://x/y.png")), failed=True),)),
    )
    assert written(asked)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1.5}},
                {"type": "tool_use", "id": "d", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "1"}]},
                {
                    "type": "tool_result",
                    "tool_use_id": "d",
                    "content": [
                        {"type": "text", "text": "2"},
                        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                    ],
                    "is_error": True,
                },
                {"type": "text", "text": "wait"},
            ],
        },
    ]


def test_results_stand_first_also_where_a_turn_between_says_nothing() -> None:
    asked = asks(user("a"), assistant(Reasoning("hm")), Message("user", (ToolResult("c", (Text(" "),)),)))
    assert written(asked)["messages"] == [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}, {"type": "text", "text": "a"}]}
    ]


def test_what_says_nothing_is_left_out_and_its_neighbours_are_joined() -> None:
    asked = asks(user("a", " "), assistant(Reasoning("hm", "another's")), user("\n"), user("b"))
    assert written(asked)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]


def test_an_answer_to_go_on_with_does_not_end_in_white_space() -> None:
    messages = written(asks(user("Count."), assistant(Text("1, 2, "))))["messages"]
    assert messages[-1]["content"] == [{"type": "text", "text": "1, 2,"}]


def test_ids_of_calls_in_the_characters_that_are_allowed() -> None:
    asked = asks(
        user("a"),
        assistant(ToolCall("a:b/c", "f", "{}"), ToolCall("", "f", "{}")),
        Message("user", (ToolResult("a:b/c", ()), ToolResult("", ()))),
    )
    _, calls, results = written(asked)["messages"]
    assert [block["id"] for block in calls["content"]] == ["a_b_c", "call"]
    assert [block["tool_use_id"] for block in results["content"]] == ["a_b_c", "call"]


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", None, {"type": "auto"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("none", False, {"type": "none"}),
        (NamedTool("f"), None, {"type": "tool", "name": "f"}),
    ],
)
def test_tool_choice_is_written(choice: Any, parallel: bool | None, sent: Any) -> None:
    asked = asks(tools=(Tool("f"),), tool_choice=choice, parallel_tool_calls=parallel)
    assert written(asked).get("tool_choice") == sent
    assert "tool_choice" not in written(msgspec.structs.replace(asked, tools=()))


def test_tools_always_have_a_schema() -> None:
    tools = (Tool("f"), Tool("g", "d", {"properties": {}}, strict=True))
    assert written(asks(tools=tools))["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}},
        {"name": "g", "description": "d", "input_schema": {"type": "object", "properties": {}}, "strict": True},
    ]


def test_settings() -> None:
    sent = written(
        asks(temperature=1.7, top_p=0.5, top_k=3, seed=1, user="u", presence_penalty=0, format=Format(SCHEMA))
    )
    assert (sent["temperature"], sent["top_p"], sent["top_k"]) == (1.0, 0.5, 3)
    assert (sent["metadata"], "seed" in sent) == ({"user_id": "u"}, False)
    assert sent["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"choices": 2}, "n"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"stop": ("END", "\n")}, "stop"),
        ({"format": Format()}, "response_format"),
        ({"messages": ()}, "messages"),
        ({"messages": (user(" "),)}, "messages"),
        ({"messages": (assistant(ToolCall("c", "f", "[1]")),)}, "messages"),
        ({"messages": (assistant(ToolCall("c", "f", "{")),)}, "messages"),
        ({"effort": "enormous"}, "reasoning_effort"),
    ],
)
def test_what_anthropic_has_no_words_for(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        written(msgspec.structs.replace(asks(), **fields))
    assert caught.value.param == param


# To and from OpenAI


def test_a_chat_request_as_a_messages_request() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            *HI,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "4"},
            {"role": "user", "content": "So?"},
        ],
        "max_tokens": 50,
    }
    request = OpenAIChat().parse_request(json.dumps(body).encode())
    assert json.loads(upstream_body(request, ANTHROPIC, model="up", stream=True)) == {
        "model": "up",
        "max_tokens": 50,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "4"}]},
                    {"type": "text", "text": "So?"},
                ],
            },
        ],
        "stream": True,
    }


def test_between_equals_the_bytes_go_through() -> None:
    body = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"document"}]}],"x":1e3}'
    assert upstream_body(parse_request(body), ANTHROPIC, model="up", stream=False) == body.replace(b'"m"', b'"up"')
