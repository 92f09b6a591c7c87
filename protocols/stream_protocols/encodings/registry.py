"""Codecs by name: built in, installed as an entry point, or a class by its import path."""

import importlib
import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Final

import msgspec

from stream_protocols.encodings.base import Codec
from stream_protocols.encodings.brotli import Brotli
from stream_protocols.encodings.flate import Deflate, Gzip
from stream_protocols.encodings.zstd import DictionaryZstd, Zstd
from stream_protocols.errors import CodecError

GROUP: Final = "stream_gateway.encodings"
"""The entry point group in which installed packages offer codecs."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_PROBE: Final = b"id: 1\ndata: {}\n\n"


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said about the built-in codecs."""

    window_bits: int = 10
    gzip_level: int = 1
    br_level: int = 3


_BUILT_IN: Final[dict[str, Callable[[Tuning], Codec]]] = {
    "gzip": lambda tuning: Gzip(tuning.gzip_level, tuning.window_bits),
    "deflate": lambda tuning: Deflate(tuning.gzip_level, tuning.window_bits),
    "br": lambda tuning: Brotli(tuning.br_level),
    "zstd": lambda tuning: Zstd(tuning.window_bits),
    "dcz": lambda tuning: DictionaryZstd(tuning.window_bits),
}


def load_codec(name: str, tuning: Tuning) -> Codec:
    """The codec of that name: a coding's token, or `package.module:Class`. It has been tried once when it is returned.

    Raises:
        CodecError: there is none, it cannot be imported, or it is not what `Codec` asks for.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name](tuning)
    codec = _made(name, _import(name) if ":" in name else _installed(name))
    _check(name, codec)
    return codec


def _import(path: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a module does when it is imported
        raise CodecError(f"`{path}` cannot be imported: {type(error).__name__}: {error}") from error


def _installed(name: str) -> Any:
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join([*_BUILT_IN, *sorted({entry.name for entry in entry_points(group=GROUP)})])
        raise CodecError(f"there is no coding `{name}`; known: {known}, or a class as `package.module:Class`")
    try:
        return next(iter(found)).load()
    except Exception as error:
        raise CodecError(f"`{name}` is installed, but cannot be imported: {type(error).__name__}: {error}") from error


def _made(name: str, kind: Any) -> Codec:
    if not (isinstance(kind, type) and issubclass(kind, Codec)):
        raise CodecError(f"`{name}` is not a subclass of stream_protocols.encodings.Codec")
    try:
        return kind()
    except Exception as error:
        raise CodecError(f"`{name}` cannot be made: {type(error).__name__}: {error}") from error


def _check(name: str, codec: Codec) -> None:
    """Try a codec of somebody else's, so that what is wrong shows when the gateway starts and not when it serves."""
    token = getattr(codec, "name", None)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or token in ("identity", "*"):
        raise CodecError(f"`{name}` has no good name: expected a token in lower case, got {token!r}")
    costs = getattr(codec, "costs", None)
    if not isinstance(costs, tuple) or not costs or not all(isinstance(cost, int) and cost > 0 for cost in costs):
        raise CodecError(f"`{name}` does not say what it costs: expected a tuple of bytes by grade, got {costs!r}")
    for grade in range(len(costs)):
        try:
            compressor = codec.compressor(grade)
            first, last = compressor.feed(_PROBE), compressor.finish()
        except Exception as error:
            raise CodecError(f"`{name}` fails when it is tried: {type(error).__name__}: {error}") from error
        if not isinstance(first, bytes) or not first or not isinstance(last, bytes):
            raise CodecError(f"`{name}` must return bytes, and from `feed` not none: it got {first!r}, then {last!r}")
