// The live page without a browser: as much of one as it needs, around the service at argv[2].
// Each line of standard input is an expression; its value is answered as a line of JSON.
import { createInterface } from "node:readline";

const FASTER = 10; // the page waits seconds between its looks at the service

class Node {
  constructor(tag) {
    Object.assign(this, { tag, children: [], parent: null, style: {}, textContent: "" });
  }
  get lastChild() {
    return this.children.at(-1);
  }
  append(...nodes) {
    this.put(this.children.length, nodes);
  }
  prepend(...nodes) {
    this.put(0, nodes);
  }
  put(place, nodes) {
    for (const node of nodes) if (node instanceof Node) node.parent = this;
    this.children.splice(place, 0, ...nodes);
  }
  replaceChildren(...nodes) {
    this.children = [];
    this.append(...nodes);
  }
  remove() {
    this.parent.children = this.parent.children.filter((each) => each !== this);
  }
  addEventListener() {}
  showModal() {
    Object.assign(this, { open: true, asked: (this.asked ?? 0) + 1 });
  }
  checkValidity() {
    return /^[!-~]+$/.test(this.value);
  }
  get text() {
    return this.children.map((each) => each.text ?? each).join("") || this.textContent;
  }
}

const elements = new Map();
const kept = new Map();
const plots = [];

class Plot {
  static sync = () => ({ key: "" });
  constructor({ series, bands }, data, root) {
    Object.assign(this, { series, bands, data, root: new Node("div") });
    root.append(this.root);
    plots.push(this);
  }
  setData(data) {
    this.data = data;
  }
}

const { fetch: ask, setTimeout: later, setInterval: often } = globalThis;
Object.assign(globalThis, {
  document: {
    getElementById(id) {
      if (!elements.has(id)) elements.set(id, new Node(id));
      return elements.get(id);
    },
    createElement: (tag) => new Node(tag),
  },
  sessionStorage: {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => kept.set(name, value),
  },
  location: { origin: process.argv[2], hash: process.argv[3] ?? "" },
  uPlot: Plot,
  ResizeObserver: class {
    observe() {}
  },
  matchMedia: () => ({ addEventListener() {} }),
  fetch: (path, options) => ask(process.argv[2] + path, options),
  setTimeout: (work, ms, ...its) => later(work, ms / FASTER, ...its),
  setInterval: (work, ms, ...its) => often(work, ms / FASTER, ...its),
});

function shown() {
  const at = (id) => document.getElementById(id);
  const cards = at("cards").children;
  return {
    status: at("status").textContent,
    tabs: at("tabs").children.map((tab) => [tab.textContent, tab.ariaPressed]),
    feed: at("feed").children.map((line) => line.text),
    series: cards.map((card) => card.children[0].children[0].textContent),
    values: plots.slice(-2 * cards.length).filter((_, index) => index % 2 === 0).map((plot) => plot.data),
  };
}

function enter(token) {
  document.getElementById("token").value = token;
  const door = document.getElementById("door");
  door.open = false;
  door.onclose();
}
Object.assign(globalThis, { shown, plots, enter });

await import("./live.js");
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify((await (0, eval)(line)) ?? null));
}
process.exit();
