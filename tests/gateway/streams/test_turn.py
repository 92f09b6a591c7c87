"""A turn: once, at the end, whatever happens in it."""

import contextlib

from structlog.typing import EventDict

from stream_gateway.streams.turn import Turn


def test_once_at_the_end_of_the_outermost() -> None:
    turn, calls = Turn(), []

    def flush() -> None:
        calls.append(1)

    with turn:
        with turn:
            turn.defer(flush)
        turn.defer(flush)
        assert not calls
    assert calls == [1]
    turn.defer(flush)
    assert calls == [1, 1]


def test_what_fails_in_it_or_at_its_end_is_contained(logged: list[EventDict]) -> None:
    turn, calls = Turn(), []
    with contextlib.suppress(KeyError), turn:
        turn.defer(lambda: 1 / 0)
        turn.defer(lambda: calls.append(1))
        raise KeyError
    assert calls == [1]
    assert [entry["event"] for entry in logged] == ["end_of_turn_failed"]
    with turn:
        turn.defer(lambda: calls.append(2))
    assert calls == [1, 2]
