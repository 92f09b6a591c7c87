"""Configuration: what it says when it is right, and which file, key and expectation it names when it is wrong."""

import re
from pathlib import Path

import msgspec
import pytest

from stream_gateway.config import (
    LOCAL_ORIGINS,
    Config,
    ConfigError,
    LimitSettings,
    LogSettings,
    ProviderSettings,
    RouteSettings,
    ServerSettings,
    StreamSettings,
    TargetSettings,
    config_from_toml,
    load_config,
)

FULL = """
[server]
host = "0.0.0.0"
port = 0
keepalive = 5
write_timeout = 2.5

[limits]
connections = 7
header_bytes = 1000

[streams]
retain_bytes = 1000
lease = 0

[cors]
origins = ["https://app.example"]

[log]
level = "debug"
format = "json"

[providers.mine]
dialect = "openai_chat"
base_url = "https://api.example/v1"
api_key_env = "MY_KEY"

[routes.fast]
targets = [{ provider = "mine", model = "gpt-x" }, { provider = "demo", model = "demo" }]

[routes."*"]
targets = [{ provider = "demo", model = "demo" }]
"""


def read(text: str, **environ: str) -> Config:
    return config_from_toml(text, where="gateway.toml", environ=environ)


def error_of(text: str, **environ: str) -> str:
    """The error's sentence; it has to begin with the file's name, or the variable's, and to be one sentence."""
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    message = str(caught.value)
    assert message.startswith(("gateway.toml: ", *(f"environment variable {name}: " for name in environ)))
    assert message.endswith((".", "?"))
    assert "\n" not in message
    return message.removeprefix("gateway.toml: ")


# What is right


def test_nothing_at_all_is_a_configuration() -> None:
    config = read("")
    assert config == Config()
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert config.cors.origins == LOCAL_ORIGINS
    assert load_config(None, {}) == config


def test_everything_can_be_said() -> None:
    config = read(FULL)
    assert config.server == ServerSettings(host="0.0.0.0", port=0, keepalive=5.0, write_timeout=2.5)
    assert config.limits == LimitSettings(connections=7, header_bytes=1000)
    assert config.streams == StreamSettings(retain_bytes=1000, lease=0.0)
    assert config.cors.origins == ("https://app.example",)
    assert config.log == LogSettings(level="debug", format="json")
    assert config.providers == {
        "mine": ProviderSettings(dialect="openai_chat", base_url="https://api.example/v1", api_key_env="MY_KEY")
    }
    assert list(config.routes) == ["fast", "*"]
    assert config.routes["fast"] == RouteSettings(
        targets=(TargetSettings(provider="mine", model="gpt-x"), TargetSettings(provider="demo", model="demo"))
    )


def test_it_cannot_be_changed() -> None:
    config = read(FULL)
    for section in (config, config.server, config.providers["mine"]):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(section, next(iter(section.__struct_fields__)), None)


def test_every_section_has_defaults() -> None:
    for field in msgspec.structs.fields(Config):
        assert field.default is not msgspec.NODEFAULT or field.default_factory is not msgspec.NODEFAULT


# Files


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(FULL, encoding="utf-8")
    assert load_config(path, {}) == read(FULL)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, what in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=re.escape(str(path)) + f".*{what}"):
            load_config(path, {})
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"x = '\xff'")
    with pytest.raises(ConfigError, match=r"bytes\.toml: is not UTF-8"):
        load_config(path, {})


def test_the_error_names_the_file_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[server]\nport = true\n")
    with pytest.raises(ConfigError, match=re.escape(f"{path}: key `server.port`")):
        load_config(path, {})


def test_what_is_no_toml() -> None:
    assert re.match(r"not valid TOML: .*line 2", error_of("[server]\nport = \n"))


# Keys


@pytest.mark.parametrize(
    ("text", "key", "suggestion"),
    [
        ("[sever]", "sever", "server"),
        ("[server]\nprot = 1", "server.prot", "port"),
        ("[server]\nkeep_alive = 1", "server.keep_alive", "keepalive"),
        ("[limits]\nheaders_bytes = 1", "limits.headers_bytes", "header_bytes"),
        (
            "[providers.p]\ndialect='openai_chat'\nbase_url='http://x'\napi_key='k'",
            'providers."p".api_key',
            "api_key_env",
        ),
        ("[routes.r]\ntarget = []", 'routes."r".target', "targets"),
        ("[routes.r]\ntargets = [{provider='demo', models='x'}]", 'routes."r".targets[0].models', "model"),
    ],
)
def test_an_unknown_key_gets_the_nearest_one_suggested(text: str, key: str, suggestion: str) -> None:
    assert error_of(text) == f"key `{key}` is not known; did you mean `{suggestion}`?"


def test_an_unknown_key_that_resembles_nothing_gets_the_list() -> None:
    message = error_of("[log]\nxyzzy = 1")
    assert message == "key `log.xyzzy` is not known; known here: level, format."
    assert "known here: server, limits" in error_of("[xyzzy]")


# Values


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("server = 5", "server", "expected `object`, got `int`"),
        ("providers = 5", "providers", "expected a table"),
        ("routes = []", "routes", "expected a table"),
        ("[providers]\np = 5", 'providers."p"', "expected `object`, got `int`"),
        ("[server]\nport = 'x'", "server.port", "expected `int`, got `str`"),
        ("[server]\nport = 65536", "server.port", "expected `int` <= 65535"),
        ("[server]\nport = -1", "server.port", "expected `int` >= 0"),
        ("[server]\nport = 80.5", "server.port", "expected `int`, got `float`"),
        ("[server]\nhost = 5", "server.host", "expected `str`, got `int`"),
        ("[server]\nkeepalive = 0", "server.keepalive", "expected `float` > 0.0"),
        ("[server]\nkeepalive = -1.5", "server.keepalive", "expected `float` > 0.0"),
        ("[server]\nkeepalive = nan", "server.keepalive", "expected `float` > 0.0"),
        ("[server]\nkeepalive = true", "server.keepalive", "expected `float`, got `bool`"),
        ("[limits]\nbody_bytes = 0", "limits.body_bytes", "expected `int` >= 1"),
        ("[streams]\nlease = -1", "streams.lease", "expected `float` >= 0.0"),
        ("[streams]\nlease = 'finish'", "streams.lease", "expected `float`, got `str`"),
        ("[cors]\norigins = '*'", "cors.origins", "expected `array`, got `str`"),
        ("[cors]\norigins = [5]", "cors.origins[0]", "expected `str`, got `int`"),
        ("[routes.r]\ntargets = []", 'routes."r".targets', "expected `array` of length >= 1"),
        ("[routes.r]\ntargets = [5]", 'routes."r".targets[0]', "expected `object`, got `int`"),
    ],
)
def test_a_wrong_value_is_told_what_was_expected(text: str, key: str, expected: str) -> None:
    assert error_of(text) == f"key `{key}`: {expected}."


@pytest.mark.parametrize(
    ("text", "key", "choices"),
    [
        ("[log]\nlevel = 'loud'", "log.level", ["debug", "info", "warning", "error"]),
        ("[log]\nformat = ''", "log.format", ["auto", "console", "json"]),
        ("[providers.p]\ndialect = 'x'\nbase_url = 'http://x'", 'providers."p".dialect', ["openai_chat"]),
    ],
)
def test_a_value_that_is_none_of_the_choices_is_told_them(text: str, key: str, choices: list[str]) -> None:
    message = error_of(text)
    assert message.startswith(f"key `{key}`: ")
    assert all(choice in message for choice in choices)


@pytest.mark.parametrize(
    ("text", "key", "missing"),
    [
        ("[providers.p]\nbase_url = 'http://x'", 'providers."p"', "dialect"),
        ("[providers.p]\ndialect = 'openai_chat'", 'providers."p"', "base_url"),
        ("[routes.r]", 'routes."r"', "targets"),
        ("[routes.r]\ntargets = [{provider = 'demo'}]", 'routes."r".targets[0]', "model"),
    ],
)
def test_a_missing_key_is_named(text: str, key: str, missing: str) -> None:
    assert error_of(text) == f"key `{key}`: object missing required field `{missing}`."


@pytest.mark.parametrize(
    "url",
    [
        "api.example",
        "ftp://api.example",
        "http://",
        "http:///v1",
        "",
        "https:// x",
        "http://x:99999/v1",
        "http://[::1/v1",
    ],
)
def test_what_is_no_base_url(url: str) -> None:
    message = error_of(f"[providers.p]\ndialect = 'openai_chat'\nbase_url = '{url}'")
    assert message == f'key `providers."p".base_url`: expected an http:// or https:// URL, got `{url}`.'


def test_where_browsers_find_the_gateway_is_an_address() -> None:
    message = error_of("[control]\ngateway_url = 'gateway.example'")
    assert message == "key `control.gateway_url`: expected an http:// or https:// URL, got `gateway.example`."


def test_one_key_is_enough() -> None:
    message = error_of("[providers.p]\ndialect='openai_chat'\nbase_url='http://x'\napi_key_env='A'\napi_key_file='b'")
    assert message == 'key `providers."p"`: give api_key_env or api_key_file, not both.'


def test_a_route_to_nowhere() -> None:
    message = error_of(
        "[providers.p]\ndialect='openai_chat'\nbase_url='http://x'\n"
        "[routes.r]\ntargets = [{provider='p', model='m'}, {provider='q', model='m'}]"
    )
    assert message == 'key `routes."r".targets[1].provider`: there is no provider `q`; known: demo, p.'


# The environment


def test_any_scalar_can_come_from_the_environment() -> None:
    config = read(
        "[server]\nport = 1\nkeepalive = 3",
        STREAM_GATEWAY_SERVER__PORT="9000",
        STREAM_GATEWAY_SERVER__HOST="::1",
        STREAM_GATEWAY_STREAMS__RETAIN_FOR="1.5",
        STREAM_GATEWAY_LOG__LEVEL="error",
        STREAM_GATEWAY_CORS__ORIGINS='["*"]',
    )
    assert config.server == ServerSettings(host="::1", port=9000, keepalive=3.0)
    assert config.streams.retain_for == 1.5
    assert config.log.level == "error"
    assert config.cors.origins == ("*",)


def test_other_variables_mean_nothing() -> None:
    others = {
        "STREAM_GATEWAY_TEST_KEY": "x",
        "STREAM_GATEWAY_": "x",
        "STREAM_GATEWAY_SERVER": "x",
        "STREAM_GATEWAY_SERVER__": "x",
        "GATEWAY_SERVER__PORT": "1",
        "PATH": "/bin",
    }
    assert read("", **others) == Config()


def test_a_section_that_is_none_is_no_silent_mistake() -> None:
    for name in ("STREAM_GATEWAY_SERVR__PORT", "STREAM_GATEWAY_PROVIDERS__P"):
        with pytest.raises(ConfigError, match=rf"^environment variable {name}: there is no section .*known: server,"):
            read("", **{name: "1"})


def test_the_environment_is_checked_like_the_file() -> None:
    assert "`server.port`: expected `int`, got `str`" in error_of("", STREAM_GATEWAY_SERVER__PORT="many")
    assert "`server.prot` is not known; did you mean `port`?" in error_of("", STREAM_GATEWAY_SERVER__PROT="1")
    assert "`server`: expected `object`" in error_of("server = 5", STREAM_GATEWAY_SERVER__PORT="1")


def test_a_mistake_of_the_environment_is_not_looked_for_in_the_file() -> None:
    for name, value in (("STREAM_GATEWAY_SERVER__PORT", "many"), ("STREAM_GATEWAY_SERVER__PROT", "1")):
        assert error_of("", **{name: value}).startswith(f"environment variable {name}: key `server.")
    assert error_of('[server]\nport = "many"').startswith("key `server.port`")


def test_the_real_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_GATEWAY_SERVER__PORT", "9001")
    assert config_from_toml("").server.port == 9001
    assert load_config(None).server.port == 9001


# Several mistakes at once


def problems_of(text: str, **environ: str) -> list[str]:
    """All sentences about a file, each without its name."""
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    for problem in caught.value.problems:
        assert problem.startswith(("gateway.toml: ", "environment variable "))
    return [problem.removeprefix("gateway.toml: ") for problem in caught.value.problems]


MANY = """
[server]
prot = 1
keepalive = -3
host = 5

[log]
level = "loud"

[providers.a]
dialect = "openai_chat"
base_ulr = "http://x"
connect_timeout = "x"

[providers.b]
dialect = "nope"

[routes.r]
targets = [{ provider = "a", model = "x", wieght = 2, cost = -1 }]
strategy = "weigthed"

[chunking.c]
options = 3
"""


def test_all_mistakes_are_told_at_once() -> None:
    assert [problem.partition("`")[2].partition("`")[0] for problem in problems_of(MANY)] == [
        'providers."a".base_ulr',
        'providers."a".connect_timeout',
        'providers."b".dialect',
        'routes."r".targets[0].wieght',
        'routes."r".targets[0].cost',
        'routes."r".strategy',
        'chunking."c"',
        "server.prot",
        "server.keepalive",
        "server.host",
        "log.level",
    ]


def test_one_mistake_is_told_once() -> None:
    for text in (
        "[providers.a]\nbase_ulr = 'http://x'\ndialect = 'gemini'\n",
        "[routes.r]\ntargets = [{ model = 3 }]\n",
    ):
        assert len(problems_of(text)) in (1, 2)
    assert problems_of("[routes.r]\ntargets = [5]") == ['key `routes."r".targets[0]`: expected `object`, got `int`.']
    assert len(problems_of("[providers.a]\ndialect = 'gemini'\nbase_url = 5\n")) == 1


def test_what_cannot_be_meant_is_told_together_too() -> None:
    text = "[server]\ntls_key = 'x'\ntrusted_proxies = ['x']\n[providers.p]\ndialect = 'gemini'\nbase_url = 'ftp://x'\n"
    assert len(problems_of(text)) == 3


def test_mistakes_of_the_environment_are_among_them() -> None:
    found = problems_of("[log]\nlevle = 1\n", STREAM_GATEWAY_SERVR__PORT="1", STREAM_GATEWAY_SERVER__PORT="x")
    assert [problem.split()[0] for problem in found] == ["environment", "key", "environment"]


def test_workers_have_to_share_what_they_serve() -> None:
    (problem,) = problems_of("[server]\nworkers = 2\n")
    assert problem.startswith("key `server.workers`: a client may come back to any worker")
    (problem,) = problems_of("[server]\nworkers = 2\nunix = '/tmp/s'\n[engine]\nkind = 'sqlite'\n")
    assert problem.endswith("several processes cannot share `server.unix`; use a port.")


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:pa/secret@host:6379/0", "redis://:secret@host:port/0", "foo://x", "redis://:p#secret@h:6379"),
        *("redis://h:6379/secret", "redis://u:secret@[::1/0", "redis://", "secret"),
    ],
)
def test_a_redis_url_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    (problem,) = problems_of(f"[engine]\nkind = 'redis'\nurl = '{url}'\n")
    assert problem.startswith("key `engine.url`: expected an address such as redis://")
    assert "secret" not in problem


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p%2Fq@h:6379/3", "unix:///run/redis.sock", "redis://[::1]:1/"]
)
def test_a_redis_url(url: str) -> None:
    read(f"[engine]\nkind = 'redis'\nurl = '{url}'\n")
