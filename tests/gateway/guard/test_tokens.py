"""Stream tokens: what we have signed, as we have signed it, until it expires."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.config import ConfigError, GuardSettings
from stream_gateway.guard.principal import Grant
from stream_gateway.guard.tokens import StreamTokens, read_secrets
from stream_protocols.errors import Unauthorized

OURS = StreamTokens([b"o" * 32])
NAMES = st.text("abcXYZ019_-", min_size=1, max_size=96)


@given(NAMES, st.booleans(), st.integers(1, 10**11))
def test_what_was_signed(stream: str, cancel: bool, expires: int) -> None:
    token = OURS.sign(Grant(stream, cancel), expires)
    principal = OURS.verify(token, expires - 1)
    assert (principal.grant, principal.expires) == (Grant(stream, cancel), expires)
    assert principal.may_read(stream, "anybody's")
    assert principal.may_cancel(stream, "anybody's") == cancel
    assert not principal.may_read(stream + "x", principal.id)
    with pytest.raises(Unauthorized, match="expired"):
        OURS.verify(token, expires)


@given(NAMES, st.data())
def test_any_change_is_noticed(stream: str, data: st.DataObject) -> None:
    token = OURS.sign(Grant(stream), 1000)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(min_codepoint=0x21, max_codepoint=0x7E))
    changed = token[:place] + other + token[place + 1 :]
    if changed != token:
        with pytest.raises(Unauthorized):
            OURS.verify(changed, 1)
    for cut in (token[:place], token + other):
        with pytest.raises(Unauthorized):
            OURS.verify(cut, 1)


@given(st.text())
def test_any_text(text: str) -> None:
    with pytest.raises(Unauthorized):
        OURS.verify(text, 1)


def test_a_new_secret_beside_the_old_one() -> None:
    token = OURS.sign(Grant("s"), 1000)
    both = StreamTokens([b"n" * 32, b"o" * 32])
    assert both.verify(token, 1).grant == Grant("s")
    with pytest.raises(Unauthorized):
        OURS.verify(both.sign(Grant("s"), 1000), 1)
    with pytest.raises(Unauthorized):
        StreamTokens([b"n" * 32]).verify(token, 1)


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_secrets(GuardSettings()) != read_secrets(GuardSettings())
    file = tmp_path / "secret"
    file.write_text("a" * 32 + "\n" + "b" * 40 + "\n")
    assert read_secrets(GuardSettings(secret_file=str(file))) == [b"a" * 32, b"b" * 40]
    monkeypatch.setenv("S", "c" * 32)
    assert read_secrets(GuardSettings(secret_env="S")) == [b"c" * 32]
    monkeypatch.setenv("S", "guessable")
    for settings in (GuardSettings(secret_env="S"), GuardSettings(secret_env="T"), GuardSettings(secret_file="/no")):
        with pytest.raises(ConfigError) as caught:
            read_secrets(settings)
        assert "guessable" not in str(caught.value)
