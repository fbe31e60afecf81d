// Values above, score and threshold below, anomalies marked in both; hover, drag to zoom.
// Used by the live page and, inlined, by the file that `rcf score --plot` writes.
// `uPlot` is a global of the vendored library.

const SHOWN_AT_FIRST = 6;

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function seriesColor(index, count) {
  return () => color(count === 1 ? "--value" : `--series-${(index % 6) + 1}`);
}

function axis(isTime, size) {
  const look = { stroke: () => color("--soft"), grid: { stroke: () => color("--line"), width: 1 } };
  return [{ ...look, space: 70 }, { ...look, size, space: 28 }];
}

// Red bands and triangles: an anomaly shows by shape, not by colour alone.
function markAnomalies(plot, grades) {
  const { ctx, bbox } = plot;
  const size = 5 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = color("--anomaly");
  const [from, to] = plot.series[0].idxs ?? [0, grades.length - 1];
  // One path each: overlapping bands filled one by one would hide the lines behind them.
  const bands = new Path2D();
  const marks = new Path2D();
  for (let i = from; i <= to; i++) {
    if (!(grades[i] > 0)) continue;
    const x = plot.valToPos(plot.data[0][i], "x", true);
    bands.rect(x - devicePixelRatio, bbox.top, 2 * devicePixelRatio, bbox.height);
    marks.moveTo(x - size, bbox.top);
    marks.lineTo(x + size, bbox.top);
    marks.lineTo(x, bbox.top + 1.6 * size);
    marks.closePath();
  }
  ctx.globalAlpha = 0.25;
  ctx.fill(bands);
  ctx.globalAlpha = 1;
  ctx.fill(marks);
  ctx.restore();
}

function shorten(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(3)
    : String(+value.toPrecision(5));
}

export function formatTime(seconds) {
  const text = new Date(seconds * 1000).toISOString();
  return text.replace("T", " ").replace(/(\.000)?Z$/, "");
}

// data: {x, values, score, threshold, grade}, and of one feature lower and upper, where it was expected.
// options: {features, isTime, valueHeight, scoreHeight, legend, compact, where(index) -> text}
export function judgementCharts(root, options) {
  const { features, isTime } = options;
  const several = features.length > 1;
  const banded = !several; // bands of several features would hide each other
  const tip = document.createElement("div");
  tip.className = "tip";
  const sync = uPlot.sync(Math.random().toString(36));
  const edge = { scale: "y", auto: false, width: 0, points: { show: false } }; // values alone set the scale
  let data = { x: [], values: features.map(() => []), score: [], threshold: [], grade: [] };

  const describe = (index) => {
    const at = options.where?.(index) ?? (isTime ? formatTime(data.x[index]) : `row ${data.x[index]}`);
    const lines = features
      .map((name, f) => [name, data.values[f][index], values.series[f + 1].show])
      .filter(([, , show]) => show)
      .map(([name, value]) => `${name} ${shorten(value)}`);
    const score = data.score[index];
    const judged = score === null ? "warming up" : `score ${shorten(score)} / ${shorten(data.threshold[index])}`;
    const grade = data.grade[index] > 0 ? `\n▼ anomaly, grade ${data.grade[index].toFixed(2)}` : "";
    return `${at}\n${lines.join("\n")}\n${judged}${grade}`;
  };

  const showTip = (plot) => {
    const { idx, left, top } = plot.cursor;
    if (idx === null || idx === undefined || left < 0) {
      tip.style.display = "none";
      return;
    }
    tip.textContent = describe(idx);
    tip.style.display = "block";
    const room = root.clientWidth - tip.offsetWidth - 4;
    tip.style.left = `${Math.max(0, Math.min(left + 70, room))}px`;
    tip.style.top = `${plot.root.offsetTop + Math.max(top, 0) + 18}px`;
  };

  const common = {
    width: root.clientWidth || 400,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    padding: [null, 24, null, null], // the same in both, or their times would not stand in line
    legend: { show: false },
    cursor: { sync: { key: sync.key, setSeries: false }, drag: { x: true, y: false } },
  };
  const hooks = {
    draw: [(plot) => markAnomalies(plot, data.grade)],
    setCursor: [(plot) => plot.root.matches(":hover") && showTip(plot)],
    setScale: [
      (plot, key) => {
        if (key !== "x") return;
        const { min, max } = plot.scales.x;
        for (const other of [values, scores]) {
          if (other && other !== plot && (other.scales.x.min !== min || other.scales.x.max !== max)) {
            other.setScale("x", { min, max });
          }
        }
      },
    ],
  };
  let scores = null;
  const valueAxes = axis(isTime, 56);
  if (several) valueAxes[1].values = () => [];
  if (options.compact) valueAxes[0].show = false;
  const values = new uPlot(
    {
      ...common,
      height: options.valueHeight,
      legend: { show: Boolean(options.legend) && several, live: false },
      scales: { x: { time: isTime } },
      axes: several ? [valueAxes[0], { ...valueAxes[1], scale: "y0" }] : valueAxes,
      series: [
        {},
        ...features.map((label, index) => ({
          label,
          scale: several ? `y${index}` : "y",
          stroke: seriesColor(index, features.length),
          width: 1.3,
          points: { show: false },
          show: index < SHOWN_AT_FIRST,
        })),
        ...(banded ? [edge, { ...edge }] : []),
      ],
      bands: banded ? [{ series: [3, 2], fill: () => color("--band") }] : [],
      hooks,
    },
    [[], ...features.map(() => []), ...(banded ? [[], []] : [])],
    root,
  );
  scores = new uPlot(
    {
      ...common,
      height: options.scoreHeight,
      scales: { x: { time: isTime }, y: { range: (_, min, max) => [Math.min(0, min ?? 0), (max ?? 1) * 1.05 || 1] } },
      axes: axis(isTime, 56),
      series: [
        {},
        { label: "score", stroke: () => color("--score"), width: 1.3, points: { show: false } },
        { label: "threshold", stroke: () => color("--threshold"), width: 1.3, dash: [5, 4], points: { show: false } },
      ],
      hooks,
    },
    [[], [], []],
    root,
  );
  root.append(tip);
  root.addEventListener("mouseleave", () => (tip.style.display = "none"));
  new ResizeObserver(() => {
    for (const plot of [values, scores]) plot.setSize({ width: root.clientWidth, height: plot.height });
  }).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of [values, scores]) plot.redraw();
  });

  return {
    setData(next, keepZoom = false) {
      data = next;
      const none = data.x.map(() => null);
      const bands = banded ? [data.lower ?? none, data.upper ?? none] : [];
      values.setData([data.x, ...data.values, ...bands], !keepZoom);
      scores.setData([data.x, data.score, data.threshold], !keepZoom);
      if (keepZoom) for (const plot of [values, scores]) plot.redraw();
    },
    zoom(min, max) {
      values.setScale("x", { min, max });
    },
  };
}
