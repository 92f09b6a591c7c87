"""How much a model should think, in both of Anthropic's ways to say it."""

from typing import Any

import pytest

from stream_protocols.conversation import Message, NamedTool, Text, Tool, ToolCall, ToolResult
from tests.protocols.dialects.anthropic.asking import asks, assistant, read, user, written

OLD, NEW = "claude-sonnet-4-5", "claude-opus-5"
SAMPLING: dict[str, Any] = {"temperature": 0.5, "top_p": 0.5, "top_k": 5}
CALLED = (user("Hi"), assistant(ToolCall("c", "f", "{}")), Message("user", (ToolResult("c", (Text("1"),)),)))


def thought(model: str, *messages: Message, **fields: Any) -> tuple[Any, Any]:
    sent = written(asks(*messages, **fields), model=model)
    return sent.get("thinking"), sent.get("output_config", {}).get("effort")


def budget(tokens: int) -> tuple[Any, Any]:
    return {"type": "enabled", "budget_tokens": tokens}, None


@pytest.mark.parametrize(
    ("fields", "effort", "tokens"),
    [
        ({}, None, None),
        ({"thinking": {"type": "disabled"}}, "none", None),
        ({"thinking": {"type": "adaptive"}}, None, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "low", None),
        ({"output_config": {"effort": "xhigh"}}, "high", None),
        ({"output_config": {"effort": "max"}}, "high", None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low", 1024),
        ({"thinking": {"type": "enabled", "budget_tokens": 8192}}, "medium", 8192),
        ({"thinking": {"type": "enabled", "budget_tokens": 8193}}, "high", 8193),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}, "output_config": {"effort": "low"}}, "low", 9000),
    ],
)
def test_what_is_asked(fields: dict[str, Any], effort: str | None, tokens: int | None) -> None:
    asked = read(**fields)
    assert (asked.effort, asked.reasoning_tokens) == (effort, tokens)


@pytest.mark.parametrize("model", [NEW, "claude-opus-4-6", "anthropic.claude-sonnet-4-6-v1:0", "claude-haiku-5-5@2027"])
@pytest.mark.parametrize(
    ("fields", "thinking", "effort"),
    [
        ({}, None, None),
        ({"effort": "none"}, {"type": "disabled"}, None),
        ({"effort": "minimal"}, {"type": "adaptive"}, "low"),
        ({"effort": "medium"}, {"type": "adaptive"}, "medium"),
        ({"effort": "xhigh"}, {"type": "adaptive"}, "xhigh"),
        ({"reasoning_tokens": 0}, {"type": "disabled"}, None),
        ({"reasoning_tokens": 5000}, {"type": "adaptive"}, "medium"),
        ({"reasoning_tokens": 5000, "effort": "high"}, {"type": "adaptive"}, "high"),
    ],
)
def test_models_that_decide_for_themselves(model: str, fields: dict[str, Any], thinking: Any, effort: Any) -> None:
    assert thought(model, **fields) == (thinking, effort)


@pytest.mark.parametrize(
    "model",
    [OLD, "claude-opus-4-20250514", "claude-opus-4@20250514", "claude-opus-4-1-20250805", "claude-3-7-sonnet-latest",
     "claude-2.1", "claude-instant-1.2", "claude-4-opus-20250514", "claude-haiku-4-5-20251001", "glm-5"],
)  # fmt: skip
def test_models_that_are_given_a_budget(model: str) -> None:
    assert thought(model, effort="low") == budget(2048)
    assert thought(model, effort="high") == budget(16_000)  # half of what the default limit allows
    assert thought(model, effort="high", max_tokens=64_000) == budget(24_576)
    assert thought(model, reasoning_tokens=20_000) == budget(20_000)
    assert thought(model, reasoning_tokens=100, effort="low") == budget(1024)
    assert thought(model, reasoning_tokens=9000, max_tokens=8000) == budget(7999)
    assert thought(model, effort="none") == ({"type": "disabled"}, None)
    assert thought(model) == (None, None)


def test_where_there_is_no_room_to_think() -> None:
    assert thought(OLD, effort="high", max_tokens=1500) == (None, None)
    assert thought(NEW, effort="high", max_tokens=1500) == ({"type": "adaptive"}, "high")


@pytest.mark.parametrize("choice", ["required", NamedTool("f")])
def test_not_beside_a_forced_tool(choice: Any) -> None:
    tools = {"tools": (Tool("f"),), "tool_choice": choice, "effort": "high"}
    assert thought(OLD, **tools) == (None, None)
    assert thought(NEW, **tools) == (None, "high")


def test_with_a_budget_not_in_a_round_of_tools() -> None:
    """Its calls would have to follow signed thinking, which a client of another dialect has not got."""
    assert thought(OLD, *CALLED, effort="high") == (None, None)
    assert thought(NEW, *CALLED, effort="high") == ({"type": "adaptive"}, "high")


def test_sampling_is_left_to_a_model_that_thinks() -> None:
    for model in (OLD, "claude-opus-4-6"):
        assert written(asks(**SAMPLING), model=model).items() >= SAMPLING.items()
        assert written(asks(**SAMPLING, effort="none"), model=model).items() >= SAMPLING.items()
        assert not SAMPLING.keys() & written(asks(**SAMPLING, effort="low"), model=model).keys()


@pytest.mark.parametrize("model", [NEW, "claude-opus-4-7", "claude-fable-5-1", "anthropic.claude-opus-4-8-v1:0"])
def test_models_that_take_no_sampling_settings(model: str) -> None:
    assert not SAMPLING.keys() & written(asks(**SAMPLING), model=model).keys()
