"""The states of a stream.

                    ┌───── append ─────┐
                    ▼                  │
    CREATED ─start▶ RUNNING ───────────┘
       │              ├─ finish ─▶ FINISHED
       ├─ fail ───────┼───────────▶ FAILED
       └─ cancel ─────┴───────────▶ CANCELLED

Rules that the table cannot say:

- CREATED lasts until the provider's first event, through every retry and failover before it. Nothing has
  been shown to anybody then, which is why only that state may start over.
- Being paused is no state. It is the distance between a producer and its slowest cursor: a number, and
  different for each cursor.
- Nor is being watched. A stream runs as long as its lease says, with or without subscribers.
- A stream is sealed by the first input that ends it. Ends race (a client cancels while the provider
  finishes), so whoever may come second asks `is_final` first; the table calls a second end a bug.
"""

from enum import StrEnum
from typing import Final

from stream_protocols.errors import IllegalTransition


class State(StrEnum):
    """Where a stream is; the value is the `status` that clients see."""

    CREATED = "created"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Input(StrEnum):
    """What can happen to a stream."""

    START = "start"
    APPEND = "append"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"


TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.CREATED, Input.START): State.RUNNING,
    (State.CREATED, Input.FAIL): State.FAILED,
    (State.CREATED, Input.CANCEL): State.CANCELLED,
    (State.RUNNING, Input.APPEND): State.RUNNING,
    (State.RUNNING, Input.FINISH): State.FINISHED,
    (State.RUNNING, Input.FAIL): State.FAILED,
    (State.RUNNING, Input.CANCEL): State.CANCELLED,
}

FINAL: Final = frozenset(State) - {state for state, _ in TRANSITIONS}
"""States without a way out."""


def advance(state: State, input: Input) -> State:
    """Return the state after `input`.

    Raises:
        IllegalTransition: The table has no such pair.
    """
    try:
        return TRANSITIONS[state, input]
    except KeyError:
        raise IllegalTransition(f"A stream that is {state} cannot {input}.") from None


def is_final(state: State) -> bool:
    """Tell whether the stream is over and its log sealed."""
    return state in FINAL
