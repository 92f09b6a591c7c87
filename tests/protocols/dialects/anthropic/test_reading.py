"""What a messages request asks, in neutral words."""

from typing import Any

import pytest

from stream_protocols.conversation import (
    Format,
    Image,
    NamedTool,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Untranslatable,
)
from stream_protocols.errors import InvalidField
from tests.protocols.dialects.anthropic.asking import (
    HI,
    SCHEMA,
    assistant,
    content,
    read,
    user,
)
from tests.protocols.dialects.conversations import PIXEL


@pytest.mark.parametrize(
    ("system", "read_as"),
    [
        (None, ()),
        ("", ()),
        ("Be brief.", ("Be brief.",)),
        (
            [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}],
            ("a", "b"),
        ),
    ],
)
def test_instructions(system: Any, read_as: tuple[str, ...]) -> None:
    assert read(system=system).system == read_as


def test_instructions_among_the_messages() -> None:
    asked = read([*HI, {"role": "system", "content": [{"type": "text", "text": "b"}]}], system="a")
    assert asked.system == ("a", "b")
    assert asked.messages == (user("Hi"),)


def test_images_by_url_and_by_data() -> None:
    data = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert content(
        {"type": "text", "text": "What?", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "image", "source": data},
    ) == (Text("What?"), Image(url="https://x/y.png"), Image(data=PIXEL, media_type="image/png"))


def test_tools_their_calls_and_results() -> None:
    messages = [
        *HI,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "Eq=="},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": "4", "is_error": True},
                {"type": "tool_result", "tool_use_id": "d", "content": [{"type": "text", "text": "5"}]},
                {"type": "tool_result", "tool_use_id": "c"},
            ],
        },
    ]
    tools = [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}, {"type": "custom"}]
    asked = read(messages, tools=tools)
    assert asked.tools == (Tool("f", "d", {"type": "object"}, True), Tool(""))
    assert asked.messages[1] == assistant(Reasoning("hm", "Eq=="), ToolCall("c", "f", '{"a":1}'))
    assert asked.messages[2].parts == (
        ToolResult("c", (Text("4"),), "f", True),
        ToolResult("d", (Text("5"),)),
        ToolResult("c", (), "f"),
    )


@pytest.mark.parametrize(
    ("given", "choice", "parallel"),
    [
        (None, None, None),
        ({"type": "auto"}, "auto", None),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, NamedTool("f"), True),
    ],
)
def test_tool_choice(given: Any, choice: Any, parallel: bool | None) -> None:
    asked = read(tool_choice=given)
    assert (asked.tool_choice, asked.parallel_tool_calls) == (choice, parallel)


def test_the_rest_of_the_fields() -> None:
    asked = read(
        stop_sequences=["a"], temperature=0, top_p=1, top_k=5, metadata={"user_id": "u"}, service_tier="auto",
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}}, cache_control={"type": "ephemeral"},
    )  # fmt: skip
    assert (asked.max_tokens, asked.stop, asked.temperature, asked.top_p, asked.top_k) == (100, ("a",), 0, 1, 5)
    assert (asked.user, asked.format) == ("u", Format(SCHEMA))
    assert read(output_format={"type": "json_schema", "schema": SCHEMA}).format == Format(SCHEMA)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "document"}]}]}]},
            "messages[0].content[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            "messages[0].content[0].source",
        ),
        ({"system": [{"type": "image"}]}, "system[0]"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
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
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "input": 5}]}]},
            "messages[0].content[0].input",
        ),
        ({"system": 5}, "system"),
        ({"stop_sequences": [1]}, "stop_sequences"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
        ({"output_format": {"type": "json_schema"}}, "output_format"),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(**fields)
    assert caught.value.param == param
