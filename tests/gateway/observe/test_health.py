"""Health as a table: facts and a time in, one word and its reason out."""

from typing import Any

import pytest

from stream_gateway.observe.health import FAR, Facts, State, health

FLOWS = {"born": 0.0, "first": 1.0, "last": 9.9, "gap": 0.05, "clients": 2}

TABLE: list[tuple[dict[str, Any], float, State, str]] = [
    # Before the first token
    ({"born": 0.0}, 1.0, State.FLOWING, "waits for its first token since 1.0 s"),
    ({"born": 0.0}, 4.99, State.FLOWING, "waits for its first token since 5.0 s"),
    ({"born": 0.0}, 5.0, State.SLOW, "no first token for 5.0 s"),
    ({"born": 0.0, "last": 4.0}, 5.0, State.SLOW, "no first token for 5.0 s"),  # accepted is not begun
    ({"born": 0.0}, 30.0, State.STALLED, "no first token for 30.0 s"),
    # Its pace
    ({"born": 0.0, "first": 9.0, "last": 9.0}, 9.5, State.FLOWING, "has begun"),
    (FLOWS, 10.0, State.FLOWING, "a chunk every 50 ms"),
    (FLOWS, 11.8, State.FLOWING, "a chunk every 50 ms"),
    (FLOWS, 11.9, State.SLOW, "nothing for 2.0 s; usual are 50 ms"),
    (FLOWS, 20.0, State.STALLED, "nothing for 10.1 s; usual are 50 ms"),
    ({**FLOWS, "gap": 0.0}, 12.0, State.SLOW, "nothing for 2.1 s"),
    ({**FLOWS, "gap": 1.0}, 10.0, State.SLOW, "a chunk every 1.0 s"),
    ({**FLOWS, "gap": 1.5}, 20.0, State.SLOW, "a chunk every 1.5 s"),  # ten seconds are not unusual there
    ({**FLOWS, "gap": 1.5}, 25.0, State.STALLED, "nothing for 15.1 s; usual are 1.5 s"),
    # Its clients
    ({**FLOWS, "lag": FAR - 1}, 10.0, State.FLOWING, "a chunk every 50 ms"),
    ({**FLOWS, "behind": 1, "lag": 300}, 10.0, State.LAGGING, "1 of 2 clients behind, the last by 300 events"),
    ({**FLOWS, "behind": 1, "lag": 300}, 12.0, State.SLOW, "nothing for 2.1 s; usual are 50 ms"),
    (
        {**FLOWS, "paused_since": 6.5, "behind": 1, "lag": 300, "clients": 1},
        30.0,
        State.LAGGING,
        "its provider has waited 23.5 s for 1 of 1 client",
    ),
    ({**FLOWS, "paused_since": 6.5}, 10.0, State.LAGGING, "its provider has waited 3.5 s for some of 2 clients"),
    # Its attempts
    ({"born": 0.0, "attempt": 2, "failed": "http_503"}, 40.0, State.RECOVERING, "attempt 2 after http_503"),
    ({**FLOWS, "attempt": 3, "failed": "upstream_error"}, 30.0, State.RECOVERING, "attempt 3 after upstream_error"),
    ({**FLOWS, "paused_since": 9.0, "failed": "http_503"}, 10.0, State.LAGGING, "its provider has waited 1.0 s"),
]


@pytest.mark.parametrize(("facts", "now", "state", "reason"), TABLE)
def test_health(facts: dict[str, Any], now: float, state: State, reason: str) -> None:
    found = health(Facts(**facts), now)
    assert found.state is state
    assert found.reason.startswith(reason)


def test_the_table_knows_every_state() -> None:
    assert {state for _, _, state, _ in TABLE} == set(State)
