"""What must be said beside the figures: who could not, who was limited by the harness, who went wrong."""

from bench.book import Book, Cell
from bench.cases import Case
from bench.report.format import sentence


def shown(book: Book, case: Case, variant: str) -> list[tuple[str, Cell]]:
    """The targets with a row of their own: all but those which this case is not for."""
    cells = ((target, book.cells.get((case.name, variant, target))) for target in book.targets())
    return [(target, cell) for target, cell in cells if cell is not None and cell.reason != "n/a"]


def notes(book: Book, case: Case, variant: str) -> list[tuple[str, str]]:
    """(names of targets, what is to be said of them)."""
    found: dict[str, list[str]] = {}
    for target, cell in shown(book, case, variant):
        harness = (book.harness_limit(cell), book.harness_late(cell))
        for text in (cell.reason, *cell.notes(), cell.problem, *harness):
            if text:
                found.setdefault(sentence(text), []).append(target)
    lines = [(", ".join(names), text) for text, names in found.items()]
    reasons = {target: book.cells.get((case.name, variant, target), Cell()).reason for target in book.targets()}
    absent = [target for target, reason in reasons.items() if reason == "n/a"]
    if absent:
        lines.append((", ".join(absent), "Not applicable."))
    return lines


def base_of(book: Book) -> str:
    """What ratios are against, beside the gateway: the floor if it was there."""
    targets = book.targets()
    return next((name for name in ("floor", "direct") if name in targets), targets[0] if targets else "")


def gateway_of(book: Book) -> str:
    """The first gateway; empty if there is none."""
    return next((name for name in book.targets() if book.kinds[name] == "gateway"), "")
