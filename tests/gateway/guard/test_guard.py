"""The guard: who is recognised, what is remembered, and who has to wait."""

from pathlib import Path

import pytest

from stream_gateway.config import ConfigError, GuardSettings, JwtSettings, QuotaSettings
from stream_gateway.guard import failures, verified
from stream_gateway.guard.addresses import is_loopback, network_of
from stream_gateway.guard.failures import FailedLogins
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.keys import changing, new_key
from stream_gateway.guard.principal import ANONYMOUS, NOBODY, Grant, Principal
from stream_gateway.guard.verified import Verified
from stream_protocols.errors import InvalidField, TooManyRequests, Unauthorized
from tests.doubles import issuer
from tests.doubles.issuer import AUDIENCE, ISSUER

ALL = Principal(id="key:1", name="a")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def add(path: Path, name: str = "shop") -> str:
    text, entry = new_key(name)
    with changing(path) as keys:
        keys.append(entry)
    return text


def test_nothing_configured_lets_this_machine_in() -> None:
    for host in (None, "127.0.0.1", "::1", "localhost", "127.9.9.9"):
        guard = Guard(GuardSettings(quota=QuotaSettings(streams=2)), host=host)
        assert guard.open
        assert guard.stranger("p").id == ANONYMOUS.id
        assert guard.stranger("p").quota.streams == 2
        assert guard.recognise("sk-whatever-an-sdk-sends", "1.2.3.4").id == ANONYMOUS.id


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "name.example", ""])
def test_nothing_configured_keeps_other_machines_out(host: str, path: Path) -> None:
    with pytest.raises(ConfigError, match=r"guard\.keys_file"):
        Guard(GuardSettings(), host=host)
    assert Guard(GuardSettings(anonymous=True), host=host).open
    add(path)
    assert not Guard(GuardSettings(keys_file=str(path)), host=host).open


def test_a_gateway_that_nobody_could_use() -> None:
    with pytest.raises(ConfigError, match="nobody could come in"):
        Guard(GuardSettings(anonymous=False))


def test_keys(path: Path) -> None:
    key = add(path)
    guard = Guard(GuardSettings(keys_file=str(path)))
    principal = guard.recognise(key, "1.2.3.4")
    assert principal.name == "shop"
    assert guard.recognise(key, "1.2.3.4") is principal
    with pytest.raises(Unauthorized):
        guard.stranger("p")
    for wrong in (key + "x", "sk-other", "a.b.c", "sgt_x"):
        with pytest.raises(Unauthorized):
            guard.recognise(wrong, "1.2.3.4")


def test_anonymous_beside_keys(path: Path) -> None:
    key = add(path)
    guard = Guard(GuardSettings(keys_file=str(path), anonymous=True))
    assert guard.stranger("p").id == ANONYMOUS.id
    assert guard.recognise(key, "p").name == "shop"
    with pytest.raises(Unauthorized):  # who believes to be somebody is not silently somebody else
        guard.recognise(key + "x", "p")


def test_a_revoked_key_is_noticed_on_reload_even_if_it_was_just_used(path: Path) -> None:
    key = add(path)
    guard = Guard(GuardSettings(keys_file=str(path)))
    owner = guard.recognise(key, "p").id
    assert guard.knows(owner)
    with changing(path) as keys:
        keys.clear()
    guard.reload()
    assert not guard.knows(owner)
    assert guard.knows(ANONYMOUS.id)
    with pytest.raises(Unauthorized):
        guard.recognise(key, "p")


def test_a_reload_that_fails_changes_nothing(path: Path) -> None:
    key = add(path)
    guard = Guard(GuardSettings(keys_file=str(path)))
    path.write_text("nonsense")
    with pytest.raises(ConfigError):
        guard.reload()
    assert guard.recognise(key, "p").name == "shop"


def test_a_new_secret_ends_the_tokens_of_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "signing.secret"
    file.write_text("a" * 32)
    guard = Guard(GuardSettings(secret_file=str(file)))
    token, _ = guard.grant(Grant("s"), None)
    file.write_text("b" * 32 + "\n" + "a" * 32)
    guard.reload()
    assert guard.recognise(token, "p").grant == Grant("s")
    file.write_text("b" * 32)
    guard.reload()
    with pytest.raises(Unauthorized):
        guard.recognise(token, "p")
    random = Guard(GuardSettings())
    token, _ = random.grant(Grant("s"), None)
    random.reload()
    assert random.recognise(token, "p").grant == Grant("s")


def test_guessing_is_slowed_down_and_those_who_were_in_stay_in(path: Path) -> None:
    key, unused = add(path), add(path, "other")
    guard = Guard(GuardSettings(keys_file=str(path), failed_logins=3))
    guard.recognise(key, "p")
    for _ in range(3):
        with pytest.raises(Unauthorized):
            guard.recognise("sgk_guess", "p")
    with pytest.raises(TooManyRequests) as caught:
        guard.recognise("sgk_guess", "p")
    assert caught.value.retry_after is not None
    assert 1 <= caught.value.retry_after <= 20
    with pytest.raises(TooManyRequests):  # a right guess is not told from a wrong one
        guard.recognise(unused, "p")
    assert guard.recognise(key, "p").name == "shop"
    assert guard.recognise(unused, "elsewhere").name == "other"


def test_those_who_were_in_stay_in_when_keys_are_read_again(path: Path) -> None:
    key, revoked = add(path), add(path, "other")
    guard = Guard(GuardSettings(keys_file=str(path), failed_logins=1))
    guard.recognise(key, "p")
    guard.recognise(revoked, "p")
    with pytest.raises(Unauthorized):
        guard.recognise("sgk_guess", "p")
    with changing(path) as keys:
        del keys[1]
    guard.reload()
    assert guard.recognise(key, "p").name == "shop"
    with pytest.raises(Unauthorized):
        guard.recognise(revoked, "p")
    with pytest.raises(TooManyRequests):  # from now on it is as good as any guess
        guard.recognise(revoked, "p")


def test_who_comes_with_something_old_keeps_nobody_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s" * 64
    monkeypatch.setenv("JWT_SECRET", secret)
    jwt = JwtSettings(issuer=ISSUER, audience=AUDIENCE, secret_env="JWT_SECRET", algorithms=("HS256",))
    key = add(path)
    guard = Guard(GuardSettings(keys_file=str(path), jwt=jwt, failed_logins=1))
    old = guard._tokens.sign(Grant("s"), 1_000), issuer.token("HS256", key=secret.encode(), exp=1_000)
    for credential in old * 3:
        with pytest.raises(Unauthorized, match="has expired"):
            guard.recognise(credential, "p")
    assert guard.recognise(key, "p").name == "shop"
    forged = old[0][:-1] + ("A" if old[0][-1] != "A" else "B"), issuer.token("HS256", key=b"x" * 64, exp=1_000)
    for credential in forged:  # what was never good is a guess, however old it says that it is
        guesser = Guard(GuardSettings(keys_file=str(path), jwt=jwt, failed_logins=1))
        with pytest.raises(Unauthorized):
            guesser.recognise(credential, "p")
        with pytest.raises(TooManyRequests):
            guesser.recognise(key, "p")


def test_grants(path: Path) -> None:
    guard = Guard(GuardSettings(max_token_lifetime=60))
    token, expires = guard.grant(Grant("s"), None)
    principal = guard.recognise(token, "p")
    assert (principal.grant, principal.expires) == (Grant("s"), expires)
    for lifetime in (0, -1, 61, float("nan")):
        with pytest.raises(InvalidField):
            guard.grant(Grant("s"), lifetime)


def test_what_principals_may() -> None:
    assert ALL.may_read("s", "key:1")
    assert ALL.may_cancel("s", "key:1")
    assert not ALL.may_read("s", "key:2")
    assert Principal(id="key:9", name="a", admin=True).may_cancel("s", "key:1")
    assert not NOBODY.may_read("s", NOBODY.id)
    reader = Principal(id="token:s", name="t", grant=Grant("s"), admin=True)
    assert reader.may_read("s", "key:1")
    assert not reader.may_read("t", "key:1")
    assert not reader.may_cancel("s", "key:1")


def test_what_was_verified_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "MAX_ENTRIES", 3)
    table = Verified()
    for number in range(4):
        table.put(b"%d" % number, ALL, 100)
        table.get(b"1", 100)
    assert [table.had(b"%d" % number) for number in range(4)] == [False, True, True, True]
    assert table.get(b"1", 100 + verified.MAX_AGE - 1) is ALL
    assert table.get(b"1", 100 + verified.MAX_AGE) is None
    assert table.had(b"1")
    table.put(b"x", Principal(id="j", name="j", expires=110), 100)
    assert table.get(b"x", 109) is not None
    assert table.get(b"x", 110) is None
    table.put(b"y", ALL, 100)
    table.expire()
    assert table.get(b"y", 0) is None
    assert table.had(b"y")


def test_failures_are_forgiven_with_time_and_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MAX_ENTRIES", 100)
    table = FailedLogins(6)
    for _ in range(6):
        table.check("1.1.1.1", 0)
        table.count("1.1.1.1", 0)
    with pytest.raises(TooManyRequests):
        table.check("1.1.1.1", 9)
    table.check("1.1.1.1", 10)
    table.check("1.1.1.2", 0)
    for number in range(1000):
        table.count(f"10.0.{number // 250}.{number % 250}", 0)
    assert len(table) == 100


def test_one_house_is_one_network() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("") == ""
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
