"""Codecs by name: those built in, those of installed packages, and classes by their import path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stream_protocols.encodings import Codec, Compressor, Tuning, load_codec
from stream_protocols.encodings.registry import GROUP
from stream_protocols.errors import CodecError

MODULE = """
from stream_protocols.encodings import Codec

class Reverse(Codec):
    name = "reverse"
    costs = (1000, 10)

    def compressor(self, grade):
        return self

    def feed(self, data):
        return data[::-1]

    def finish(self):
        return b""

class Nameless(Reverse):
    name = "Not A Token"

class Free(Reverse):
    costs = ()

class Holding(Reverse):
    def feed(self, data):
        return b""

class Texting(Reverse):
    def feed(self, data):
        return "text"

class Failing(Reverse):
    def feed(self, data):
        raise ValueError("no luck")

class Unmakeable(Reverse):
    def __init__(self, more):
        pass

class Other:
    pass
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with a module of codecs, two of them as entry points."""
    (tmp_path / "their_codecs.py").write_text(MODULE)
    (tmp_path / "their_broken.py").write_text("1 / 0")
    information = tmp_path / "theirs-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    entries = "reverse = their_codecs:Reverse\nbroken = their_broken:Codec\n"
    (information / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("their_codecs", "their_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd", "dcz"])
def test_built_in(name: str) -> None:
    assert load_codec(name, Tuning()).name == name


@pytest.mark.parametrize("name", ["reverse", "their_codecs:Reverse"])
def test_somebody_elses(name: str) -> None:
    codec = load_codec(name, Tuning())
    assert (codec.name, codec.costs, codec.dictionary) == ("reverse", (1000, 10), b"")
    assert codec.compressor(0).feed(b"abc") == b"cba"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("snappy", "there is no coding `snappy`; known: gzip, deflate, br, zstd, dcz, broken, reverse, or a class"),
        ("broken", "`broken` is installed, but cannot be imported: ZeroDivisionError"),
        ("their_broken:X", "`their_broken:X` cannot be imported: ZeroDivisionError"),
        ("nowhere:X", "`nowhere:X` cannot be imported: ModuleNotFoundError"),
        ("their_codecs:X", "`their_codecs:X` cannot be imported: AttributeError"),
        ("their_codecs:Other", "`their_codecs:Other` is not a subclass of"),
        ("their_codecs:MODULE", "`their_codecs:MODULE` cannot be imported"),
        ("stream_protocols.encodings:load_codec", "is not a subclass of"),
        ("stream_protocols.encodings:Codec", "cannot be made: TypeError"),
        ("their_codecs:Unmakeable", "`their_codecs:Unmakeable` cannot be made: TypeError"),
        ("their_codecs:Nameless", "`their_codecs:Nameless` has no good name"),
        ("their_codecs:Free", "`their_codecs:Free` does not say what it costs"),
        ("their_codecs:Holding", "must return bytes, and from `feed` not none"),
        ("their_codecs:Texting", "must return bytes, and from `feed` not none"),
        ("their_codecs:Failing", "`their_codecs:Failing` fails when it is tried: ValueError: no luck"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(CodecError) as caught:
        load_codec(name, Tuning())
    assert sentence in caught.value.message
    assert "\n" not in caught.value.message


def test_a_codec_has_to_make_compressors() -> None:
    class Nothing(Codec):
        name = "nothing"
        costs = (1,)

    with pytest.raises(TypeError):
        Nothing()  # type: ignore[abstract]
    assert Compressor.__doc__
