// What happens, as it happens: one line from the gateway, which carries every job. When it breaks, it is taken up again
// where it was left, by the cursor of each job that is not at its end.

import { call } from "./api.js";

const cursors = new Map();
const ENDS = new Set(["succeeded", "failed", "cancelled"]);

let line = null;

/** Follows a job that was just begun: the line is taken up again with it, since it may be over before the gateway looks. */
export function follow(id) {
  if (cursors.has(id)) return;
  cursors.set(id, 0);
  line?.abort();
}

/** Listens until the page is closed; tells `onEvent(name, data)`. Nobody who looks and nothing to wait for: no line. */
export async function listen(onEvent) {
  let wait = 500;
  for (;;) {
    await somebodyLooks();
    const mine = new AbortController();
    line = mine;
    const rest = restWhenHidden(mine);
    try {
      const after = [...cursors].map(([id, cursor]) => `${id}.${cursor}`).join(",");
      const response = await call(`/api/events?after=${after}`, { signal: mine.signal });
      await read(response.body, (name, data) => {
        wait = 500;
        note(name, data);
        onEvent(name, data);
      });
    } catch {
      // the gateway is away: it is asked again
    }
    rest();
    if (mine.signal.aborted) continue;
    onEvent("line", { is_up: false });
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, 5000);
  }
}

const isNeeded = () => !document.hidden || cursors.size > 0;

/** Returns when the page is looked at, or something is drawn. */
function somebodyLooks() {
  if (isNeeded()) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Ends a line that nobody has needed for a minute, so that an idle daemon may rest. Gives what undoes this. */
function restWhenHidden(mine) {
  const timer = setInterval(() => isNeeded() || mine.abort(), 60_000);
  return () => clearInterval(timer);
}

/** Remembers how far each job was told. */
function note(name, data) {
  const id = data.job_id ?? data.job?.id;
  if (!id) return;
  if (name === "gone" || (name === "job" && data.job_id && ENDS.has(data.job.state))) cursors.delete(id);
  else cursors.set(id, data.cursor ?? cursors.get(id) ?? 0);
}

async function read(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (!event.startsWith("event: ")) continue;
      const end = event.indexOf("\n");
      onEvent(event.slice(7, end), JSON.parse(event.slice(end + 7)));
    }
  }
}
