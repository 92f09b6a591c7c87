"""The table in the terminal: a block for each variant of a case, a line for each target."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.book import Book
from bench.cases import Case
from bench.report.format import figure, ratio, sentence


def print_book(book: Book, console: Console) -> None:
    for case, variant in book.sections():
        console.print(_table(book, case, variant))
        for line in _footnotes(book, case, variant):
            console.print(Text(f"  {line}", style="yellow"))
        console.print()
    for name, reason in book.skipped.items():
        console.print(Text(f"{name} was skipped: {reason}", style="yellow"))


def _table(book: Book, case: Case, variant: str) -> Table:
    main = case.metrics[0]
    table = Table(title=f"{case.name} · {variant}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("target", no_wrap=True)
    for metric in case.metrics:
        table.add_column(f"{metric.label}\n[dim]{metric.unit}[/dim]", justify="right")
    base = base_of(book)
    table.add_column(f"{main.label}\n[dim]÷ {base}[/dim]", justify="right")
    table.add_column("")
    for target in book.targets():
        cell = book.cells.get((case.name, variant, target))
        if cell is None:
            continue
        name = Text(target, style="bold green" if book.kinds[target] == "gateway" else "")
        if not cell.repeats:
            why = "n/a" if cell.reason == "n/a" else "none, see below"
            table.add_row(name, *["–"] * len(case.metrics), "", Text(why, style="dim"))
            continue
        values = [book.value(case, variant, target, metric) for metric in case.metrics]
        against = book.value(case, variant, base, main)
        mark = Text(f"FAILED: {cell.verdict}", style="bold red") if cell.verdict else Text("")
        table.add_row(name, *map(figure, values), ratio(values[0], against), mark)
    return table


def base_of(book: Book) -> str:
    """What ratios are against: the floor if it was there."""
    targets = book.targets()
    return next((name for name in ("floor", "direct") if name in targets), targets[0] if targets else "")


def _footnotes(book: Book, case: Case, variant: str) -> list[str]:
    lines = []
    for target in book.targets():
        cell = book.cells.get((case.name, variant, target))
        if cell is None:
            continue
        said = [cell.reason] if cell.reason not in ("", "n/a") else []
        said += [*cell.notes(), book.harness_limit(cell), cell.problem]
        lines += [f"{target}: {sentence(text)}" for text in said if text]
    return lines
