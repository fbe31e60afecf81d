// What the page asks the service: JSON, and events as they come.

const RETRY_MS = 2000;
const TOKEN = "rcf-token"; // kept as long as the tab is open

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function request(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  if (answer.status === 401) {
    await askForToken(token);
    return request(path, options);
  }
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? answer.statusText);
}

let asking = null;

// Resolves when there is another token than the one that was refused; asks once for all who wait.
async function askForToken(refused) {
  if (sessionStorage.getItem(TOKEN) !== refused) return;
  asking ??= new Promise((resolve) => {
    const door = document.getElementById("door");
    const given = document.getElementById("token");
    door.onclose = () => {
      sessionStorage.setItem(TOKEN, given.checkValidity() ? given.value : "");
      asking = null;
      resolve();
    };
    door.showModal();
  });
  await asking;
}

export async function getJson(path) {
  return (await request(path)).json();
}

// Follows a stream's results after a place until the signal aborts, through whatever ends them. An
// EventSource would show no token, and give up at the first answer of a service that starts.
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
