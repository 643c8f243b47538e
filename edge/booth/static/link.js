// The stream from the booth, and how old what it says is. An event that waited in a buffer is older than it looks: the
// first event of a connection that was just opened is fresh, and every later one is compared with it.
const SILENCE_MS = 3000;
const STALE_MS = 2000;
const LOOK_MS = 250;
const AGAIN_MS = 1000;
const LATE_MS = 250; // an event that was kept back for so long may be the first of several
const BURST_MS = 50;
const SLEPT_MS = 1000; // the page looks four times a second; whoever did not for this long was asleep

export class Link {
  constructor({ state, silent }) {
    this.state = state;
    this.silent = silent;
    this.heard = null; // when the last fresh event came: by both clocks, since one may be set and one may sleep
    this.source = null;
    this.openedAt = -Infinity;
    this.lookedAt = performance.now();
    this.burst = null; // what came late waits for what comes with it
    this.waking = false; // back from sleep or from behind another tab, and nothing heard since
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

  // What came meanwhile is the past: only what a new connection says first is the present.
  wake() {
    this.waking = true;
    this.heard = null;
    this.open();
  }

  take(event) {
    if (event.target !== this.source) return;
    if (performance.now() - this.lookedAt > SLEPT_MS) return this.look();
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
    this.waking = false;
    if (lag - this.base > LATE_MS) this.burst ??= setTimeout(() => this.drawn(), BURST_MS);
    else this.drawn(); // now, not in the next frame's own callback: what is changed there may be seen one frame later
  }

  // Events that a buffer kept back come all at once: only the last of them is drawn, and none of the others sounds.
  drawn() {
    clearTimeout(this.burst);
    this.burst = null;
    this.look();
  }

  elapsed(at, wall) {
    return Math.max(performance.now() - at, Date.now() - wall);
  }

  look() {
    const hidden = document.visibilityState === "hidden";
    const slept = performance.now() - this.lookedAt > SLEPT_MS;
    this.lookedAt = performance.now();
    if (!hidden && (this.wasHidden || slept)) this.wake();
    this.wasHidden = hidden;
    const since = this.heard ? this.elapsed(this.heard.at, this.heard.wall) : Infinity;
    const silence = this.heard ? since + this.heard.before : Infinity;
    if (hidden || (this.waking && this.elapsed(this.openedAt, this.openedWall) < SILENCE_MS)) this.silent("hidden", "");
    else if (since > SILENCE_MS) this.silent(this.last || this.source.readyState !== 0 ? "booth" : "starting", "");
    else if (silence > SILENCE_MS) this.silent(this.heard.before === Infinity ? "starting" : "lane", this.heard.cause ?? "");
    else if (this.burst === null) this.state(this.last);
    const waiting = this.elapsed(this.openedAt, this.openedWall);
    const dead = this.source.readyState === EventSource.CLOSED;
    if ((dead && waiting > AGAIN_MS) || (since > SILENCE_MS && waiting > SILENCE_MS)) this.open();
  }
}
