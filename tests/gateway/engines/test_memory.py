"""The memory engine: new lives of logs, and one count of bytes."""

from stream_gateway.engines.memory import MemoryEngine
from stream_protocols.cursor import check_names
from tests.gateway.streams.rig import sized


def test_every_log_is_a_life_of_its_own() -> None:
    engine = MemoryEngine(1000)
    logs = [engine.create("s") for _ in range(100)]
    assert len({log.epoch for log in logs}) == 100
    for log in logs:
        assert log.stream == "s"
        check_names(log.stream, log.epoch)


def test_it_is_full_from_its_budget_on() -> None:
    engine = MemoryEngine(1000)
    log = engine.create("s")
    for size, full in ((500, False), (250, False), (250, True), (250, True)):
        engine.account(log.extend(sized(size)))
        assert engine.full is full
    engine.account(-log.trim(1, 0))
    assert engine.used == log.size == 750
    assert not engine.full


def test_a_log_that_is_dropped_gives_its_bytes_back() -> None:
    engine = MemoryEngine(1000)
    one, two = engine.create("a"), engine.create("b")
    engine.account(one.extend(sized(700)))
    engine.account(two.extend(sized(600)))
    engine.drop(one)
    assert engine.used == 600
    engine.drop(two)
    assert engine.used == 0
