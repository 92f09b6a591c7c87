"""Requests for a response in neutral words, and back."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from stream_protocols.dialects.openai_responses import OpenAIResponses, parse_request
from stream_protocols.dialects.registry import conversation
from stream_protocols.errors import InvalidField
from tests.protocols.dialects.conversations import PIXEL, RICH, simple

RESPONSES = OpenAIResponses()
FIELDS = ["type", "role", "content", "text", "name", "call_id", "arguments", "output", "summary", "image_url", "detail"]
SETTINGS = ["tools", "tool_choice", "text", "reasoning", "include", "temperature", "instructions", "prompt", "user"]
HI = Message("user", (Text("Hi"),))


def read(given: Any = "Hi", **fields: Any) -> Conversation:
    return conversation(parse_request(json.dumps({"model": "m", "input": given, **fields}).encode()))


def written(asked: Conversation, *, stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(RESPONSES.write(asked, model="up", stream=stream))
    return body


def again(asked: Conversation) -> Conversation:
    return conversation(parse_request(RESPONSES.write(asked, model="up", stream=False)))


def expressible(asked: Conversation) -> Conversation:
    """Without what the dialect has no words for; and where `strict` is not said, it is off."""
    tools = tuple(msgspec.structs.replace(tool, strict=bool(tool.strict)) for tool in asked.tools)
    return msgspec.structs.replace(asked, stop=(), tools=tools)


# Reading


def test_a_text_and_instructions() -> None:
    assert read("Hi", instructions="Be brief.") == Conversation(system=("Be brief.",), messages=(HI,))
    assert read() == Conversation(messages=(HI,))


def test_messages_with_and_without_a_type() -> None:
    items = [
        {"role": "system", "content": "a"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "b"}]},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Ho"}, {"type": "refusal", "refusal": "No"}]},
    ]
    answer = Message("assistant", (Text("Ho"), Text("No")))
    assert read(items, instructions="0") == Conversation(system=("0", "a", "b"), messages=(HI, answer))


def test_images_by_url_and_by_data() -> None:
    parts = [
        {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
        {"type": "input_image", "image_url": f"data:image/PNG;base64,{PIXEL}"},
    ]
    (message,) = read([{"role": "user", "content": parts}]).messages
    assert message.parts == (Image(url="https://x/y.png", detail="low"), Image(data=PIXEL, media_type="image/png"))


def test_what_a_model_said_in_one_go_is_one_turn() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
        {"role": "assistant", "content": "Let me look."},
        call,
        {**call, "call_id": "d"},
        {"type": "function_call_output", "call_id": "c", "output": "4"},
        {"type": "function_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "5"}]},
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    said = (Reasoning("hm"), Text("Let me look."), ToolCall("c", "f", '{"a":1}'), ToolCall("d", "f", '{"a":1}'))
    assert read(items).messages == (
        HI,
        Message("assistant", said),
        Message("user", (ToolResult("c", (Text("4"),), "f"),)),
        Message("user", (ToolResult("d", (Text("5"),), "f"),)),
        Message("assistant", (Text("a"),)),
        Message("assistant", (Text("b"),)),
    )


def test_reasoning_that_shows_nothing_is_nothing() -> None:
    assert read([{"role": "user", "content": "Hi"}, {"type": "reasoning", "id": "r", "summary": []}]).messages == (HI,)


def test_tools_and_the_choice_among_them() -> None:
    f = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    g = {"type": "function", "name": "g", "description": "G"}
    asked = read(tools=[f, g], tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False)
    assert asked.tools == (Tool("f", "", {"type": "object"}, True), Tool("g", "G"))
    assert (asked.tool_choice, asked.parallel_tool_calls) == (NamedTool("f"), False)
    named = [{"type": "function", "name": "g"}, {"name": ["f"]}, "f"]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": named}
    asked = read(tools=[f, g], tool_choice=allowed)
    assert (asked.tools, asked.tool_choice) == ((Tool("g", "G"),), "required")
    assert [read(tool_choice=choice).tool_choice for choice in ("auto", "none", "required", None)] == [
        *("auto", "none", "required"),
        None,
    ]


def test_the_rest_of_the_fields() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    asked = read(
        max_output_tokens=5, temperature=0, top_p=1, user="u", reasoning={"effort": "low", "summary": "auto"},
        text={"format": schema, "verbosity": "low"}, metadata={"a": "b"}, store=False, truncation="auto",
        include=["reasoning.encrypted_content"], service_tier="flex", background=True, prompt_cache_key="k",
    )  # fmt: skip
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.user, asked.effort) == (5, 0, 1, "u", "low")
    assert asked.format == Format({"type": "object"}, "n", True)
    assert read(safety_identifier="s", user="u").user == "s"
    assert read(text={"format": {"type": "json_object"}}).format == Format()
    assert read(text={"format": {"type": "text"}}).format is None
    assert read(text={}).format is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
    ],
)
def test_what_no_other_vendor_has(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        read(**{"given": fields.pop("input", "Hi"), **fields})
    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [{"role": "nobody", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        ({"input": [{"type": "function_call", "name": 5}]}, "input[0].name"),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input[0].summary"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "x", "tools": []}}, "tool_choice"),
        ({"text": 5}, "text"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"reasoning": {"effort": 5}}, "reasoning.effort"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(**{"given": fields.pop("input", "Hi"), **fields})
    assert caught.value.param == param


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["function", "user", "assistant"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)
items = st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4) | st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(["message", "reasoning", "function_call", "function_call_output", None]),
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4),
)


@given(st.lists(items, min_size=1, max_size=4), st.dictionaries(st.sampled_from(SETTINGS), anything, max_size=4))
def test_any_request_is_read_or_refused(given_items: list[Any], fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "input": given_items, **fields}).encode()
    try:
        request = parse_request(body)
    except InvalidField:
        return
    assert json.loads(RESPONSES.patch(request, model="up", stream=True))["model"] == "up"
    assert isinstance(json.loads(RESPONSES.echo(request)), dict)
    with contextlib.suppress(InvalidField):
        conversation(request)


# Writing


def test_a_rich_one_there_and_back() -> None:
    assert again(expressible(RICH)) == expressible(RICH)


@given(simple)
def test_any_there_and_back(asked: Conversation) -> None:
    assert again(expressible(asked)) == expressible(asked)


def test_how_it_is_written() -> None:
    asked = Conversation(
        system=("a", "b"),
        messages=(
            Message("user", (Text("What?"), Image(data=PIXEL, media_type="image/png"))),
            Message("assistant", (Reasoning("hm", "sig"), Text("Let me look."), ToolCall("c", "f", "{}"))),
            Message("user", (ToolResult("c", (Text("4"),), failed=True), ToolResult("d", ()), Text("So?"))),
        ),
        tools=(Tool("f", "F", {"type": "object"}),),
        effort="low",
        seed=1,
        top_k=5,
    )
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
    assert written(asked, stream=True) == {
        "model": "up",
        "instructions": "a",
        "input": [
            {"type": "message", "role": "developer", "content": "b"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What?"}, image]},
            {"type": "message", "role": "assistant", "content": "Let me look."},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "4"},
            {"type": "function_call_output", "call_id": "d", "output": ""},
            {"type": "message", "role": "user", "content": "So?"},
        ],
        "tools": [
            {"type": "function", "name": "f", "description": "F", "parameters": {"type": "object"}, "strict": False}
        ],
        "reasoning": {"effort": "low"},
        "store": False,
        "stream": True,
    }


def test_several_texts_of_a_model() -> None:
    (item,) = written(Conversation(messages=(Message("assistant", (Text("a"), Text("b"))),)))["input"]
    assert item["content"] == [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop": ("END",)}, "stop"),
        ({"choices": 2}, "n"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1.0}, "frequency_penalty"),
    ],
)
def test_what_it_has_no_words_for(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        written(Conversation(messages=(HI,), **fields))
    assert caught.value.param == param
    assert written(Conversation(messages=(HI,), presence_penalty=0.0))["model"] == "up"
