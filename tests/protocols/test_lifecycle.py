"""The states of a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.errors import IllegalTransition
from stream_protocols.lifecycle import FINAL, TRANSITIONS, Input, State, advance, is_final


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("input", Input)
def test_every_pair_is_in_the_table_or_illegal(state: State, input: Input) -> None:
    if (state, input) in TRANSITIONS:
        assert advance(state, input) is TRANSITIONS[state, input]
    else:
        with pytest.raises(IllegalTransition, match=f"{state} cannot {input}"):
            advance(state, input)


def test_final_states() -> None:
    assert {State.FINISHED, State.FAILED, State.CANCELLED} == FINAL
    assert [state for state in State if not is_final(state)] == [State.CREATED, State.RUNNING]


def test_every_state_is_reachable() -> None:
    assert {State.CREATED, *TRANSITIONS.values()} == set(State)


def test_nothing_can_finish_or_grow_that_has_not_started() -> None:
    for input in (Input.APPEND, Input.FINISH):
        with pytest.raises(IllegalTransition):
            advance(State.CREATED, input)


@given(st.lists(st.sampled_from(Input)))
def test_a_stream_starts_at_most_once_and_ends_at_most_once(inputs: list[Input]) -> None:
    state, accepted = State.CREATED, list[Input]()
    for input in inputs:
        try:
            state = advance(state, input)
        except IllegalTransition:
            continue
        accepted.append(input)
    ends = [input for input in accepted if input in (Input.FINISH, Input.FAIL, Input.CANCEL)]
    assert accepted.count(Input.START) <= 1
    assert len(ends) == is_final(state)
    assert ends == accepted[len(accepted) - len(ends) :]
