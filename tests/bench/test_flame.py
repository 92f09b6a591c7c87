"""What a flame graph says, as a list of functions."""

import pytest

from bench.flame import functions


def frame(name: str, y: int, left: int, width: int) -> str:
    return (
        f'<g><title>{name} ({width} samples, 1.00%)</title><rect x="0.5%" y="{y}" width="1%" height="15" '
        f'fill="rgb(1,2,3)" fg:x="{left}" fg:w="{width}"/><text x="1" y="1"></text></g>'
    )


GRAPH = "".join(
    [
        frame("all", 100, 0, 100),
        frame("main (app.py:1)", 116, 0, 90),
        frame("read &lt;fast&gt; (wire.py:7)", 132, 0, 50),
        frame("main (app.py:1)", 132, 50, 20),
        frame("read &lt;fast&gt; (wire.py:7)", 148, 50, 20),
    ]
)


def test_own_and_total_time_of_each_function():
    found = {function.name: function for function in functions(GRAPH)}
    assert found["read <fast>"].place == "wire.py:7"
    assert found["read <fast>"].own == pytest.approx(0.7)
    assert found["main"].own == pytest.approx(0.2)
    # It is within itself once, and counted once.
    assert found["main"].total == pytest.approx(0.9)


def test_a_drawing_without_frames_has_no_functions():
    assert functions("<svg></svg>") == []
