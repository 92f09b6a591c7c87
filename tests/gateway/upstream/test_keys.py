"""Where a provider's key comes from, and that a mistake with it is named without showing it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.config import ConfigError, ProviderSettings
from stream_gateway.upstream.keys import REDACTED, Redactor, read_key


def settings(**fields: str) -> ProviderSettings:
    return ProviderSettings(dialect="openai_chat", base_url="http://x/v1", **fields)


def test_a_provider_may_need_no_key() -> None:
    assert read_key("p", settings()) is None


def test_keys_come_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("P_KEY", " sk-1 \n")
    assert read_key("p", settings(api_key_env="P_KEY")) == "sk-1"
    (tmp_path / "key").write_text("sk-2\n")
    assert read_key("p", settings(api_key_file=str(tmp_path / "key"))) == "sk-2"


@pytest.mark.parametrize("key", ["two words", "two\nlines", "schlüssel", "", " "])
def test_what_cannot_be_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    (tmp_path / "key").write_text(key)
    with pytest.raises(ConfigError, match=r'`providers\."p"\.api_key_file`.*one line of printable ASCII') as caught:
        read_key("p", settings(api_key_file=str(tmp_path / "key")))
    assert not key.strip() or key not in str(caught.value)


def test_where_there_is_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("P_KEY", raising=False)
    with pytest.raises(ConfigError, match=r'`providers\."p"\.api_key_env`.*P_KEY is not set'):
        read_key("p", settings(api_key_env="P_KEY"))
    with pytest.raises(ConfigError, match=r'`providers\."p"\.api_key_file`.*cannot be read'):
        read_key("p", settings(api_key_file=str(tmp_path / "none")))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key("p", settings(api_key_file=str(tmp_path / "bytes")))


@pytest.mark.parametrize("name", ["sk-very-secret", "MY KEY", "", "1KEY", "MY-KEY"])
def test_what_is_no_name_of_a_variable_is_not_shown(name: str) -> None:
    if name:
        with pytest.raises(ConfigError, match="expected the name of an environment variable") as caught:
            read_key("p", settings(api_key_env=name))
        assert name not in str(caught.value)
    else:
        assert read_key("p", settings(api_key_env=name)) is None


@given(
    st.text("ab", min_size=1, max_size=5), st.lists(st.binary(max_size=4) | st.text("ab\n", max_size=4).map(str.encode))
)
def test_a_key_is_taken_out_of_any_pieces(key: str, pieces: list[bytes]) -> None:
    redactor = Redactor(key)
    told = b"".join([*map(redactor.feed, pieces), redactor.close()])
    assert key.encode() not in told.replace(REDACTED, b"\n")
    assert told.replace(REDACTED, key.encode()) == b"".join(pieces)


def test_what_ends_a_line_is_held_back_by_nobody() -> None:
    redactor = Redactor("sk-1")
    assert redactor.feed(b"data: s\n") == b"data: s\n"
    assert redactor.feed(b"data: s") + redactor.feed(b"k-1\n") == b"data: [redacted]\n"
    assert Redactor(None).feed(b"sk-1") == b"sk-1"
