"""What the book says of the results, and that the page is whole and needs nothing else."""

import json
import re
from xml.etree import ElementTree

import pytest

from bench.book import Book, Cell
from bench.cases import CASES
from bench.histogram import Histogram
from bench.report.format import figure, ratio
from bench.report.page import page
from bench.result import Result


def result(p50: float, **more) -> Result:
    latency = Histogram.of(int(p50 * 1e6 * (1 + step / 50)) for step in range(100)).to_json()
    values = {"p50_ms": p50, "p99_ms": 2 * p50, "cpu_us_per_chunk": 100 * p50, "delivered": 100.0}
    timeline = [[step / 4, p50 * 1e6, 2e6 * p50, 3e6 * p50] for step in range(8)]
    return Result(values=values, latency=latency, timeline=timeline, window_s=2.0, **more)


@pytest.fixture
def book() -> Book:
    names = {"direct": "reference", "floor": "reference", "gateway": "gateway", "other": "peer"}
    book = Book(
        created="today",
        machine={"processor": "a <fast> one", "cores": "2", "kernel": "Linux", "python": "CPython"},
        settings={"mode": "quick", "repeats": 3, "harness_shares_a_core": True, "placement": "pinned"},
        about={name: f"about {name}" for name in names},
        kinds=names,
        versions=dict.fromkeys(names, "1.0"),
    )
    for case, variant in (("first-chunk", "1 stream"), ("steady", "100 × 50/s")):
        for place, name in enumerate(names):
            cell = Cell([result(1.0 + place + repeat) for repeat in range(3)])
            book.cells[case, variant, name] = cell
    return book


def test_a_cell_is_the_median_of_its_repeats(book):
    cell = book.cell("steady", "100 × 50/s", "floor")
    assert cell.median("p50_ms") == 3.0
    assert cell.spread("p50_ms") == (2.0, 4.0)
    assert cell.histogram().total == 300


def test_what_is_added_is_beyond_direct_in_the_same_repeat(book):
    case = CASES["first-chunk"]
    added = next(metric for metric in case.metrics if metric.key == "added_p50_ms")
    assert book.value(case, "1 stream", "gateway", added) == 2.0
    assert book.value(case, "1 stream", "direct", added) is None


def test_a_busy_harness_is_told(book):
    assert book.harness_limit(Cell([result(1.0, upstream_cpu=0.3, load_cpu=0.4)])) == ""
    shared = Cell([result(1.0, upstream_cpu=0.5, load_cpu=0.45)])
    assert book.harness_limit(shared).startswith("upstream and load, which share a core, were busy")
    book.settings["harness_shares_a_core"] = False
    assert book.harness_limit(shared) == ""
    assert book.harness_limit(Cell([result(1.0, load_cpu=0.9)])).startswith("the load generator was busy")


def test_a_late_upstream_is_told(book):
    assert book.harness_late(Cell([result(1.0, upstream_late_us=900.0)])) == ""
    assert "by its own plan" in book.harness_late(Cell([result(1.0, upstream_late_us=50_000.0)]))


def test_one_failed_repeat_fails_the_cell(book):
    cell = Cell([result(1.0), result(1.0, lost=3, broken=1, problem="the connection broke")])
    assert cell.verdict == "3 lost, 1 broken"
    assert cell.problem == "the connection broke"


def test_a_book_travels_as_json(book):
    again = Book.from_json(json.loads(json.dumps(book.to_json())))
    assert again == book
    written = book.to_json()["cells"][0]
    assert written["values"]["p50_ms"] == 2.0


def test_the_page_is_whole_and_needs_nothing_else(book):
    book.cell("steady", "100 × 50/s", "other").repeats[0].lost = 7
    book.skipped["absent"] = "not installed"
    text = page(book)
    assert "7 lost" in text
    assert "a &lt;fast&gt; one" in text
    assert not re.search(r"(src|href)=|https?://|@import|url\(", text)
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) >= 6
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing
    for target in book.targets():
        assert f"<b>{target}</b>" in text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.1234, "0.12"), (12.345, "12.3"), (123.4, "123"), (123456.0, "123,456")]
)
def test_figures_have_three_digits(value, text):
    assert figure(value) == text


def test_ratios():
    assert ratio(3.0, 2.0) == "1.50 ×"
    assert ratio(None, 2.0) == ratio(3.0, 0.0) == ""
