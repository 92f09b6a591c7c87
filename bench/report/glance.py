"""The top of the report: what matters most of each case, in one table."""

from collections.abc import Iterator
from html import escape

from bench.book import Book
from bench.cases import Case, Metric
from bench.report.format import figure, ratio
from bench.report.notes import gateway_of


def glance(book: Book) -> Iterator[str]:
    """One column for the first metric of each case that has something to show here."""
    columns = [(case, variant) for case, variant in book.sections() if variant in case.glance]
    if len(columns) < 2:
        return
    gateway = gateway_of(book)
    yield "<section><h2>At a glance</h2><article><div class='scroll'><table class='glance'><thead><tr><th></th>"
    for case, variant in columns:
        metric = case.metrics[0]
        arrow = "↓" if metric.better == "lower" else "↑"
        yield (
            f"<th title='{escape(case.question, quote=True)}'>{escape(case.glance[variant])}"
            f"<small>{escape(metric.unit)} {arrow}</small></th>"
        )
    yield "</tr></thead><tbody>"
    for target in book.targets():
        kind = " class='gateway'" if target == gateway else ""
        yield f"<tr{kind}><th>{escape(target)}</th>"
        for case, variant in columns:
            yield _cell(book, case, variant, target, gateway)
        yield "</tr>"
    yield "</tbody></table></div>"
    if gateway:
        yield (
            f"<p class='hint'>Below each figure: its ratio to {escape(gateway)}'s. Green: {escape(gateway)} does "
            "better. ↓ less is better, ↑ more is better.</p>"
        )
    yield "</article></section>"


def _cell(book: Book, case: Case, variant: str, target: str, gateway: str) -> str:
    metric = case.metrics[0]
    value = book.value(case, variant, target, metric)
    if value is None:
        return "<td class='none'>–</td>"
    cell = book.cells[case.name, variant, target]
    failed = " <em>✗</em>" if cell.verdict else ""
    base = book.value(case, variant, gateway, metric) if gateway else None
    compared = "" if target == gateway else ratio(value, base)
    return f"<td>{figure(value)}{failed}<small class='{_side(metric, value, base)}'>{compared}</small></td>"


def _side(metric: Metric, value: float, base: float | None) -> str:
    """Whether the gateway is ahead of this value, by more than a fifth."""
    if not base or base <= 0 or value <= 0:
        return ""
    worse = value / base if metric.better == "lower" else base / value
    return "ahead" if worse > 1.2 else ""
