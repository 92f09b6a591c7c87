"""Just enough SVG for the report: scales, axes and shapes as strings."""

import dataclasses
import math
from html import escape


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where a plot's inner area lies in its drawing."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height


@dataclasses.dataclass(frozen=True)
class Log:
    """A logarithmic scale of values onto a line from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Powers of ten, with 2s and 5s between where there is room."""
        decades = math.log10(self.high / self.low)
        steps = (1, 2, 5) if decades < 2.6 else (1,)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = [step * 10.0**power for power in powers for step in steps]
        return [tick for tick in every if self.low * 0.999 <= tick <= self.high * 1.001]


def log_scale(values: list[float], start: float, stop: float) -> Log:
    """From the first 1, 2 or 5 below the values to the first above."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = _round(min(positive), up=False), _round(max(positive), up=True)
    return Log(low, high if high > low else low * 10, start, stop)


def _round(value: float, up: bool) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    steps = [power * step for step in (1, 2, 5, 10)]
    if up:
        return next((step for step in steps if step >= value * 0.999), steps[-1])
    return next((step for step in reversed(steps) if step <= value * 1.001), power)


def short(value: float) -> str:
    """A tick's label."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    if value >= 1_000:
        return f"{value / 1_000:g} k"
    return f"{value:g}"


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def text(x: float, y: float, content: str, kind: str = "tick", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def rect(x: float, y: float, width: float, height: float, colour: str, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    size = f'width="{max(width, 0.5):.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} rx="2" fill="{colour}">{inner}</rect>'


def path(points: list[tuple[float, float]], colour: str, width: float, title: str = "", dash: str = "") -> str:
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    inner = f"<title>{escape(title)}</title>" if title else ""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}>{inner}</path>'


def area(upper: list[tuple[float, float]], lower: list[tuple[float, float]], colour: str) -> str:
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in [*upper, *reversed(lower)]) + "Z"
    return f'<path d="{d}" fill="{colour}" fill-opacity="0.22" stroke="none"/>'


def drawing(width: float, height: float, parts: list[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )
