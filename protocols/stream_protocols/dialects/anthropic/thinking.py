"""Thinking: Anthropic's two ways to ask for it, and the neutral `effort` and `reasoning_tokens`.

Claude up to generation 4.5, and what other makers offer in this dialect, is given a budget of tokens (`thinking.type`
is `enabled`). Later models of Claude decide for themselves (`adaptive`), at a level of `output_config.effort`, and
refuse budgets. A client may have said either, so each can be told as the other (`_BUDGETS`, `_LIMITS`).
"""

from typing import Any, Final

from stream_protocols.conversation import Conversation, NamedTool, ToolResult, Untranslatable
from stream_protocols.dialects.anthropic.models import decides_thinking
from stream_protocols.dialects.fields import Fields, integer, optional_object, string

MIN_BUDGET: Final = 1024
"""Fewer tokens of thinking Anthropic refuses."""

_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24_576, "xhigh": 28_000, "max": 28_000}
"""What an effort is in tokens: half of `max_tokens` at most, so that an answer has room."""

_LIMITS: Final = ((2048, "low"), (8192, "medium"))
"""What tokens are as an effort: up to so many; above all of these it is high."""

_LEVELS: Final = {"minimal": "low", **{level: level for level in ("low", "medium", "high", "xhigh", "max")}}

_CAPPED: Final = {"xhigh": "high", "max": "high"}
"""Levels that not every dialect has."""


def read_thinking(body: Fields) -> tuple[str | None, int | None]:
    """The effort that a request asks for, and its budget of tokens if it has one."""
    effort = string(optional_object(body, "output_config") or {}, "effort", "output_config")
    thinking = optional_object(body, "thinking") or {}
    budget = integer(thinking, "budget_tokens", "thinking")
    if thinking.get("type") == "disabled":
        return "none", None
    if effort is None:
        return None if budget is None else _effort_of(budget), budget
    return _CAPPED.get(effort, effort), budget


def write_thinking(conversation: Conversation, model: str, max_tokens: int) -> tuple[dict[str, Any] | None, str | None]:
    """The `thinking` and the `output_config.effort` of a request; None where it has none.

    Anthropic takes no thinking beside a forced tool. With a budget it takes none in the middle of a round of tools
    either, unless the signed thinking of that round stands in the conversation, which no other vendor's client has.

    Raises:
        Untranslatable: the effort is no level that is known.
    """
    effort, budget = conversation.effort, conversation.reasoning_tokens
    if budget is not None and (budget == 0 or effort is None):
        effort = "none" if budget == 0 else _effort_of(budget)
    if effort is None:
        return None, None
    if effort == "none":
        return {"type": "disabled"}, None
    if effort not in _LEVELS:
        known = ", ".join(("none", *_LEVELS))
        raise Untranslatable(f"Effort {effort[:32]!r} is not known here; use {known}.", param="reasoning_effort")
    forced = conversation.tool_choice == "required" or isinstance(conversation.tool_choice, NamedTool)
    if decides_thinking(model):
        return None if forced else {"type": "adaptive"}, _LEVELS[effort]
    budget = min(_BUDGETS[effort], max_tokens // 2) if budget is None else min(max(budget, MIN_BUDGET), max_tokens - 1)
    if forced or budget < MIN_BUDGET or _in_tool_round(conversation):
        return None, None
    return {"type": "enabled", "budget_tokens": budget}, None


def _effort_of(budget: int) -> str:
    return next((effort for limit, effort in _LIMITS if budget <= limit), "high")


def _in_tool_round(conversation: Conversation) -> bool:
    return bool(conversation.messages) and any(isinstance(part, ToolResult) for part in conversation.messages[-1].parts)
