"""docs/security.md names limits and tests that exist."""

import re
from pathlib import Path

from stream_gateway.config import Config

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_tests_are_there() -> None:
    named = set(re.findall(r"`(tests/[a-z0-9_/]+\.py)`", TEXT))
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_settings_are_there() -> None:
    sections = "|".join(Config.__struct_fields__)
    for path in set(re.findall(rf"`((?:{sections})\.[a-z_.]+)[`\s=]", TEXT)):
        section, key, *_ = path.split(".")
        assert hasattr(getattr(Config(), section), key), path
