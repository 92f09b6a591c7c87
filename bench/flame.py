"""Reads a flame graph that py-spy drew: which functions the time went to."""

import dataclasses
import itertools
import re
from html import unescape

_FRAME = re.compile(
    r"<title>(?P<name>[^<]*) \((?P<samples>[\d,]+) samples?, [^<]*</title>"
    r'<rect x="[^"]*" y="(?P<y>[\d.]+)"[^>]*fg:x="(?P<left>\d+)" fg:w="(?P<width>\d+)"'
)
_PLACE = re.compile(r"^(?P<function>.*) \((?P<place>[^()]*)\)$")


@dataclasses.dataclass(frozen=True)
class Function:
    """Shares are of all samples."""

    name: str
    place: str
    own: float
    """While it ran itself."""
    total: float
    """While it, or something it called, ran."""


@dataclasses.dataclass(frozen=True)
class _Frame:
    name: str
    depth: float
    left: int
    right: int


def functions(flame_graph: str) -> list[Function]:
    """All functions in the drawing, those with the most time of their own first."""
    frames = [
        _Frame(unescape(found["name"]), float(found["y"]), int(found["left"]), int(found["left"]) + int(found["width"]))
        for found in _FRAME.finditer(flame_graph)
    ]
    if not frames:
        return []
    everything = max(frame.right for frame in frames)
    own: dict[str, int] = {}
    covered: dict[str, set[tuple[int, int]]] = {}
    for frame, of_callees in _with_callees(frames):
        own[frame.name] = own.get(frame.name, 0) + (frame.right - frame.left) - of_callees
        covered.setdefault(frame.name, set()).add((frame.left, frame.right))
    found = [
        Function(*_split(name), own[name] / everything, _length(covered[name]) / everything)
        for name in own
        if name != "all"
    ]
    return sorted(found, key=lambda function: -function.own)


def _with_callees(frames: list[_Frame]) -> list[tuple[_Frame, int]]:
    """Each frame with the samples of the frames drawn directly on it."""
    rows = sorted({frame.depth for frame in frames})
    next_row = dict(itertools.pairwise(rows))
    # Graphs grow upwards or downwards; "all" is where they start.
    start = next((frame.depth for frame in frames if frame.name == "all"), rows[0])
    if start == rows[-1]:
        next_row = dict(itertools.pairwise(reversed(rows)))
    by_row: dict[float, list[_Frame]] = {}
    for frame in frames:
        by_row.setdefault(frame.depth, []).append(frame)
    return [
        (
            frame,
            sum(
                callee.right - callee.left
                for callee in by_row.get(next_row.get(frame.depth, -1.0), [])
                if callee.left >= frame.left and callee.right <= frame.right
            ),
        )
        for frame in frames
    ]


def _length(spans: set[tuple[int, int]]) -> int:
    """Of the union: a function that calls itself is counted once."""
    total = reached = 0
    for left, right in sorted(spans):
        total += max(0, right - max(left, reached))
        reached = max(reached, right)
    return total


def _split(name: str) -> tuple[str, str]:
    found = _PLACE.match(name)
    return (found["function"], found["place"]) if found else (name, "")
