"""Who may use the control plane: a table of requests."""

from pathlib import Path

import pytest

from stream_gateway.config import ConfigError, ControlSettings, config_from_toml
from stream_gateway.control.access import Access, read_token
from stream_gateway.guard.principal import Principal
from stream_protocols.errors import StreamProtocolError, TooManyRequests, Unauthorized

OURS = {"host": "127.0.0.1:9090"}
TOKEN = "a-long-random-text"


def status(access: Access, method: str = "GET", path: str = "/metrics", **headers: str) -> int:
    try:
        access.check(method, path, {name.replace("_", "-"): value for name, value in headers.items()})
    except StreamProtocolError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1:9090", 200),
        ("127.0.0.1", 200),
        ("[::1]:9090", 200),
        ("10.1.2.3:9090", 200),  # an address is nobody's name
        ("localhost:9090", 200),
        ("LOCALHOST", 200),
        ("localhost.:9090", 200),
        ("gateway.internal:9090", 200),
        ("evil.example:9090", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example@127.0.0.1", 421),
        ("127.0.0.1/healthz?", 421),  # a URL made of this and the path would be another path's
        ("localhost:9090/console/", 421),
        ("127.0.0.1#", 421),
        ("127.0.0.1\\@evil.example", 421),
        ("127.0.0.1, evil.example", 421),
        ("127.0.0.1:9090:9090", 421),
        ("127.0.0.1@evil.example", 421),
        ("[localhost]", 421),
        ("[", 421),
        (":9090", 421),
        ("", 421),
    ],
)
def test_names(host: str, answer: int) -> None:
    assert status(Access(("Gateway.internal",), None), host=host) == answer


@pytest.mark.parametrize(
    ("method", "headers", "answer"),
    [
        ("GET", {}, 200),
        ("POST", {}, 200),  # curl
        ("GET", {"origin": "http://127.0.0.1:9090"}, 200),
        ("POST", {"origin": "http://127.0.0.1:9090", "sec_fetch_site": "same-origin"}, 200),
        ("POST", {"origin": "http://127.0.0.1:8080"}, 403),
        ("POST", {"origin": "http://evil.example"}, 403),
        ("GET", {"origin": "http://evil.example"}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"origin": "http://["}, 403),
        ("DELETE", {"sec_fetch_site": "cross-site"}, 403),
        ("POST", {"sec_fetch_site": "same-site"}, 403),
        ("GET", {"sec_fetch_site": "cross-site"}, 200),  # a link that somebody follows
    ],
)
def test_pages(method: str, headers: dict[str, str], answer: int) -> None:
    assert status(Access((), None), method, **OURS, **headers) == answer


@pytest.mark.parametrize(
    ("path", "authorization", "answer"),
    [
        ("/metrics", f"Bearer {TOKEN}", 200),
        ("/metrics", f"bearer  {TOKEN} ", 200),
        ("/metrics", "", 401),
        ("/metrics", f"Bearer {TOKEN}x", 401),
        ("/metrics", "Bearer ", 401),
        ("/metrics", TOKEN, 401),
        ("/metrics", f"Basic {TOKEN}", 401),
        ("/metrics", "Bearer \udcff\u2028", 401),
        ("/admin/drain", "", 401),
        ("/healthz", "", 200),
        ("/readyz", "", 200),
        ("/healthz/", "", 401),
    ],
)
def test_tokens(path: str, authorization: str, answer: int) -> None:
    assert status(Access((), TOKEN), path=path, authorization=authorization, **OURS) == answer


def test_an_admins_api_key_is_as_good() -> None:
    def recognise(credential: str, address: str, *, final: bool = False) -> Principal:
        if credential == "guess":
            raise TooManyRequests("wait", retry_after=1)
        if credential == "stranger":
            raise Unauthorized("no")
        return Principal(id="key:1", name=address, admin=credential == "admin")

    for token in (TOKEN, None):
        access = Access((), token, recognise, closed=True)
        shown = {
            key: status(access, authorization=f"Bearer {key}", **OURS) for key in ("admin", "user", "stranger", "guess")
        }
        assert shown == {"admin": 200, "user": 401, "stranger": 401, "guess": 429}
        assert status(access, **OURS) == 401


def test_a_token_may_change() -> None:
    access = Access((), TOKEN)
    access.change((), "another")
    assert status(access, authorization=f"Bearer {TOKEN}", **OURS) == 401
    assert status(access, authorization="Bearer another", **OURS) == 200


# ---- the token's configuration


def test_where_the_token_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_token(ControlSettings()) is None
    monkeypatch.setenv("ADMIN_TOKEN", " abc\n")
    assert read_token(ControlSettings(token_env="ADMIN_TOKEN")) == "abc"
    file = tmp_path / "token"
    file.write_text("def\n")
    assert read_token(ControlSettings(token_file=str(file))) == "def"


def test_tokens_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMIN_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"control\.token_env"):
        read_token(ControlSettings(token_env="ADMIN_TOKEN"))
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match=r"control\.token_file.*cannot be read"):
        read_token(ControlSettings(token_file=str(file)))
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        read_token(ControlSettings(token_file=str(file)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.internal"])
def test_off_loopback_there_has_to_be_a_token(host: str) -> None:
    text = f'[control]\nhost = "{host}"\n'
    with pytest.raises(ConfigError, match=r"control\.host.*nothing says who is an admin"):
        config_from_toml(text, environ={})
    config_from_toml(text + 'token_env = "ADMIN_TOKEN"\n', environ={})
    config_from_toml(text + "enabled = false\n", environ={})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_loopback_there_need_be_none(host: str) -> None:
    assert config_from_toml(f'[control]\nhost = "{host}"\n', environ={}).control.host == host
