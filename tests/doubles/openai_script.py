"""Scripts: what the OpenAI double answers to one request, and what goes wrong while it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.faults import Ending, Fault
from tests.doubles.gate import Gate


def words(count: int) -> tuple[str, ...]:
    """`count` deltas, no two of them equal: a joined text shows every loss and every repetition."""
    return tuple(f"w{number} " for number in range(count))


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One tool call whose arguments arrive in fragments."""

    id: str
    name: str
    fragments: tuple[str, ...]

    @property
    def arguments(self) -> str:
        return "".join(self.fragments)


@dataclass(frozen=True, kw_only=True)
class Extras:
    """Fields that no specification names, as vendors add them."""

    top: Mapping[str, Any] = field(default_factory=dict)
    choice: Mapping[str, Any] = field(default_factory=dict)
    delta: Mapping[str, Any] = field(default_factory=dict)
    prelude: Mapping[str, Any] | None = None
    """A chunk with no choices before the first one, as Azure sends its `prompt_filter_results`."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An answer that is an error, in OpenAI's shape."""

    status: int
    code: str | None
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        fields = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": fields}


UNAUTHORIZED = Refusal(status=401, code="invalid_api_key", message="Incorrect API key provided: bad.")
RATE_LIMITED = Refusal(
    status=429,
    code="rate_limit_exceeded",
    message="Rate limit reached for requests.",
    type="requests",
    headers={"Retry-After": "7", "Retry-After-Ms": "7000"},
)
OVERLOADED = Refusal(status=529, code="overloaded", message="Overloaded.", type="overloaded_error")
BUSY = Refusal(status=503, code=None, message="Busy.", type="server_error")
BROKEN = Refusal(status=500, code=None, message="The server had an error.", type="server_error")


@dataclass(frozen=True, kw_only=True)
class Script:
    """How one request is answered.

    With a `gate`, a stream sends its role chunk at once, then one delta a step, and its ending takes one step
    more. With a `head_gate` not even the status line is sent before its first step.
    """

    deltas: tuple[str, ...] = words(5)
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    interleave: bool = False
    declines: bool = False
    """The deltas are not an answer but a refusal."""
    reason: str | None = None
    """Why the answer ends, in chat's words; None for the natural reason."""
    packed: bool = False
    """All choices in one chunk, as some vendors send them, instead of a chunk for each."""
    logprobs: bool = False
    extras: Extras = field(default_factory=Extras)
    refusal: Refusal | None = None
    fault: Fault | None = None
    gate: Gate | None = None
    head_gate: Gate | None = None
    ending: Ending = Ending.DONE
    split: int | None = None
    until_close: bool = False
    gzip: bool = False

    @property
    def text(self) -> str:
        return "".join(self.deltas)

    @property
    def finish_reason(self) -> str:
        return self.reason or ("tool_calls" if self.tool_calls else "stop")

    def usage(self) -> dict[str, Any]:
        completion = len(self.deltas) + len(self.reasoning)
        return {
            "prompt_tokens": 7,
            "completion_tokens": completion,
            "total_tokens": 7 + completion,
            "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": len(self.reasoning), "audio_tokens": 0},
        }
