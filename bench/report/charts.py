"""The plots of the report: bars by target, distributions, and percentiles over time."""

import dataclasses
import math
import statistics

from bench.histogram import Histogram
from bench.report import svg
from bench.report.format import figure

_WIDTH = 520.0
_ROW = 26.0
_NAMES = 146.0
_VALUES = 100.0
_BROKEN = 4.0
"""A bar of more than this times the median is cut, or the others could not be told apart …"""
_FEW = 4
"""… unless there are no more bars than this."""


@dataclasses.dataclass(frozen=True)
class Series:
    """What is drawn of one target."""

    name: str
    colour: str
    strong: bool = False


def bars(label: str, unit: str, values: list[tuple[Series, float, tuple[float, float] | None]]) -> str:
    """Horizontal bars; (target, value, smallest and largest repeat)."""
    shown = [max(0.0, value) for _, value, _ in values]
    limit = max(shown) or 1.0
    if len(shown) > _FEW:
        limit = min(limit, _BROKEN * statistics.median(shown) or limit)
    room = _WIDTH - _NAMES - _VALUES
    parts = []
    for row, (series, value, spread) in enumerate(values):
        top = row * _ROW + 4
        cut = value > limit * 1.001
        width = room * min(max(value, 0.0), limit) / limit
        parts.append(svg.text(_NAMES - 10, top + 14, series.name, "name strong" if series.strong else "name", "end"))
        title = f"{series.name}: {figure(value)} {unit}"
        if spread is not None:
            title += f" ({figure(spread[0])} to {figure(spread[1])})"
        parts.append(svg.rect(_NAMES, top, width, _ROW - 8, series.colour, title))
        if cut:
            x = _NAMES + room * 0.86
            parts += [svg.path([(x + dx, top - 2), (x + dx - 6, top + _ROW - 6)], "#fff", 3) for dx in (6, 13)]
        elif spread is not None and not cut:
            low, high = (_NAMES + room * min(max(edge, 0.0), limit) / limit for edge in spread)
            parts.append(svg.line(low, top + (_ROW - 8) / 2, high, top + (_ROW - 8) / 2, "spread"))
        end = max(width, *(room * min(edge, limit) / limit for edge in spread)) if spread and not cut else width
        parts.append(svg.text(_NAMES + end + 7, top + 14, f"{figure(value)} {unit}", "value"))
    return svg.drawing(_WIDTH, len(values) * _ROW + 4, parts, f"{label} by target")


def distribution(label: str, found: list[tuple[Series, Histogram]]) -> str:
    """Cumulative distributions; the share axis gives each further nine the same room."""
    height = 290.0
    frame = svg.Frame(52, 12, _WIDTH - 70, height - 56)
    nines = 3.0 if max(histogram.total for _, histogram in found) > 3000 else 2.0
    ends = [histogram.percentile(p) / 1e6 for _, histogram in found for p in (1, 100 - 10 ** (2 - nines))]
    across = svg.log_scale(ends, frame.left, frame.right)
    parts = []
    for tick in across.ticks():
        parts.append(svg.line(across(tick), frame.top, across(tick), frame.bottom))
        parts.append(svg.text(across(tick), frame.bottom + 18, svg.short(tick), anchor="middle"))
    parts.append(svg.text(frame.right, frame.bottom + 36, f"{label}, ms", "axis", "end"))

    def up(share: float) -> float:
        depth = min(-math.log10(max(1 - share, 1e-9)), nines)
        return frame.bottom - depth / nines * frame.height

    for share, name in ((0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")):
        if -math.log10(1 - share) <= nines + 1e-6:
            parts.append(svg.line(frame.left, up(share), frame.right, up(share)))
            parts.append(svg.text(frame.left - 8, up(share) + 4, name, anchor="end"))
    for series, histogram in sorted(found, key=lambda pair: pair[0].strong):
        points = [(across(value / 1e6), up(share)) for value, share in histogram.cumulative()]
        inside = [point for point in points if point[1] > frame.top]
        points = _thin(points[: len(inside) + 1])
        width = 3.0 if series.strong else 1.8
        parts.append(svg.path([(points[0][0], frame.bottom), *points], series.colour, width, series.name))
    return svg.drawing(_WIDTH, height, parts, f"distribution of {label}")


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leaves out what would be drawn onto the same pixel."""
    kept = points[:1]
    for point in points[1:]:
        if abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) >= 1.0:
            kept.append(point)
    return [*kept, points[-1]]


def over_time(series: Series, timeline: list[list[float]], everyone: list[float], seconds: float) -> str:
    """One target's p50 and p99 over the run; all targets' panels share their axes."""
    width, height = 250.0, 132.0
    frame = svg.Frame(40, 24, width - 48, height - 48)
    scale = svg.log_scale(everyone, frame.bottom, frame.top)
    parts = [svg.text(frame.left, 14, series.name, "name strong" if series.strong else "name")]
    ticks = [tick for tick in scale.ticks() if math.log10(tick) == round(math.log10(tick))] or scale.ticks()
    for tick in ticks:
        parts.append(svg.line(frame.left, scale(tick), frame.right, scale(tick)))
        parts.append(svg.text(frame.left - 6, scale(tick) + 4, svg.short(tick), anchor="end"))
    parts.append(svg.text(frame.left, height - 6, "0 s"))
    parts.append(svg.text(frame.right, height - 6, f"{seconds:.0f} s", anchor="end"))

    def x(second: float) -> float:
        return frame.left + min(second / seconds, 1.0) * frame.width

    middle = [(x(row[0]), scale(row[1] / 1e6)) for row in timeline]
    tail = [(x(row[0]), scale(row[2] / 1e6)) for row in timeline]
    if middle:
        parts.append(svg.area(tail, middle, series.colour))
        parts.append(svg.path(tail, series.colour, 1.0, "p99", "3 2"))
        parts.append(svg.path(middle, series.colour, 2.2, "p50"))
    return svg.drawing(width, height, parts, f"{series.name}: p50 and p99 over time")
