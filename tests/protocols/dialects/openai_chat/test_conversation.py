"""Chat requests in neutral words, and back."""

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
from stream_protocols.dialects.openai_chat import OpenAIChat, parse_request
from stream_protocols.dialects.registry import conversation, upstream_body
from stream_protocols.errors import InvalidField
from tests.protocols.dialects.conversations import PIXEL, RICH, simple

CHAT = OpenAIChat()
HI = [{"role": "user", "content": "Hi"}]


def read(messages: Any = HI, **fields: Any) -> Conversation:
    return conversation(parse_request(json.dumps({"model": "m", "messages": messages, **fields}).encode()))


def written(asked: Conversation, *, stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(CHAT.write(asked, model="up", stream=stream))
    return body


def again(asked: Conversation) -> Conversation:
    return conversation(parse_request(CHAT.write(asked, model="up", stream=False)))


# Reading


def test_instructions_stand_apart() -> None:
    messages = [
        {"role": "system", "content": "a"},
        *HI,
        {"role": "developer", "content": [{"type": "text", "text": "b"}]},
    ]
    assert read(messages) == Conversation(system=("a", "b"), messages=(Message("user", (Text("Hi"),)),))


def test_images_by_url_and_by_data() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": f"data:image/PNG;base64,{PIXEL}"}},
    ]
    (message,) = read([{"role": "user", "content": parts}]).messages
    assert message.parts == (Image(url="https://x/y.png", detail="low"), Image(data=PIXEL, media_type="image/png"))


def test_tools_their_calls_and_results() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "4"},
    ]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    choice = {"type": "function", "function": {"name": "f"}}
    asked = read(messages, tools=[tool], tool_choice=choice, parallel_tool_calls=False)
    assert asked.tools == (Tool("f", "", {"type": "object"}, True),)
    assert (asked.tool_choice, asked.parallel_tool_calls) == (NamedTool("f"), False)
    assert asked.messages[1] == Message("assistant", (Reasoning("hm"), ToolCall("c", "f", '{"a":1}')))
    assert asked.messages[2] == Message("user", (ToolResult("c", (Text("4"),), "f"),))


def test_the_rest_of_the_fields() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    asked = read(
        max_completion_tokens=5, max_tokens=7, stop="a", seed=1, n=2, user="u", reasoning_effort="low",
        presence_penalty=1, frequency_penalty=0.5, temperature=0, top_p=1, response_format=schema, metadata={"x": "y"},
    )  # fmt: skip
    assert (asked.max_tokens, asked.stop, asked.seed, asked.choices, asked.user) == (5, ("a",), 1, 2, "u")
    assert (asked.effort, asked.presence_penalty, asked.frequency_penalty) == ("low", 1, 0.5)
    assert (asked.temperature, asked.top_p, asked.format) == (0, 1, Format({"type": "object"}, "n", True))
    assert read(max_tokens=7, response_format={"type": "json_object"}).format == Format()
    assert read(response_format={"type": "text"}).format is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{}]}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0]"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
    ],
)
def test_what_no_other_vendor_has(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        read(**fields)
    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"seed": "x"}, "seed"),
        ({"stop": [1]}, "stop"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"presence_penalty": "much"}, "presence_penalty"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(**fields)
    assert caught.value.param == param


# Writing


def test_a_rich_one_there_and_back() -> None:
    assert again(RICH) == RICH


@given(simple)
def test_any_there_and_back(asked: Conversation) -> None:
    assert again(asked) == asked


def test_results_become_messages_of_their_own() -> None:
    parts = (ToolResult("a", (Text("1"),)), ToolResult("b", (Text("2"),)), Text("so?"))
    sent = written(Conversation(messages=(Message("user", parts),)))["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("tool", "1"),
        ("tool", "2"),
        ("user", "so?"),
    ]


def test_a_stream_is_asked_for_its_usage() -> None:
    asked = Conversation(messages=(Message("user", (Text("Hi"),)),))
    assert written(asked, stream=True) == {
        "model": "up", "messages": HI, "stream": True, "stream_options": {"include_usage": True}
    }  # fmt: skip
    assert written(asked) == {"model": "up", "messages": HI}


def test_between_equals_the_bytes_go_through() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"logprobs":true,"x":1e3}'
    sent = upstream_body(parse_request(body), CHAT, model="up", stream=False)
    assert sent == body.replace(b'"m"', b'"up"')
    assert msgspec.json.decode(sent)["logprobs"] is True
