"""The report as one page that needs nothing else: plots first, then every figure."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

from bench.book import Book, Cell
from bench.cases import Case, Metric
from bench.report.charts import Series, bars, distribution, over_time
from bench.report.colours import colours
from bench.report.format import figure, ratio, sentence
from bench.report.glance import glance
from bench.report.notes import base_of, gateway_of, notes, shown
from bench.result import TOO_BUSY

_STYLE = Path(__file__).with_name("page.css")
_NOISY = 0.05
"""Share of the machine taken by others above which the report warns."""


def page(book: Book) -> str:
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<title>Stream Gateway: benchmark</title>",
            f"<style>{_STYLE.read_text()}</style></head><body><main>",
            *_header(book),
            *glance(book),
            *_cases(book),
            *_definitions(book),
            "</main></body></html>",
        ]
    )


def _header(book: Book) -> Iterator[str]:
    settings, about = book.settings, book.machine
    yield "<header><h1>Stream Gateway: what it costs</h1>"
    yield (
        f"<p class='lead'>Measured {escape(book.created)} on {escape(about['processor'])}, "
        f"{escape(about['cores'])} cores, {escape(about['kernel'])}, {escape(about['python'])}. "
        f"A {escape(settings['mode'])} run"
        f"{_repeats(settings['repeats'])}; {escape(settings.get('placement', ''))}.</p>"
    )
    yield "<ul class='legend'>"
    chosen = colours(book)
    for name in book.targets():
        version = book.versions.get(name, "")
        shown = "" if version in ("", "this repository") else f" <small>{escape(version)}</small>"
        yield (
            f"<li><i style='background:{chosen[name]}'></i><b>{escape(name)}</b>{shown}"
            f"<span>{escape(book.about[name])}</span></li>"
        )
    yield "</ul>"
    for warning in _warnings(book):
        yield f"<p class='warning'>{escape(warning)}</p>"
    for name, reason in book.skipped.items():
        yield f"<p class='skipped'><b>{escape(name)}</b> was skipped: {escape(sentence(reason))}</p>"
    yield "</header>"


def _repeats(count: int) -> str:
    return f" with {count} repeats, of which medians are shown" if count > 1 else ""


def _warnings(book: Book) -> Iterator[str]:
    """What makes the whole run doubtful."""
    if book.settings.get("interrupted"):
        yield "This run was interrupted: what is not shown was not measured."
    results = [result for cell in book.cells.values() for result in cell.repeats]
    if not results:
        return
    failed = [f"{case} · {variant} · {target}" for (case, variant, target), cell in book.cells.items() if cell.verdict]
    if failed:
        yield f"Failed, because chunks or requests were lost, repeated or broken: {'; '.join(failed)}."
    others = sum(result.others for result in results) / len(results)
    stolen = sum(result.stolen for result in results) / len(results)
    if others > _NOISY:
        yield (
            f"Other processes took {others:.0%} of this machine meanwhile. Latencies are the higher for it, and CPU "
            "per chunk the lower: what waits for a core is then done in larger lots. Measure again on a quiet machine."
        )
    if stolen > _NOISY:
        yield f"The hypervisor gave {stolen:.0%} of this machine's time to others: latencies are the higher for it."


def _cases(book: Book) -> Iterator[str]:
    last = ""
    for case, variant in book.sections():
        if not shown(book, case, variant):
            continue
        if case.name != last:
            if last:
                yield "</section>"
            last = case.name
            yield f"<section><h2>{escape(case.question)}</h2>"
        yield from _variant(book, case, variant)
    if last:
        yield "</section>"


def _variant(book: Book, case: Case, variant: str) -> Iterator[str]:
    yield f"<article><h3>{escape(case.name)} <span>{escape(variant)}</span></h3>"
    columns = ["".join(_bars(book, case, variant, metric) for metric in case.metrics if metric.chart)]
    columns.append(_distribution(book, case, variant))
    if any(columns):
        yield "<div class='plots'>" + "".join(f"<div>{column}</div>" for column in columns if column) + "</div>"
    yield from _over_time(book, case, variant)
    yield from _table(book, case, variant)
    yield "</article>"


def _series(book: Book, target: str) -> Series:
    return Series(target, colours(book)[target], book.kinds[target] == "gateway")


def _bars(book: Book, case: Case, variant: str, metric: Metric) -> str:
    values = []
    for target, cell in shown(book, case, variant):
        value = book.value(case, variant, target, metric)
        if value is not None:
            spread = None if metric.minus_direct else cell.spread(metric.key)
            values.append((_series(book, target), value, spread))
    if not values:
        return ""
    hint = "less is better" if metric.better == "lower" else "more is better"
    caption = f"<figcaption>{escape(metric.label)}, {escape(metric.unit)} <span>{hint}</span></figcaption>"
    return f"<figure>{caption}{bars(metric.label, metric.unit, values)}</figure>"


def _distribution(book: Book, case: Case, variant: str) -> str:
    if not case.latency:
        return ""
    found = [
        (_series(book, target), histogram)
        for target, cell in shown(book, case, variant)
        if (histogram := cell.histogram()).total
    ]
    if not found:
        return ""
    caption = f"<figcaption>distribution of the {escape(case.latency)} <span>further left is better</span></figcaption>"
    return f"<figure>{caption}{distribution(case.latency, found)}</figure>"


def _over_time(book: Book, case: Case, variant: str) -> Iterator[str]:
    runs = [(_series(book, target), cell.repeats[0]) for target, cell in shown(book, case, variant) if cell.repeats]
    runs = [(series, result) for series, result in runs if len(result.timeline) > 2]
    if not runs:
        return
    everyone = [value / 1e6 for _, result in runs for row in result.timeline for value in row[1:3]]
    seconds = max(result.window_s for _, result in runs)
    panels = "".join(over_time(series, result.timeline, everyone, seconds) for series, result in runs)
    yield (
        f"<figure class='wide'><figcaption>{escape(case.latency)} over time, ms "
        "<span>line: p50, dashes: p99, of each quarter of a second</span></figcaption>"
        f"<div class='panels'>{panels}</div></figure>"
    )


def _table(book: Book, case: Case, variant: str) -> Iterator[str]:
    main = case.metrics[0]
    against = [name for name in dict.fromkeys((base_of(book), gateway_of(book))) if name]
    yield "<div class='scroll'><table><thead><tr><th>target</th>"
    for metric in case.metrics:
        hint = escape(metric.definition, quote=True)
        yield f"<th title='{hint}'>{escape(metric.label)}<small>{escape(metric.unit)}</small></th>"
    for name in against:
        yield f"<th>{escape(main.label)}<small>÷ {escape(name)}</small></th>"
    yield "<th>target<small>CPU</small></th><th>upstream<small>CPU</small></th><th>load<small>CPU</small></th>"
    yield "</tr></thead><tbody>"
    for target, cell in shown(book, case, variant):
        yield from _row(book, case, variant, target, cell, against)
    yield "</tbody></table></div>"
    yield from _notes(book, case, variant)


def _row(book: Book, case: Case, variant: str, target: str, cell: Cell, against: list[str]) -> Iterator[str]:
    kind = " class='gateway'" if book.kinds[target] == "gateway" else ""
    if not cell.repeats:
        columns = len(case.metrics) + len(against) + 3
        yield f"<tr{kind}><th>{escape(target)}</th><td class='none' colspan='{columns}'>{escape(cell.reason)}</td></tr>"
        return
    failed = f" <em>{escape(cell.verdict)}</em>" if cell.verdict else ""
    yield f"<tr{kind}><th>{escape(target)}{failed}</th>"
    for metric in case.metrics:
        yield f"<td>{figure(book.value(case, variant, target, metric))}</td>"
    main = case.metrics[0]
    mine = book.value(case, variant, target, main)
    for name in against:
        yield f"<td class='ratio'>{ratio(mine, book.value(case, variant, name, main))}</td>"
    upstream, load = cell.busiest()
    busiest = max(result.target_cpu for result in cell.repeats)
    for share, watched in ((busiest, False), (upstream, True), (load, True)):
        mark = " class='busy'" if watched and share > TOO_BUSY else " class='share'"
        yield f"<td{mark}>{share:.0%}</td>"
    yield "</tr>"


def _notes(book: Book, case: Case, variant: str) -> Iterator[str]:
    lines = [f"<b>{escape(names)}</b>: {escape(text)}" for names, text in notes(book, case, variant)]
    if lines:
        yield "<ul class='notes'>" + "".join(f"<li>{text}</li>" for text in lines) + "</ul>"


def _definitions(book: Book) -> Iterator[str]:
    yield "<section><h2>How each figure is defined</h2><dl>"
    seen = set()
    for case, _ in book.sections():
        if case.name in seen:
            continue
        seen.add(case.name)
        for metric in case.metrics:
            yield f"<dt>{escape(case.name)} · {escape(metric.label)}</dt><dd>{escape(metric.definition)}</dd>"
    yield (
        "<dt>CPU of target, upstream and load</dt><dd>Share of one core in the window, the largest of the repeats. "
        f"Where the harness used more than {TOO_BUSY:.0%} of its core, a note says so.</dd>"
        "<dt>failed</dt><dd>Every chunk carries its number. A run in which any was lost, came twice or out of order, "
        "or in which a request broke, is marked.</dd></dl></section>"
    )
