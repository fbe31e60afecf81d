// The live page: what a stream's series show, as results appear. Talks to the public endpoints.
import { follow, getJson, pause } from "/page/asking.js";
import { formatTime, judgementCharts } from "/page/chart.js";

const MOST_ROWS = 600; // of a chart; the newest by their place, for times may lie anywhere
const MOST_PAST = 5000; // results of a stream that is opened
const MOST_CARDS = 12;
const MOST_IN_FEED = 25;
const DRAW_MS = 500;
const REFRESH_MS = 5000; // streams come and go
const RETRY_MS = 1000;

const element = (id) => document.getElementById(id);
const state = { streams: new Map(), stream: null, series: new Map(), cards: 0, said: "", leave: null, timer: null };

function make(tag, attributes = {}, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

function say(text) {
  state.said = text;
  const left = state.series.size - state.cards;
  element("status").textContent = left > 0 ? `${text} · +${left} series not drawn` : text;
}

function makeCard(key) {
  const chart = make("div", { className: "chart" });
  const latest = make("span", { className: "soft" });
  const title = make("h2", { textContent: key || "(no key)" });
  element("cards").append(
    make("section", { className: "card" }, make("div", { className: "head" }, title, latest), chart),
  );
  const { features } = state.stream;
  return {
    latest,
    rows: [],
    changed: true,
    charts: judgementCharts(chart, { features, isTime: true, valueHeight: 110, scoreHeight: 110, compact: true, legend: true }),
  };
}

function seriesOf(key) {
  const known = state.series.get(key);
  if (known) return known;
  const card = state.cards < MOST_CARDS ? makeCard(key) : null;
  const series = { card, count: 0, event: null };
  state.series.set(key, series);
  if (card) state.cards += 1;
  else say(state.said);
  return series;
}

function add(result, live) {
  if (result.values === null) return;
  const series = seriesOf(result.key);
  series.count += 1;
  if (result.anomaly) announce(result, series, live);
  if (!series.card) return;
  const { rows } = series.card;
  rows.push({ ...result, seconds: Date.parse(result.timestamp) / 1000 });
  if (rows.length >= 2 * MOST_ROWS) rows.splice(0, MOST_ROWS);
  series.card.changed = true;
}

// With a shingle a record stays in points after it was odd: anomalies in a row get one line.
function announce(result, series, live) {
  const event = series.event;
  if (event && series.count - event.count <= state.stream.shingle_size) {
    Object.assign(event, { count: series.count, records: event.records + 1, grade: Math.max(event.grade, result.grade) });
    describe(event);
    return;
  }
  const values = (result.filled ?? result.values).map((value) => +value.toPrecision(5)).join(", ");
  const text = `${formatTime(Date.parse(result.timestamp) / 1000)} ${result.key}: ${values}`;
  const mark = make("span", { className: "anomaly" });
  series.event = { count: series.count, records: 1, grade: result.grade, mark };
  describe(series.event);
  const feed = element("feed");
  feed.prepend(make("li", {}, mark, text));
  while (feed.children.length > MOST_IN_FEED) feed.lastChild.remove();
  if (live) say(`last anomaly: ${text}`);
}

function describe({ mark, grade, records }) {
  const run = records > 1 ? `, ${records} records` : "";
  mark.textContent = `▼ grade ${grade.toFixed(2)}${run} `;
}

function draw() {
  for (const { card } of state.series.values()) {
    if (!card?.changed) continue;
    card.changed = false;
    // Late and repeated timestamps are legal; a chart needs them in order.
    const rows = card.rows.slice(-MOST_ROWS).sort((a, b) => a.seconds - b.seconds);
    const column = (name) => rows.map((row) => row[name]);
    const first = (name) => rows.map((row) => row[name]?.[0] ?? null);
    card.charts.setData({
      x: column("seconds"),
      values: state.stream.features.map((_, f) => rows.map((row) => row.values[f])),
      lower: first("lower"),
      upper: first("upper"),
      score: column("score"),
      threshold: column("threshold"),
      grade: rows.map((row) => (row.anomaly ? row.grade : 0)),
    });
    const last = card.rows.at(-1);
    card.latest.textContent = `${last.status}${last.anomaly ? " ▼ anomaly" : ""}`;
  }
}

// Shows nothing of a stream any longer, and everything of `stream` from here on, if there is one.
function turnTo(stream) {
  state.leave?.abort();
  clearInterval(state.timer);
  Object.assign(state, { stream, series: new Map(), cards: 0, leave: new AbortController() });
  element("cards").replaceChildren();
  element("feed").replaceChildren();
  for (const tab of element("tabs").children) tab.ariaPressed = String(tab.textContent === stream?.name);
}

async function open(stream) {
  turnTo(stream);
  const { signal } = state.leave;
  location.hash = stream.name;
  say(`opening ${stream.name} …`);
  const path = `/v1/streams/${encodeURIComponent(stream.name)}`;
  try {
    const past = await getJson(`${path}/results?last=${MOST_PAST}`);
    if (signal.aborted) return;
    for (const result of past.results) add(result, false);
    draw();
    state.timer = setInterval(draw, DRAW_MS);
    follow(path, past.next, signal, {
      opened: () => say(`live: ${stream.name}`),
      told: (result) => !signal.aborted && add(result, true),
      lost: () => say("connection lost; trying again …"),
    });
  } catch (error) {
    if (signal.aborted) return;
    state.stream = null; // so that it is opened again
    say(`${error.message}; trying again …`);
  }
}

function showTabs() {
  const tabs = element("tabs");
  const names = [...state.streams.keys()];
  if ([...tabs.children].map((tab) => tab.textContent).join() === names.join()) return;
  const pressed = (name) => String(name === state.stream?.name);
  tabs.replaceChildren(
    ...names.map((name) =>
      make("button", { textContent: name, ariaPressed: pressed(name), onclick: () => open(state.streams.get(name)) }),
    ),
  );
}

async function refresh() {
  const { streams } = await getJson("/v1/streams");
  const order = (name) => (name === "demo" ? 0 : name === "host" ? 1 : 2);
  streams.sort((a, b) => order(a.name) - order(b.name) || a.name.localeCompare(b.name));
  state.streams = new Map(streams.map((stream) => [stream.name, stream]));
  showTabs();
  const shown = state.stream && state.streams.get(state.stream.name);
  if (shown && shown.generation === state.stream.generation) return;
  const first = state.streams.get(location.hash.slice(1)) ?? streams[0];
  if (first) return open(first);
  turnTo(null);
  say("no streams yet: post a record");
}

async function keepUp() {
  for (;;) {
    try {
      await refresh();
    } catch (error) {
      if (!state.stream) say(`${error.message}; trying again …`);
    }
    await pause(state.stream ? REFRESH_MS : RETRY_MS);
  }
}

element("curl").textContent = `curl ${location.origin}/v1/streams/mine/records -d '{"values": [21.5]}'`;
keepUp();
