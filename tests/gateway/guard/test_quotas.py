"""Quotas: what is used is counted, comes back with time, and is each principal's own."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule

from stream_gateway.config import GuardSettings, QuotaSettings
from stream_gateway.guard import quotas as module
from stream_gateway.guard.addresses import Connections
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.principal import ANONYMOUS, Grant, Principal
from stream_gateway.guard.quotas import Bill, Quotas
from stream_protocols.errors import TooManyRequests


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quotas(clock: Clock) -> Quotas:
    return Quotas(clock)


def principal(name: str = "a", **quota: int) -> Principal:
    return Principal(id=name, name=name, quota=QuotaSettings(**quota))


def test_who_has_no_quota_has_no_account(quotas: Quotas) -> None:
    for who in (principal(), ANONYMOUS, Principal(id="token:s", name="t", grant=Grant("s"))):
        for _ in range(1000):
            assert quotas.request(who) == ([], None)
            quotas.generation(who, 1_000_000).settle(1_000_000)
            quotas.socket(who)
    assert len(quotas) == 0


def test_requests_a_minute(quotas: Quotas, clock: Clock) -> None:
    one, other = principal(requests_per_minute=3), principal("b", requests_per_minute=3)
    for left in (2, 1, 0):
        headers, refusal = quotas.request(one)
        assert refusal is None
        assert dict(headers) == {
            "RateLimit-Policy": '"requests";q=3;w=60',
            "RateLimit": f'"requests";r={left};t={20 * (3 - left)}',
        }
    headers, refusal = quotas.request(one)
    assert refusal is not None
    assert refusal.retry_after == 20
    assert dict(headers)["RateLimit"] == '"requests";r=0;t=60'
    assert quotas.request(other)[1] is None
    clock.now += 19.9
    assert quotas.request(one)[1] is not None
    clock.now += 0.1
    assert quotas.request(one)[1] is None
    assert quotas.request(one)[1] is not None


def test_streams_at_once(quotas: Quotas) -> None:
    who = principal(streams=2)
    first, _ = quotas.generation(who, 10), quotas.generation(who, 10)
    with pytest.raises(TooManyRequests, match="streams at once"):
        quotas.generation(who, 10)
    first.settle(0)
    first.settle(0)  # only the first time counts
    quotas.generation(who, 10)
    with pytest.raises(TooManyRequests):
        quotas.generation(who, 10)


def test_tokens_that_were_counted(quotas: Quotas, clock: Clock) -> None:
    who = principal(tokens_per_minute=600)
    quotas.generation(who, 400).settle(500)
    assert dict(quotas.request(who)[0])["RateLimit"] == '"tokens";r=100;t=50'
    quotas.generation(who, 400).settle(200)  # 100 of them are owed now
    with pytest.raises(TooManyRequests, match="tokens a minute") as caught:
        quotas.generation(who, 4)
    assert caught.value.retry_after == 11
    clock.now += 11
    quotas.generation(who, 4)


def test_tokens_that_nobody_counted(quotas: Quotas) -> None:
    who = principal(tokens_per_minute=1000)
    quotas.generation(who, 400).settle(None, 800)  # 100 asked, 200 answered
    assert dict(quotas.request(who)[0])["RateLimit"].startswith('"tokens";r=700;')
    quotas.generation(who, 400).settle(None, 0)  # came to nothing
    assert dict(quotas.request(who)[0])["RateLimit"].startswith('"tokens";r=700;')


def test_many_at_once_cannot_spend_the_same_tokens(quotas: Quotas) -> None:
    who = principal(tokens_per_minute=100)
    quotas.generation(who, 300)
    with pytest.raises(TooManyRequests):
        quotas.generation(who, 300)


def test_a_request_that_is_larger_than_the_quota_is_possible_once_it_is_full(quotas: Quotas, clock: Clock) -> None:
    who = principal(tokens_per_minute=60)
    quotas.generation(who, 4000).settle(1000)
    with pytest.raises(TooManyRequests) as caught:
        quotas.generation(who, 4)
    clock.now += caught.value.retry_after or 0
    quotas.generation(who, 4)


def test_sockets_at_once(quotas: Quotas) -> None:
    who = principal(sockets=1)
    leave = quotas.socket(who)
    for look in (quotas.check_socket, quotas.socket):
        with pytest.raises(TooManyRequests, match="sockets at once"):
            look(who)
    leave()
    quotas.socket(who)


def test_a_quota_that_changes_keeps_what_goes_on(quotas: Quotas) -> None:
    quotas.generation(principal(streams=5), 1)
    with pytest.raises(TooManyRequests):
        quotas.generation(principal(streams=1), 1)


def test_what_began_before_a_quota_changed_ends_all_the_same(quotas: Quotas) -> None:
    bill, leave = quotas.generation(principal(streams=2), 1), quotas.socket(principal(streams=2))
    now = principal(streams=1, sockets=1)
    with pytest.raises(TooManyRequests):
        quotas.generation(now, 1)
    bill.settle(0)
    leave()
    quotas.generation(now, 1).settle(0)
    quotas.socket(now)()


def test_a_quota_that_changes_is_no_present(quotas: Quotas, clock: Clock) -> None:
    """A socket is still who it was when it came; so one client may come with two quotas in turn."""
    before, after = principal(requests_per_minute=100), principal(requests_per_minute=10)
    given = sum(quotas.request(who)[1] is None for _ in range(200) for who in (before, after))
    assert given <= 100
    assert quotas.request(after)[1] is not None
    clock.now += 60
    assert dict(quotas.request(after)[0])["RateLimit"].startswith('"requests";r=9;')


class Clients(RuleBasedStateMachine):
    """Clients whose generations and sockets begin and end in any order, while their quotas change.

    Nobody ever has more at once than they may, and nothing that has ended is still counted.
    """

    names = st.sampled_from(["a", "b"])
    bills: Bundle[Any] = Bundle("bills")
    sockets: Bundle[Any] = Bundle("sockets")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.quotas = Quotas(self.clock)
        self.limits = dict.fromkeys("ab", 3)
        self.streams: Counter[str] = Counter()
        self.open: Counter[str] = Counter()

    def who(self, name: str) -> Principal:
        return principal(name, streams=self.limits[name], sockets=self.limits[name], tokens_per_minute=1_000_000)

    @rule(target=bills, name=names)
    def begins(self, name: str) -> Any:
        room = self.streams[name] < self.limits[name]
        try:
            bill = self.quotas.generation(self.who(name), 4)
        except TooManyRequests:
            assert not room
            return multiple()
        assert room
        self.streams[name] += 1
        return name, bill

    @rule(bill=consumes(bills), tokens=st.none() | st.integers(0, 9), again=st.booleans())
    def ends(self, bill: tuple[str, Bill], tokens: int | None, again: bool) -> None:
        for _ in range(1 + again):
            bill[1].settle(tokens, 3)
        self.streams[bill[0]] -= 1

    @rule(target=sockets, name=names)
    def comes(self, name: str) -> Any:
        room = self.open[name] < self.limits[name]
        try:
            leave = self.quotas.socket(self.who(name))
        except TooManyRequests:
            assert not room
            return multiple()
        assert room
        self.open[name] += 1
        return name, leave

    @rule(socket=consumes(sockets))
    def goes(self, socket: tuple[str, Callable[[], None]]) -> None:
        socket[1]()
        self.open[socket[0]] -= 1

    @rule(name=names, limit=st.integers(1, 4))
    def changes(self, name: str, limit: int) -> None:
        self.limits[name] = limit

    @rule(seconds=st.floats(0, 100))
    def waits(self, seconds: float) -> None:
        self.clock.now += seconds


TestClients = Clients.TestCase


def test_memory_is_bounded_and_who_is_busy_is_not_forgotten(quotas: Quotas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACCOUNTS", 50)
    busy = principal("busy", streams=1)
    quotas.generation(busy, 1)
    for number in range(1000):
        quotas.request(principal(str(number), requests_per_minute=1))
    assert len(quotas) <= 51
    with pytest.raises(TooManyRequests):
        quotas.generation(busy, 1)


def test_strangers_have_a_quota_each() -> None:
    guard = Guard(GuardSettings(quota=QuotaSettings(requests_per_minute=1)))
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        assert guard.quotas.request(guard.stranger(address))[1] is None
        assert guard.quotas.request(guard.stranger(address))[1] is not None
    assert guard.quotas.request(guard.stranger("2001:db8::2"))[1] is not None
    assert guard.quotas.request(guard.recognise("sk-any", "192.0.2.1"))[1] is not None


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 500), st.integers(0, 2000)), max_size=40))
def test_no_minute_gives_more_than_two_quotas(steps: list[tuple[float, int, int]]) -> None:
    """What is taken from a full bucket within a minute is what it held, what came back, and what is still owed."""
    clock = Clock()
    quotas, who, spent = Quotas(clock), principal(tokens_per_minute=100), 0
    last = 0
    for pause, size, cost in steps:
        if (clock.now + pause) >= 60:
            break
        clock.now += pause
        try:
            bill = quotas.generation(who, size)
        except TooManyRequests:
            continue
        bill.settle(cost)
        spent, last = spent + cost, cost
    assert spent - last <= 200


def test_connections() -> None:
    counted = Connections(2)
    for _ in range(2):
        assert not counted.full("2001:db8::1")
        counted.enter("2001:db8::1")
    assert counted.full("2001:db8::2")
    assert not counted.full("2001:db9::2")
    for _ in range(5):
        counted.enter("")
    assert not counted.full("")
    for _ in range(5):
        counted.leave("")
    counted.leave("2001:db8::1")
    assert not counted.full("2001:db8::1")
    counted.leave("2001:db8::1")
    assert len(counted) == 0
