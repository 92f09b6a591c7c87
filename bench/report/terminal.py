"""The table in the terminal: a block for each variant of a case, a line for each target."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.book import Book
from bench.cases import Case
from bench.report.format import figure, ratio, sentence
from bench.report.notes import base_of, gateway_of, notes, shown


def print_book(book: Book, console: Console) -> None:
    for case, variant in book.sections():
        if not shown(book, case, variant):
            continue
        console.print(_table(book, case, variant))
        for names, text in notes(book, case, variant):
            console.print(Text(f"  {names}: {text}", style="yellow" if text != "Not applicable." else "dim"))
        console.print()
    for name, reason in book.skipped.items():
        console.print(Text(f"{name} was skipped: {sentence(reason)}", style="yellow"))


def _table(book: Book, case: Case, variant: str) -> Table:
    main = case.metrics[0]
    against = [name for name in dict.fromkeys((base_of(book), gateway_of(book))) if name]
    table = Table(title=f"{case.name} · {variant}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("target", no_wrap=True)
    for metric in case.metrics:
        table.add_column(f"{metric.label}\n[dim]{metric.unit}[/dim]", justify="right")
    for name in against:
        table.add_column(f"{main.label}\n[dim]÷ {name}[/dim]", justify="right")
    table.add_column("")
    bases = [book.value(case, variant, name, main) for name in against]
    for target, cell in shown(book, case, variant):
        values = [book.value(case, variant, target, metric) for metric in case.metrics]
        mark = Text(f"FAILED: {cell.verdict}", style="bold red") if cell.verdict else Text("")
        name_style = "bold green" if book.kinds[target] == "gateway" else ""
        ratios = [ratio(values[0], base) for base in bases]
        table.add_row(Text(target, style=name_style), *map(figure, values), *ratios, mark)
    return table
