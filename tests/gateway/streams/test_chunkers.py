"""Which chunker a client gets, and strategies of somebody's own: found, tried, and refused with a reason."""

import importlib.metadata
import sys
import types
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from stream_gateway.config import ConfigError, config_from_toml
from stream_gateway.streams.chunkers import Chunkers, load_chunkers
from stream_protocols.chunking import Chunker, Waiting
from stream_protocols.chunking.adaptive import Adaptive
from stream_protocols.chunking.words import Sentences, Words
from stream_protocols.errors import InvalidField

ROUTE = "targets = [{ provider = 'demo', model = 'demo' }]"


class Every(Chunker):
    """Chunks of so many characters."""

    def __init__(self, size: int = 3, patience: float = 1.0) -> None:
        self.size = size
        self.patience = patience

    def cut(self, waiting: Waiting) -> int:
        return min(self.size, len(waiting.text))


class Raises(Chunker):
    def cut(self, waiting: Waiting) -> int:
        raise ValueError("oh")


class Greedy(Chunker):
    def cut(self, waiting: Waiting) -> int:
        return len(waiting.text) + 1


class Eternal(Every):
    def __init__(self) -> None:
        super().__init__(patience=float("inf"))


class SecondFails(Every):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        if type(self).made > 1:
            raise OSError("no more")


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    """A module that a configuration can name."""
    made = types.ModuleType("made_for_tests")
    vars(made).update(
        {kind.__name__: kind for kind in (Every, Raises, Greedy, Eternal, SecondFails)}, number=3, text=str
    )
    sys.modules["made_for_tests"] = made
    yield
    del sys.modules["made_for_tests"]


def load(text: str) -> Chunkers:
    return load_chunkers(config_from_toml(text, environ={}))


def kind(chunkers: Chunkers, model: str) -> type[object]:
    return type(chunkers.of_route(model)())


def test_the_routes_choice_and_the_gateways() -> None:
    chunkers = load(
        f"streams.chunking = 'words'\n[routes.a]\n{ROUTE}\nchunking = 'sentences'\n"
        f"[routes.b]\n{ROUTE}\n[routes.'*']\n{ROUTE}\nchunking = 'passthrough'"
    )
    assert kind(chunkers, "a") is Sentences
    assert kind(chunkers, "b") is Words
    assert kind(chunkers, "c") is type(None)
    assert kind(chunkers, "demo-n3") is Words
    assert kind(load(""), "demo") is Adaptive


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"[routes.a]\n{ROUTE}\nchunking = 'sentence'",
            'key `routes."a".chunking` is wrong: there is no chunking \'sent',
        ),
        ("streams.chunking = 'bytes:0'", "key `streams.chunking` is wrong: 'bytes:0' needs a whole number from 1 to"),
    ],
)
def test_a_configured_name_that_means_nothing(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value).startswith(message)


def test_a_class_of_the_configuration() -> None:
    chunkers = load(
        "[chunking.every-5]\nclass = 'made_for_tests:Every'\nsize = 5\n[chunking.three]\nclass='made_for_tests:Every'"
    )
    first, second = chunkers.named("every-5")(), chunkers.named("every-5")()
    assert isinstance(first, Every)
    assert first is not second
    assert first.size == 5
    assert isinstance(chunkers.named("three")(), Every)
    with pytest.raises(InvalidField, match=r"known: adaptive, .*every-5, three"):
        chunkers.named("every-6")


@pytest.mark.parametrize(
    ("name", "path", "why"),
    [
        ("x", "made_for_tests", "expected `package.module:Class`"),
        ("x", "no_such_module:Every", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x", "made_for_tests:Nobody", "module `made_for_tests` has no class `Nobody`"),
        ("x", "made_for_tests:number", "module `made_for_tests` has no class `number`"),
        ("x", "made_for_tests:text", "it makes a str, which is no `stream_protocols.chunking.Chunker`"),
        ("x", "made_for_tests:Raises", "ValueError: oh"),
        ("x", "made_for_tests:Greedy", "`cut` must return from 0 to the length of the text, 29; it returned 30"),
        ("x", "made_for_tests:Eternal", "its patience must be some seconds, not inf"),
        ("words", "made_for_tests:Every", "the name is one of the gateway's own strategies"),
        ("bytes:7", "made_for_tests:Every", "the name of a strategy has up to 64 letters"),
    ],
)
def test_a_class_that_cannot_be_used(name: str, path: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"[chunking.'{name}']\nclass = '{path}'")
    assert str(caught.value).startswith(f'key `chunking."{name}"`: `{path}` cannot be used: {why}')


def test_options_that_the_class_does_not_take() -> None:
    with pytest.raises(ConfigError, match=r"cannot be used: TypeError: .*unexpected keyword argument 'sise'"):
        load("[chunking.x]\nclass = 'made_for_tests:Every'\nsise = 5")


def test_an_entry_without_a_class() -> None:
    with pytest.raises(ConfigError, match=r'key `chunking."x"`: object missing required field `class`'):
        load("[chunking.x]\nsize = 5")


def test_what_installed_packages_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may have asked for it: one that cannot be used is left out, and the log says why."""
    points = [
        importlib.metadata.EntryPoint("every", "made_for_tests:Every", "stream_gateway.chunkers"),
        importlib.metadata.EntryPoint("broken", "made_for_tests:Raises", "stream_gateway.chunkers"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == points[0].group else [])
    with capture_logs() as logs:
        chunkers = load("")
    assert isinstance(chunkers.named("every")(), Every)
    assert [(entry["event"], entry["chunker"], entry["error"]) for entry in logs] == [
        ("chunker_unusable", "broken", "ValueError: oh")
    ]
    with pytest.raises(InvalidField):
        chunkers.named("broken")


def test_one_that_cannot_be_made_for_a_client() -> None:
    make = load("[chunking.x]\nclass = 'made_for_tests:SecondFails'").named("x")
    with capture_logs() as logs:
        assert make() is None
    assert logs[0]["error"] == "OSError: no more"
