"""Lines over numbers as one HTML file that opens without a network, drawn by the page's uPlot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

_PAGE = Template("""<!doctype html><html lang="en"><meta charset="utf-8"><title>$title</title>
<style>$style body { font-family: system-ui; margin: 2rem; max-width: 70rem }</style>
<h1>$title</h1><div id="panels"></div><script>$library</script><script>
const colours = ["#2563eb", "#dc2626", "#9333ea", "#15803d"];
for (const panel of $data) {
  new uPlot({
    title: panel.title, width: 1000, height: 280, scales: {x: {time: false}, y: {range: [0, null]}},
    axes: [{label: panel.x_label}, {size: 70}],
    series: [{label: panel.x_label}, ...panel.lines.map((line, i) =>
      ({label: line.label, stroke: colours[i % 4], points: {show: true}}))],
  }, [panel.x, ...panel.lines.map(line => line.y)], document.getElementById("panels"));
}
</script></html>
""")


@dataclass(frozen=True)
class Line:
    """One line: y, as long as its panel's x."""

    label: str
    y: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """Lines over one x, which increases."""

    title: str
    x_label: str
    x: Sequence[float]
    lines: Sequence[Line]


def write_html(title: str, panels: Sequence[Panel], path: Path) -> None:
    """Write the file: data, style and script inline."""
    vendor = files("service.api") / "page" / "vendor"
    data = json.dumps([asdict(panel) for panel in panels], allow_nan=False)
    text = _PAGE.substitute(
        title=title,
        style=(vendor / "uPlot.min.css").read_text("utf-8"),
        library=(vendor / "uPlot.iife.min.js").read_text("utf-8"),
        data=data.replace("<", "\\u003c"),
    )
    path.write_text(text, encoding="utf-8")
