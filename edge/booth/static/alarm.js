// The only sound of the page: open_now, in bursts of 2 x 5 pulses (IEC 60601-1-8, high priority), until somebody has
// heard it. A passage that was silenced stays silent, in every tab.
const STORE = "lanepulse.silenced";
const BURST_EVERY_MS = 8000;
const PULSES_S = [0, 0.25, 0.5, 0.9, 1.15, 2.0, 2.25, 2.5, 2.9, 3.15];
const PULSE_S = 0.15;
const TONE_HZ = 880;

export class Alarm {
  constructor() {
    this.context = null;
    this.passage = null;
    this.timer = null;
    for (const name of ["pointerdown", "keydown"]) window.addEventListener(name, () => this.unlock(), { capture: true });
  }

  // Browsers play nothing before a person has touched the page once.
  unlock() {
    this.context ??= new AudioContext();
    if (this.context.state === "suspended") this.context.resume();
  }

  get muted() {
    return this.context?.state !== "running";
  }

  silenced(passageId) {
    return list().includes(passageId);
  }

  silence(passageId) {
    try {
      localStorage.setItem(STORE, JSON.stringify([...list(), passageId].slice(-50)));
    } catch {
      // silent in this tab all the same
    }
    this.quiet = passageId;
    this.stop();
  }

  show(passageId) {
    if (passageId === null || this.silenced(passageId) || this.quiet === passageId) return this.stop();
    if (this.passage === passageId) return undefined;
    this.stop();
    this.passage = passageId;
    this.burst();
    this.timer = setInterval(() => (this.silenced(passageId) ? this.stop() : this.burst()), BURST_EVERY_MS);
    return undefined;
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.passage = null;
  }

  burst() {
    this.unlock();
    const { context } = this;
    for (const at of PULSES_S) {
      const tone = context.createOscillator();
      const gain = context.createGain();
      tone.frequency.value = TONE_HZ;
      gain.gain.value = 0.5;
      tone.connect(gain).connect(context.destination);
      tone.start(context.currentTime + at);
      tone.stop(context.currentTime + at + PULSE_S);
    }
  }
}

function list() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "[]");
  } catch {
    return [];
  }
}
