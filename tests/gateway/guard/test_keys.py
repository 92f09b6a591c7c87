"""API keys: only hashes are kept, the file is replaced whole, and a revoked key is nobody's."""

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_gateway.cli import app
from stream_gateway.config import ConfigError, QuotaSettings
from stream_gateway.guard.keys import KeyRing, changing, new_key, read_keys
from stream_protocols.errors import Unauthorized


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def add(path: Path, name: str, **more: object) -> str:
    text, entry = new_key(name, **more)  # type: ignore[arg-type]
    with changing(path) as keys:
        keys.append(entry)
    return text


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["keys", *(str(argument) for argument in arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_key_is_recognised(path: Path) -> None:
    text = add(path, "shop", quota=QuotaSettings(streams=3))
    ring = KeyRing(read_keys(path), QuotaSettings(streams=9, sockets=2))
    principal = ring.verify(text)
    assert (principal.name, principal.admin, principal.quota) == ("shop", False, QuotaSettings(streams=3, sockets=2))
    assert principal.id in ring


def test_anything_else_is_not(path: Path) -> None:
    text = add(path, "shop")
    ring = KeyRing(read_keys(path), QuotaSettings())
    number = text.split("_")[1]
    for wrong in (text[:-1], text + "x", "sgk_", f"sgk_{number}", f"sgk_{number}_", new_key("other")[0], ""):
        with pytest.raises(Unauthorized):
            ring.verify(wrong)


def test_the_file_holds_no_key(path: Path) -> None:
    text = add(path, "shop")
    assert text not in path.read_text()
    assert text.split("_", 2)[2] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_replaced_whole_or_not_at_all(path: Path) -> None:
    add(path, "shop")
    before = path.read_bytes()
    with pytest.raises(RuntimeError), changing(path) as keys:
        keys.clear()
        raise RuntimeError
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]  # nothing is left lying about


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_believed(path: Path, mode: int) -> None:
    add(path, "shop")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(path)


@pytest.mark.parametrize("text", ["", "[]", '{"keys":[{}]}', '{"keys":[],"more":1}', "\x00"])
def test_what_is_no_key_file(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is no key file"):
        read_keys(path)


def test_no_file(path: Path) -> None:
    with pytest.raises(ConfigError, match="keys add"):
        read_keys(path)


def test_at_a_terminal(path: Path) -> None:
    code, text, told = run("add", "shop", "--file", path, "--admin", "--streams", "4")
    assert code == 0
    text = text.strip()
    number = text.split("_")[1]
    assert number in told
    assert text not in told
    assert KeyRing(read_keys(path), QuotaSettings()).verify(text).admin
    code, listed, _ = run("list", "--file", path)
    assert code == 0
    assert listed.split("\t")[:2] == [number, "shop"]
    assert "admin streams=4" in listed
    assert text not in listed
    assert run("revoke", number, "--file", path)[0] == 0
    assert run("list", "--file", path)[:2] == (0, "")
    with pytest.raises(Unauthorized):
        KeyRing(read_keys(path), QuotaSettings()).verify(text)


def test_the_file_that_the_configuration_names(path: Path) -> None:
    config = path.with_name("gateway.toml")
    config.write_text(f'[guard]\nkeys_file = "{path}"\n')
    assert run("add", "shop", "--config", config)[0] == 0
    assert len(read_keys(path)) == 1


def test_mistakes_at_a_terminal_are_one_line(path: Path) -> None:
    for arguments in (
        ("add", "shop"),
        ("list", "--file", path),
        ("revoke", "none", "--file", path),
        ("add", "shop", "--file", "/nowhere/keys.json"),
    ):
        code, out, told = run(*arguments)
        assert (code, out, len(told.splitlines())) == (2, "", 1), told
        assert told.startswith("stream-gateway: ")
