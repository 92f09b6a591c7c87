"""What cannot be meant is said at once, in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import stream_gateway
from stream_gateway import GatewayError, GenerationFailed, RequestRefused, StreamingGateway, WrongOption
from stream_gateway.api.vendors import VENDORS, settings_of
from stream_gateway.config import Config
from tests.doubles.gateway_client import MESSAGES

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"provider": "opnai"}, r"There is no provider 'opnai'; known: openai, anthropic, gemini, .*, demo\."),
    ({}, r"Name a provider; known: openai"),
    ({"provider": "openai"}, r"Provider 'openai' needs a key: set the environment variable OPENAI_API_KEY\."),
    ({"provider": "gemini"}, r"set the environment variable GOOGLE_API_KEY or GEMINI_API_KEY\."),
    ({"provider": "demo", "stream_mode": "ws"}, r"stream_mode must be one of sse, ndjson, websocket, not 'ws'\."),
    ({"provider": "demo", "chunk_size": 0}, r"chunk_size must be a number of bytes from 1 to 65536, .* not 0\."),
    ({"provider": "demo", "chunk_size": -1}, r"not -1\."),
    ({"provider": "demo", "chunk_size": True}, r"not True\."),
    ({"provider": "demo", "chunk_size": 1.5}, r"not 1\.5\."),
    ({"provider": "demo", "chunk_size": "paragraphs"}, r"`chunk_size` is wrong: there is no chunking 'paragraphs'"),
    ({"provider": "demo", "compression": "rar"}, r"compression cannot be 'rar': there is no coding `rar`; known: "),
    ({"provider": "demo", "compression": "dcz"}, r"compression cannot be 'dcz': its clients need a dictionary"),
    (
        {"provider": "demo", "stream_mode": "websocket", "compression": "gzip"},
        r"A WebSocket compresses its messages itself; leave compression out with stream_mode='websocket'\.",
    ),
    ({"config": "nowhere.toml"}, r"nowhere\.toml: cannot be read: No such file or directory\."),
    ({"provider": "x", "config": Config()}, r"There is no provider 'x' in this configuration; known: demo\."),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=str)
def test_wrong_options(options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in VENDORS.values():
        for variable in vendor.keys:
            monkeypatch.delenv(variable, raising=False)
    with pytest.raises(WrongOption, match=message) as caught:
        StreamingGateway(**options)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, GatewayError)


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000")
    with pytest.raises(WrongOption, match=r"environment variable OPENAI_BASE_URL: .* expected an http"):
        StreamingGateway("openai")


def test_a_key_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk secret")
    with pytest.raises(WrongOption, match="one line of printable ASCII") as caught:
        StreamingGateway("openai")
    assert "secret" not in str(caught.value)


def test_addresses_and_keys_are_those_of_the_sdks() -> None:
    environment = {"ANTHROPIC_API_KEY": "a", "ANTHROPIC_BASE_URL": "https://a.example/", "GEMINI_API_KEY": "g"}
    anthropic = settings_of("anthropic", VENDORS["anthropic"], environment)
    assert (anthropic.base_url, anthropic.api_key_env) == ("https://a.example/v1", "ANTHROPIC_API_KEY")
    gemini = settings_of("gemini", VENDORS["gemini"], environment)
    assert gemini.base_url == "https://generativelanguage.googleapis.com/v1beta"
    assert gemini.api_key_env == "GEMINI_API_KEY"
    assert settings_of("ollama", VENDORS["ollama"], {}).api_key_env is None


async def test_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[routes.fast]\ntargets = [{ provider = "demo", model = "demo-n3-gap0" }]\n')
    gateway = StreamingGateway(config=path)
    assert len((await gateway.stream(model="fast", messages=MESSAGES).text()).split()) == 3
    with pytest.raises(RequestRefused, match=r"There is no model 'slow' here; known: fast, demo\.") as caught:
        await gateway.stream(model="slow", messages=MESSAGES).text()
    assert (caught.value.code, caught.value.status, caught.value.param) == ("model_not_found", 404, "model")
    path.write_text("[server]\nprot = 1\n")
    with pytest.raises(WrongOption, match=r"key `server\.prot` is not known; did you mean `port`"):
        StreamingGateway(config=path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "`messages` is empty"),
        ({"model": ""}, "`model` is empty"),
        ({"model": 7}, "`model` is wrong: expected `str`, got `int`"),
        ({"temperature": object()}, "cannot be written as JSON"),
        ({"chunking": 5}, "`chunking` is wrong"),
        ({"lease": -1}, '`lease` must be "finish" or seconds from 0'),
    ],
)
def test_wrong_requests(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestRefused, match=message):
        StreamingGateway("demo").stream(**{"model": "demo", "messages": MESSAGES, **fields})


async def test_wrong_requests_that_only_the_gateway_sees_through() -> None:
    gateway = StreamingGateway("demo")
    with pytest.raises(RequestRefused, match="there is no chunking 'x'"):
        await gateway.stream(model="demo", messages=MESSAGES, chunking="x").text()
    with pytest.raises(GenerationFailed, match="The demo provider has no model 'gpt-4'; try demo"):
        await gateway.stream(model="gpt-4", messages=MESSAGES).text()


def test_what_needs_a_gateway_that_stays() -> None:
    with pytest.raises(WrongOption, match="use `async with StreamingGateway"):
        StreamingGateway("demo").stream(model="demo", messages=MESSAGES, lease=5)
    with pytest.raises(WrongOption, match="use `async with StreamingGateway"):
        StreamingGateway("demo").attach("name")
    with pytest.raises(WrongOption, match="leave the field `stream` out"):
        StreamingGateway("demo").stream(model="demo", messages=MESSAGES, stream=False)


def test_the_public_names_are_all_there() -> None:
    from stream_gateway import api

    public = {name for name, value in vars(api).items() if isinstance(value, type)}
    assert set(stream_gateway.__all__) == public
    assert all(getattr(stream_gateway, name) is getattr(api, name) for name in public)
    with pytest.raises(AttributeError):
        stream_gateway.nothing  # noqa: B018
