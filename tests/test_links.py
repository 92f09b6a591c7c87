"""Whatever a page links to is there: files, and headings in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page.relative_to(ROOT)
    for folder in (".", "docs", "docs/decisions", "examples", "bench/peers", "clients/js")
    for page in (ROOT / folder).glob("*.md")
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    source = ROOT / page
    for path, anchor in LINK.findall(source.read_text(encoding="utf-8")):
        target = (source.parent / path).resolve() if path else source
        assert target.exists(), f"there is no {path}"
        if anchor:
            assert anchor in anchors(target), f"{path} has no heading #{anchor}"


def test_the_readme_leads_to_every_page() -> None:
    linked = {path for path, _ in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert {str(page) for page in PAGES if page.parent == Path("docs")} <= linked
