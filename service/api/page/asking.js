// What the page asks the service: JSON, and events as they come.

const RETRY_MS = 2000;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function request(path, options = {}) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? answer.statusText);
}

export async function getJson(path) {
  return (await request(path)).json();
}

// Follows a stream's results after a place until the signal aborts, through whatever ends them:
// an EventSource would give up at the first answer that is no stream, as of a service that starts.
export async function follow(path, place, signal, { opened, told, lost }) {
  while (!signal.aborted) {
    try {
      const answer = await request(`${path}/events?after=${place}`, { signal });
      opened();
      for await (const event of events(answer.body)) {
        place = event.id ?? place;
        if (event.event === undefined) told(JSON.parse(event.data));
      }
    } catch (error) {
      if (!signal.aborted) console.warn(error.message);
    }
    if (signal.aborted) return;
    lost();
    await pause(RETRY_MS);
  }
}

// Each event as an object of its fields: id, event (its name, if it has one), data.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = {};
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const [, name, text] = /^(\w+): (.*)$/.exec(line) ?? [];
      if (name) event[name] = text;
      if (line !== "") continue;
      if (event.data !== undefined) yield event;
      event = {};
    }
  }
}
