"""Which chunker a client gets: the one it asks for, else its stream's, else its route's, else the gateway's.

Strategies of somebody's own are classes named in the configuration, or entry points of installed packages.
"""

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import structlog

from stream_gateway.config import Config, ConfigError, RouteSettings
from stream_gateway.upstream import demo
from stream_protocols.chunking import Chunker, Waiting
from stream_protocols.chunking.registry import DEFAULT, MakeChunker, chunking, is_taken
from stream_protocols.errors import InvalidField

_log = structlog.get_logger()

ENTRY_POINTS: Final = "stream_gateway.chunkers"

_ANY: Final = "*"
"""The route that takes every name which has none of its own."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBE: Final = "A probe: two sentences. Or so"


class Chunkers:
    """The strategies of a gateway.

    Args:
        routes: by the public names of their models.
        custom: strategies beside those that everybody has.
        default: the name of the one for whom nothing else says.

    Raises:
        ConfigError: there is none of a name.
    """

    def __init__(
        self, routes: Mapping[str, RouteSettings], custom: Mapping[str, MakeChunker], default: str = DEFAULT
    ) -> None:
        self._custom = custom
        self._default = self._configured("streams.chunking", default)
        self._routes = {
            name: self._configured(f'routes."{name}".chunking', route.chunking)
            for name, route in routes.items()
            if route.chunking is not None
        }
        self._named = frozenset(routes)

    def _configured(self, key: str, text: str) -> MakeChunker:
        try:
            return self.named(text, key)
        except InvalidField as error:
            raise ConfigError(f"key {error.message.removeprefix('Field ')}") from None

    def named(self, text: str, field: str = "chunking") -> MakeChunker:
        """The strategy that a client, or a route, asks for.

        Raises:
            InvalidField: there is none of that name.
        """
        return chunking(text, self._custom, field=field)

    def of_route(self, model: str) -> MakeChunker:
        """The strategy of the route that answers to a public model name."""
        name = model if model in self._named or demo.is_demo(model) else _ANY
        return self._routes.get(name, self._default)


def load_chunkers(config: Config) -> Chunkers:
    """All strategies that a configuration names and installed packages offer. Each is tried once.

    A package's that cannot be used is logged and left out, because nobody may have asked for it.

    Raises:
        ConfigError: one of the configuration's cannot be used, or a route asks for one that is not there.
    """
    custom: dict[str, MakeChunker] = {}
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            custom[_free(point.name)] = _tried(point.load())
        except Exception as error:
            _log.error("chunker_unusable", chunker=point.name, error=f"{type(error).__name__}: {error}")
    for name, settings in config.chunking.items():
        try:
            made = _load(settings.class_)
            custom[_free(name)] = _tried(partial(made, **settings.options) if settings.options else made)
        except Exception as error:
            why = str(error) if isinstance(error, _Unusable) else f"{type(error).__name__}: {error}"
            raise ConfigError(f'key `chunking."{name}"`: `{settings.class_}` cannot be used: {why}.') from error
    return Chunkers(config.routes, custom, config.streams.chunking)


class _Unusable(Exception):
    """The message says why, as the end of a sentence."""


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    if not module or not name:
        raise _Unusable("expected `package.module:Class`")
    found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        raise _Unusable(f"module `{module}` has no class `{name}`")
    made: Callable[..., Any] = found
    return made


def _free(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise _Unusable("the name of a strategy has up to 64 letters, digits, dots, hyphens and underscores")
    if is_taken(name):
        raise _Unusable("the name is one of the gateway's own strategies")
    return name


def _tried(make: Callable[..., Any]) -> MakeChunker:
    """Make one and show it a text, so that what is wrong shows when the gateway starts and not when it serves."""
    chunker = make()
    if not isinstance(chunker, Chunker):
        raise _Unusable(f"it makes a {type(chunker).__name__}, which is no `stream_protocols.chunking.Chunker`")
    size = chunker.cut(Waiting(_PROBE, final=True))
    if not isinstance(size, int) or not 0 <= size <= len(_PROBE):
        raise _Unusable(f"`cut` must return from 0 to the length of the text, {len(_PROBE)}; it returned {size!r}")
    if not 0 < chunker.patience < float("inf"):
        raise _Unusable(f"its patience must be some seconds, not {chunker.patience!r}")
    return partial(_made, make)


def _made(make: Callable[[], Chunker]) -> Chunker | None:
    """A client's own. One that cannot be made costs the client nothing but its chunking."""
    try:
        return make()
    except Exception as error:
        _log.error("chunker_failed", error=f"{type(error).__name__}: {error}", effect="its client gets passthrough")
        return None
