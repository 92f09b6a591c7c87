"""Thinking: Gemini's two ways to ask for it, and the neutral `effort` and `reasoning_tokens`.

Models of generation 2.5 are given a budget of tokens; later ones a level. A client may have said either, so each can
be told as the other. The figures are those with which Google's own OpenAI-compatible endpoint translates efforts.
"""

from typing import Any, Final

from stream_protocols.conversation import Conversation, Untranslatable
from stream_protocols.dialects.fields import Fields, integer, string
from stream_protocols.dialects.gemini.models import is_newer, lowest_level

_BUDGETS: Final = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}

MAX_BUDGET: Final = 24_576
"""Tokens of thinking that each model of generation 2.5 takes."""

_LIMITS: Final = ((0, "none"), (2048, "low"), (8192, "medium"))
"""What a budget is as an effort: up to so many tokens; above all of these it is high."""

_CAPPED: Final = {"xhigh": "high", "max": "high"}
"""Levels that not every vendor's models have."""


def read_thinking(config: Fields) -> tuple[str | None, int | None]:
    """The effort that a `thinkingConfig` asks for, and its budget of tokens; -1 leaves it to the model."""
    where = "generationConfig.thinkingConfig"
    level, budget = string(config, "thinkingLevel", where), integer(config, "thinkingBudget", where)
    if budget is not None and budget < 0:
        budget = None
    if level and level != "THINKING_LEVEL_UNSPECIFIED":
        level = level.lower()
        return _CAPPED.get(level, level), budget or None
    return (None, None) if budget is None else (_effort_of(budget), budget or None)


def write_thinking(conversation: Conversation, model: str) -> dict[str, Any] | None:
    """The `thinkingConfig` of a request, None where nothing is asked; whoever asks is shown the thoughts.

    Raises:
        Untranslatable: the effort is no level that is known.
    """
    budget, effort = conversation.reasoning_tokens, conversation.effort
    if effort is None:
        if budget is None:
            return None
        effort = _effort_of(budget)
    effort = _CAPPED.get(effort, effort)
    if effort not in _BUDGETS:
        known = ", ".join(_BUDGETS)
        raise Untranslatable(f"Effort {effort[:32]!r} is not known here; use {known}.", param="reasoning_effort")
    if is_newer(model):
        level = lowest_level(model) if effort in ("none", "minimal") else effort
        return {"thinkingLevel": level, "includeThoughts": effort != "none"}
    if effort == "none":
        return {"thinkingBudget": 0}
    budget = _BUDGETS[effort] if budget is None else min(budget, MAX_BUDGET)
    return {"thinkingBudget": budget, "includeThoughts": True}


def _effort_of(budget: int) -> str:
    return next((effort for limit, effort in _LIMITS if budget <= limit), "high")
