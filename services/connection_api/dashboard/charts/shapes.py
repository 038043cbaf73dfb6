"""The outlines of pictures as SVG paths: pure functions of numbers; `None` is a gap, and 0 stands on the ground."""

from __future__ import annotations

from collections.abc import Sequence

Values = Sequence[float | None]
LEAST_BAR = 1.0  # units: what is not nothing is seen


def highest(*series: Values) -> float:
    """Return the largest value of all series; 0 where there is none."""
    return max((value for values in series for value in values if value is not None), default=0)


def bars(values: Values, *, height: float, top: float, step: float = 4, gap: float = 1) -> str:
    """Return one path of all bars, each `step` wide with a `gap`; `top` is the value at full height."""
    drawn = []
    for index, value in enumerate(values):
        if value and top > 0:
            tall = max(LEAST_BAR, min(1.0, value / top) * height)
            drawn.append(
                f"M{_short(index * step)} {_short(height)}v-{_short(tall)}h{_short(step - gap)}v{_short(tall)}z"
            )
    return "".join(drawn)


def line(values: Values, *, height: float, top: float, step: float = 4) -> str:
    """Return a path through the middle of each step; a gap breaks it, and a point alone is a short dash."""
    drawn: list[str] = []
    run: list[tuple[float, float]] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            share = min(1.0, value / top) if top > 0 else 0.0
            run.append((index * step + step / 2, height - share * height))
        elif run:
            drawn.append(_run(run, step))
            run = []
    return "".join(drawn)


def _run(points: Sequence[tuple[float, float]], step: float) -> str:
    if len(points) == 1:
        (x, y) = points[0]
        return f"M{_short(x - step / 4)} {_short(y)}h{_short(step / 2)}"
    return "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in points)


def _short(number: float) -> str:
    """Return a number with at most one decimal: a picture of 168 hours is sent every second."""
    text = f"{number:.1f}"
    return text.removesuffix(".0")
