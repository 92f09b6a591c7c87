"""Figures as people read them: three digits that matter, and a unit that fits."""


def figure(value: float | None) -> str:
    """The number alone; "–" if there is none."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def ratio(value: float | None, base: float | None) -> str:
    if value is None or not base or base <= 0 or value < 0:
        return ""
    times = value / base
    return f"{times:,.0f} ×" if times >= 100 else f"{times:.1f} ×" if times >= 10 else f"{times:.2f} ×"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
