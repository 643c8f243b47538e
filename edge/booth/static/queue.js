// Presses on their way to the lane: kept in this browser until the lane has answered, and sent under one key each, so
// that a press that was sent twice is recorded once. All tabs share the list.
const STORE = "lanepulse.unsent";
const PATIENCE_MS = 8000;
const AGAIN_MS = 3000;
let memory = [];

function load() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "[]");
  } catch {
    return memory;
  }
}

function save(entries) {
  memory = entries;
  try {
    localStorage.setItem(STORE, JSON.stringify(entries));
  } catch {
    // a browser that keeps nothing still sends while it is open
  }
}

export class Queue {
  constructor({ changed, answered }) {
    this.changed = changed;
    this.answered = answered;
    this.sending = null;
    setInterval(() => this.flush(), AGAIN_MS);
    window.addEventListener("online", () => this.flush());
    window.addEventListener("storage", (event) => event.key === STORE && this.changed());
  }

  entries() {
    return load();
  }

  of(passageId) {
    return load().find((entry) => entry.press.passage_id === passageId);
  }

  add(press) {
    const key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    save([...load(), { press: { ...press, key }, pressed_ms: Date.now(), refused: null, wait: null }]);
    this.changed();
    this.flush();
  }

  // Taken back before it was sent: nobody has been told.
  drop(key) {
    if (this.sending === key) return false;
    save(load().filter((entry) => entry.press.key !== key));
    this.changed();
    return true;
  }

  async flush() {
    if (this.sending) return;
    if (navigator.locks) await navigator.locks.request(STORE, { ifAvailable: true }, (lock) => lock && this.drain());
    else await this.drain();
  }

  async drain() {
    for (const entry of load()) {
      if (entry.refused || this.sending) continue;
      this.sending = entry.press.key;
      let goOn = false;
      try {
        goOn = await this.send(entry);
      } catch {
        this.mark(entry, { wait: "network" });
      } finally {
        this.sending = null;
      }
      if (!goOn) break;
    }
    this.changed();
  }

  async send(entry) {
    const age = Math.min(Math.max(0, (Date.now() - entry.pressed_ms) / 1000), 604800);
    const answer = await fetch("/outcome", {
      method: "POST",
      headers: { "content-type": "application/json", "x-lanepulse": "1" },
      body: JSON.stringify({ ...entry.press, pressed_ago_s: age }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const document = await answer.json().catch(() => null);
    if (answer.ok && document?.answer) {
      save(load().filter((kept) => kept.press.key !== entry.press.key));
      this.answered(entry, document);
      return true;
    }
    if (answer.status === 401) this.mark(entry, { wait: "sign_on" });
    else if ([400, 409, 413, 415, 422].includes(answer.status)) this.mark(entry, { refused: document?.error ?? String(answer.status) });
    else this.mark(entry, { wait: "network" });
    return answer.status === 422;
  }

  mark(entry, change) {
    save(load().map((kept) => (kept.press.key === entry.press.key ? { ...kept, ...change } : kept)));
  }
}
