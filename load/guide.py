"""Draws the plots of `service/docs/guide.md`: `python -m load.guide`.

SVG written by hand: a handful of lines and boxes needs no library.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import rcf
from rcf.state import F64

FOLDER = Path(__file__).resolve().parent.parent / "service" / "docs"
WIDTH, HEIGHT, MARGIN = 720, 120, 34
COLOURS = ("#1f6fb4", "#d1702a", "#2c8f4e", "#8b4fa8")


class Panel(NamedTuple):
    """Where numbers lie in a picture: ranges of x and y, and the panel's upper edge."""

    x: tuple[float, float]
    y: tuple[float, float]
    top: float
    height: float = HEIGHT

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return MARGIN + across * (WIDTH - 2 * MARGIN), self.top + (1 - up) * self.height

    def line(self, values: F64, colour: str) -> str:
        """Values over 0, 1, 2, …."""
        first = int(self.x[0])
        places = [self.at(first + i, value) for i, value in enumerate(values)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>'

    def area(self, low: F64, high: F64, colour: str) -> str:
        """What lies between two lines."""
        first = int(self.x[0])
        over = [self.at(first + i, value) for i, value in enumerate(high)]
        under = [self.at(first + i, value) for i, value in enumerate(low)][::-1]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*over, *under))
        return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.75"/>'

    def box(self, low: Sequence[float], high: Sequence[float], colour: str) -> str:
        """A rectangle."""
        x, y = self.at(low[0], high[1])
        right, bottom = self.at(high[0], low[1])
        return (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{right - x:.1f}" height="{bottom - y:.1f}" '
            f'fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )

    def dot(self, x: float, y: float, colour: str) -> str:
        """A point."""
        across, down = self.at(x, y)
        return f'<circle cx="{across:.1f}" cy="{down:.1f}" r="1.6" fill="{colour}"/>'


def text(x: float, y: float, said: str, colour: str = "#444") -> str:
    """A line of text."""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}">{said}</text>'


def write(name: str, height: float, parts: Sequence[str]) -> None:
    """Write one picture."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>'
    )
    (FOLDER / f"{name}.svg").write_text(head + "\n" + "\n".join(parts) + "\n</svg>\n")


def draw_why() -> None:
    """Two features: one spikes, the other loses its wave; the score in its shares."""
    random = np.random.default_rng(3)
    i = np.arange(2600)
    values = np.column_stack([np.sin(i / 8), np.cos(i / 13)]) + 0.1 * random.normal(size=(2600, 2))
    values[2360, 0] += 3.0
    values[2460:2500, 1] -= 2.5
    forest = rcf.Forest(2, shingle_size=8, seed=1)
    first, last = 2300, 2560
    forest.update(values[:first])
    shares = []
    for row in values[first:last]:
        found = forest.attribution(row).by_feature()
        shares.append([found.high[0, 0], found.low[0, 0], found.high[0, 1], found.low[0, 1]])
        forest.update(row)
    heights = np.cumsum(np.hstack([np.zeros((len(shares), 1)), np.array(shares)]), axis=1)
    upper = Panel((first, last), (-4.0, 5.0), 30)
    lower = Panel((first, last), (0.0, float(heights.max()) * 1.05), 210)
    names = ("a, high", "a, low", "b, high", "b, low")
    parts = [text(MARGIN, 20, "values of a and b")]
    parts += [upper.line(values[first:last, k], COLOURS[2 * k]) for k in range(2)]
    parts.append(text(MARGIN, 195, "score, in its shares:"))
    for k, name in enumerate(names):
        parts.append(lower.area(heights[:, k], heights[:, k + 1], COLOURS[k]))
        parts.append(text(170 + 80 * k, 195, name, COLOURS[k]))
    write("why", 350, parts)


def draw_crowds() -> None:
    """Records in the plane, their hotspots, and how dense it is along a line."""
    random = np.random.default_rng(4)
    crowds = [([-6.0, 0.0], 1.0, 250), ([4.0, 1.0], 0.5, 200), ([9.0, -2.0], 0.8, 100)]
    parts_of = [np.array(at) + size * random.normal(size=(n, 2)) for at, size, n in crowds]
    rows = random.permutation(np.vstack([*parts_of, random.uniform(-12, 12, size=(60, 2))]))
    forest = rcf.Forest(2, seed=1)
    forest.update(rows)
    panel = Panel((-12, 12), (-6, 6), 30, 240)
    parts = [text(MARGIN, 20, "records and hotspots (radius 0.5, at least 12 records)")]
    parts += [panel.dot(x, y, "#888") for x, y in rows.tolist() if abs(y) < 6]
    for spot in forest.hotspots(window=len(rows), radius=0.5, least=12):
        low, high = spot.low.tolist(), spot.high.tolist()
        parts.append(panel.box(low, high, COLOURS[1]))
        parts.append(text(*panel.at(low[0], high[1] + 0.3), f"{spot.density:.0f}", COLOURS[1]))
    across = np.linspace(-12, 12, 241)
    line = np.column_stack([across, np.zeros_like(across)])
    for title, found, top, colour in (
        ("density along the middle", forest.density(line).total, 310, COLOURS[0]),
        ("distance along the middle", forest.distance(line).total, 460, COLOURS[2]),
    ):
        below = Panel((0, 240), (0, float(found.max()) * 1.05), top)
        parts += [text(MARGIN, top - 12, title), below.line(found, colour)]
    write("crowds", 600, parts)


def main() -> None:
    """Draw all."""
    draw_why()
    draw_crowds()


if __name__ == "__main__":
    main()
