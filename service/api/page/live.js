// The live page: what a stream's series show, as results appear. Talks to the public endpoints.
import { formatTime, judgementCharts } from "/page/chart.js";

const WINDOW_S = 180;
const MOST_CARDS = 12;
const MOST_IN_FEED = 25;

const element = (id) => document.getElementById(id);
const state = { stream: null, source: null, cards: new Map(), seen: new Set(), timer: null };

function make(tag, attributes = {}, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

async function getJson(path) {
  const answer = await fetch(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? answer.statusText);
  return body;
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
    count: 0,
    event: null,
    changed: true,
    charts: judgementCharts(chart, { features, isTime: true, valueHeight: 110, scoreHeight: 110, compact: true, legend: true }),
  };
}

function add(result, live) {
  const id = `${result.partition}:${result.offset}`;
  if (state.seen.has(id) || result.values === null) return;
  state.seen.add(id);
  if (!state.cards.has(result.key)) {
    if (state.cards.size >= MOST_CARDS) return;
    state.cards.set(result.key, makeCard(result.key));
  }
  const card = state.cards.get(result.key);
  card.rows.push({ ...result, seconds: Date.parse(result.timestamp) / 1000 });
  card.changed = true;
  card.count += 1;
  if (result.anomaly) announce(result, card, live);
}

// With a shingle a record stays in points after it was odd: anomalies in a row get one line.
function announce(result, card, live) {
  const event = card.event;
  if (event && card.count - event.count <= state.stream.shingle_size) {
    Object.assign(event, { count: card.count, records: event.records + 1, grade: Math.max(event.grade, result.grade) });
    describe(event);
    return;
  }
  const values = (result.filled ?? result.values).map((value) => +value.toPrecision(5)).join(", ");
  const text = `${formatTime(Date.parse(result.timestamp) / 1000)} ${result.key}: ${values}`;
  const mark = make("span", { className: "anomaly" });
  card.event = { count: card.count, records: 1, grade: result.grade, mark };
  describe(card.event);
  const feed = element("feed");
  feed.prepend(make("li", {}, mark, text));
  while (feed.children.length > MOST_IN_FEED) feed.lastChild.remove();
  if (live) element("status").textContent = `last anomaly: ${text}`;
}

function describe({ mark, grade, records }) {
  const run = records > 1 ? `, ${records} records` : "";
  mark.textContent = `▼ grade ${grade.toFixed(2)}${run} `;
}

function draw() {
  const now = Date.now() / 1000;
  for (const card of state.cards.values()) {
    if (!card.changed) continue;
    card.changed = false;
    // Late and repeated timestamps are legal; a chart needs them in order.
    card.rows = card.rows.filter((row) => row.seconds > now - WINDOW_S).sort((a, b) => a.seconds - b.seconds);
    const column = (name) => card.rows.map((row) => row[name]);
    card.charts.setData({
      x: column("seconds"),
      values: state.stream.features.map((_, f) => card.rows.map((row) => row.values[f])),
      score: column("score"),
      threshold: column("threshold"),
      grade: card.rows.map((row) => (row.anomaly ? row.grade : 0)),
    });
    const last = card.rows.at(-1);
    card.latest.textContent = last ? `${last.status}${last.anomaly ? " ▼ anomaly" : ""}` : "";
  }
}

async function open(stream) {
  state.source?.close();
  clearInterval(state.timer);
  Object.assign(state, { stream, cards: new Map(), seen: new Set() });
  element("cards").replaceChildren();
  element("feed").replaceChildren();
  for (const tab of element("tabs").children) tab.ariaPressed = String(tab.textContent === stream.name);
  location.hash = stream.name;
  const path = `/v1/streams/${encodeURIComponent(stream.name)}`;
  // Subscribed before the past is read: what falls between is seen twice, and dropped by its place.
  state.source = new EventSource(`${path}/events`);
  state.source.onmessage = (event) => state.stream === stream && add(JSON.parse(event.data), true);
  state.source.onopen = () => (element("status").textContent = `live: ${stream.name}`);
  state.source.onerror = () => (element("status").textContent = "connection lost; trying again …");
  const from = Date.now() - WINDOW_S * 1000;
  const past = await getJson(`${path}/results?from=${from}&limit=20000`);
  if (state.stream !== stream) return;
  for (const result of past.results) add(result, false);
  draw();
  state.timer = setInterval(draw, 500);
}

async function begin() {
  try {
    const { streams } = await getJson("/v1/streams");
    const order = (name) => (name === "demo" ? 0 : name === "host" ? 1 : 2);
    streams.sort((a, b) => order(a.name) - order(b.name) || a.name.localeCompare(b.name));
    element("tabs").replaceChildren(
      ...streams.map((stream) => make("button", { textContent: stream.name, onclick: () => open(stream) })),
    );
    const wanted = decodeURIComponent(location.hash.slice(1));
    const first = streams.find((stream) => stream.name === wanted) ?? streams[0];
    if (first) await open(first);
    else element("status").textContent = "no streams yet: post a record";
  } catch (error) {
    element("status").textContent = `${error.message}; trying again …`;
    setTimeout(begin, 1000);
  }
}

element("curl").textContent = `curl ${location.origin}/v1/streams/mine/records -d '{"values": [21.5]}'`;
begin();
