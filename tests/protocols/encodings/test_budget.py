"""The budget: who gets which compressor while memory is short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.encodings import Budget, Codec, Compressor, Grant


class Costly(Codec):
    """Says what it costs, and no more."""

    def __init__(self, name: str, *costs: int) -> None:
        self.name = name
        self.costs = costs

    def compressor(self, grade: int) -> Compressor:
        raise NotImplementedError


LARGE = Costly("large", 100, 60)
SMALL = Costly("small", 20, 10)


def taken(budget: Budget, *codecs: Codec) -> tuple[str, int] | None:
    grant = budget.take(codecs)
    return None if grant is None else (grant.codec.name, grant.grade)


def test_the_ladder() -> None:
    """What is wanted; its cheapest; the next coding's cheapest; nothing."""
    budget = Budget(400)
    steps = [taken(budget, LARGE, SMALL) for _ in range(10)]
    assert steps == [("large", 0)] * 2 + [("large", 1)] * 3 + [("small", 1)] * 2 + [None] * 3
    assert budget.used == 400


def test_a_client_that_takes_one_coding_only() -> None:
    budget = Budget(50)
    assert taken(budget, LARGE) is None
    assert [taken(budget, SMALL) for _ in range(5)] == [("small", 0), ("small", 1), ("small", 1), ("small", 1), None]
    assert taken(budget) is None


def test_what_is_given_back_is_there_again() -> None:
    budget = Budget(200)
    grant = budget.take([LARGE])
    assert grant == Grant(LARGE, 0)
    assert taken(budget, LARGE) == ("large", 1)
    budget.give_back(grant)
    assert budget.used == 60


codecs = st.lists(st.sampled_from([LARGE, SMALL]), max_size=2, unique_by=lambda codec: codec.name)


@given(st.integers(1, 500), st.lists(st.tuples(codecs, st.booleans())))
def test_it_is_never_overdrawn(limit: int, steps: list[tuple[list[Costly], bool]]) -> None:
    budget = Budget(limit)
    grants: list[Grant] = []
    for wanted, leave in steps:
        grant = budget.take(wanted)
        if grant is not None:
            grants.append(grant)
        if leave and grants:
            budget.give_back(grants.pop(0))
        assert budget.used == sum(grant.cost for grant in grants) <= limit
