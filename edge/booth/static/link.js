// The stream from the booth, and how old what it says is. An event that waited in a buffer is older than it looks: the
// first event of a connection that was just opened is fresh, and every later one is compared with it.
const SILENCE_MS = 3000;
const STALE_MS = 2000;
const LOOK_MS = 250;
const AGAIN_MS = 1000;

export class Link {
  constructor({ state, silent }) {
    this.state = state;
    this.silent = silent;
    this.heard = null; // when the last fresh event came: by both clocks, since one may be set and one may sleep
    this.source = null;
    this.openedAt = -Infinity;
    setInterval(() => this.look(), LOOK_MS);
    for (const name of ["visibilitychange", "pageshow", "focus", "online", "resume"]) {
      (name === "visibilitychange" || name === "resume" ? document : window).addEventListener(name, () => this.look());
    }
    this.open();
  }

  open() {
    this.source?.close();
    this.openedAt = performance.now();
    this.openedWall = Date.now();
    this.base = null;
    this.source = new EventSource("/events");
    this.source.addEventListener("lane", (event) => this.take(event));
  }

  take(event) {
    if (event.target !== this.source) return;
    const state = JSON.parse(event.data);
    const lag = Date.now() - state.sent_ms;
    if (this.base === null) {
      if (this.elapsed(this.openedAt, this.openedWall) > STALE_MS) return this.open();
      this.base = lag;
    }
    this.base = Math.min(this.base, lag);
    if (lag - this.base > STALE_MS) return this.open();
    this.heard = { at: performance.now(), wall: Date.now(), before: state.heard_ago_ms ?? Infinity, cause: state.cause };
    this.last = state;
    this.look();
  }

  elapsed(at, wall) {
    return Math.max(performance.now() - at, Date.now() - wall);
  }

  look() {
    const since = this.heard ? this.elapsed(this.heard.at, this.heard.wall) : Infinity;
    const silence = this.heard ? since + this.heard.before : Infinity;
    if (document.visibilityState === "hidden") this.silent("hidden", "");
    else if (since > SILENCE_MS) this.silent(this.heard || this.source.readyState !== 0 ? "booth" : "starting", "");
    else if (silence > SILENCE_MS) this.silent(this.heard.before === Infinity ? "starting" : "lane", this.heard.cause ?? "");
    else this.state(this.last);
    const waiting = this.elapsed(this.openedAt, this.openedWall);
    const dead = this.source.readyState === EventSource.CLOSED;
    if ((dead && waiting > AGAIN_MS) || (since > SILENCE_MS && waiting > SILENCE_MS)) this.open();
  }
}
