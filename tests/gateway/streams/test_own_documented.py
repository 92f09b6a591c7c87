"""The classes of docs/chunking.md and docs/encodings.md do what the pages say, just as they stand there."""

import re
import zlib
from pathlib import Path

import pytest

from stream_gateway.config import config_from_toml
from stream_gateway.server.compression import load_codecs
from stream_gateway.streams.chunkers import load_chunkers
from stream_protocols.chunking import Waiting

DOCS = Path(__file__).parents[3] / "docs"
PROVIDER = '[providers.openai]\ndialect = "openai_chat"\nbase_url = "https://127.0.0.1/v1"\n'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `my_package` is imported from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "my_package"
    folder.mkdir()
    return folder


def block(page: str, language: str) -> str:
    """The first block of code of a language on a page."""
    found = re.search(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_chunker(package: Path) -> None:
    (package / "chunkers.py").write_text(block("chunking.md", "python"))
    chunkers = load_chunkers(config_from_toml(block("chunking.md", "toml") + PROVIDER))
    made = [chunkers.named("clauses")(), chunkers.of_route("spoken")()]
    text = "Well, a first clause, and a second, and a third one"
    for chunker in made:
        assert chunker is not None
        assert text[: chunker.cut(Waiting(text))] == "Well, a first clause, "
        assert chunker.cut(Waiting("no end")) == 0


def test_the_codec(package: Path) -> None:
    (package / "codecs.py").write_text(block("encodings.md", "python"))
    codec, _ = load_codecs(config_from_toml(block("encodings.md", "toml")).compression)
    assert codec.name == "x-mine"
    for grade in range(len(codec.costs)):
        compressor, reader = codec.compressor(grade), zlib.decompressobj(-15)
        for piece in (b"data: a\n\n", b"data: b\n\n"):
            assert reader.decompress(compressor.feed(piece)) == piece
        assert reader.decompress(compressor.finish()) == b""
        assert reader.eof
