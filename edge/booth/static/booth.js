// The officer's page: one lorry at a time. What is to be seen comes whole with each event; nothing is kept from before.
import { Alarm } from "./alarm.js";
import { $, element, fill, hide, mark, say, shape } from "./dom.js";
import { Link } from "./link.js";
import { Outcomes } from "./outcome.js";
import { Panel } from "./panel.js";
import { Pictures } from "./pictures.js";
import { Queue } from "./queue.js";
import { contextPanel, signOnPanel } from "./people.js";
import { has, line, load, t, time } from "./words.js";

const LEVELS = ["no_search", "recheck", "search", "open_now"]; // from left to right: each has its own place
const LANGUAGE = "lanepulse.language";
const LIGHT = "lanepulse.light";
const FRAME_MS = 17;

class Page {
  constructor(settings) {
    this.settings = settings;
    this.alarm = new Alarm();
    this.panel = new Panel();
    this.pictures = new Pictures(() => this.render());
    this.queue = new Queue({ changed: () => this.render(), answered: (entry, answer) => this.outcomes.answered(entry, answer) });
    this.outcomes = new Outcomes(this);
    this.state = null;
    this.hidden = null; // why the verdict is covered
    this.shapes = {}; // made once each
    this.link = new Link({ state: (state) => this.show(state), silent: (kind, cause) => this.hide(kind, cause) });
    setInterval(() => this.clock(), 1000);
    this.controls();
  }

  controls() {
    $("officer").addEventListener("click", () => signOnPanel(this));
    $("drill").addEventListener("click", () => location.assign("/drill"));
    $("vehicle").addEventListener("click", () => contextPanel(this, this.state?.now?.passage_id));
    $("light").addEventListener("click", () => light(document.documentElement.dataset.light === "night" ? "day" : "night"));
    $("silence").addEventListener("click", () => this.alarm.silence(this.state?.now?.passage_id));
    const pick = $("language");
    pick.replaceChildren(...this.settings.languages.map((name) => element("option", { value: name, text: t(`language.${name}`) })));
    pick.value = document.documentElement.lang;
    pick.addEventListener("change", async () => {
      keep(LANGUAGE, pick.value);
      await load(pick.value, this.settings.zone);
      this.relabel();
    });
    document.addEventListener("keydown", (event) => this.key(event));
    this.relabel();
  }

  relabel() {
    for (const marked of document.querySelectorAll("[data-t]")) marked.textContent = t(marked.dataset.t);
    for (const filled of document.querySelectorAll("[data-key]")) delete filled.dataset.key;
    document.title = `${t("page.title")} ${this.settings.site}/${this.settings.lane}`;
    $("lane").textContent = t("page.lane", { site: this.settings.site, lane: this.settings.lane });
    $("light").textContent = t("page.light");
    $("silence").textContent = t("page.silence");
    $("vehicle").textContent = t("page.vehicle");
    $("drill").textContent = t("drill.open");
    const officer = this.settings.officer;
    $("officer").textContent = officer ? t("page.officer", { id: officer.id }) : t("page.sign_on");
    $("officer").hidden = !this.settings.sign_on;
    this.clock();
    this.render();
    this.link?.look();
  }

  clock() {
    say($("time"), time(new Date()));
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || this.panel.open) return;
    if (event.target.matches?.("input, select, textarea")) return;
    if (this.outcomes.key(event.key)) event.preventDefault();
  }

  hide(kind, cause) {
    if (this.hidden === kind) return;
    this.hidden = kind;
    this.sound(null);
    document.body.dataset.covered = "yes";
    document.body.dataset.level = "none";
    $("word").textContent = "";
    $("lines").replaceChildren();
    delete $("lines").dataset.key;
    $("cover-word").textContent = t(`cover.${kind}`);
    $("cover-why").textContent = kind === "hidden" ? "" : `${t("cover.decide")} ${cause}`;
  }

  show(state) {
    if (this.state === state && !this.hidden) return;
    const beat = !this.hidden && JSON.stringify(this.state?.now) === JSON.stringify(state.now);
    this.state = state;
    this.hidden = null;
    mark(document.body, "data-covered", "no");
    this.level();
    this.later(beat);
  }

  render() {
    if (this.level()) this.around();
    this.aside();
  }

  // What the officer must see at once, and nothing else: it is on the screen one frame before what accompanies it.
  level() {
    if (!this.state || document.body.dataset.covered === "yes") return false;
    const { now } = this.state;
    const phase = now ? now.phase : "waiting";
    const level = phase === "prompt" ? now.prompt.level : "none";
    mark(document.body, "data-level", level);
    mark(document.body, "data-phase", phase);
    this.headline(phase, level, now);
    this.measuring(phase, now);
    this.sound(level === "open_now" ? now.passage_id : null);
    hide($("silence"), level !== "open_now" || this.alarm.silenced(now.passage_id));
    this.outcomes.aim(this.state);
    return true;
  }

  // What came before in the same moment, and is over, makes no sound: danger sounds when it is still there a frame later.
  sound(passageId) {
    clearTimeout(this.sounding);
    if (passageId === null || this.alarm.passage === passageId) this.alarm.show(passageId);
    else this.sounding = setTimeout(() => this.alarm.show(passageId), FRAME_MS);
  }

  // A beat that brought nothing new asks for no frame: the prompt that comes next would have to wait for that one.
  later(beat) {
    if (this.awaited) return;
    this.awaited = true;
    const go = () => idle(() => {
      this.awaited = false;
      if (this.state && document.body.dataset.covered !== "yes") this.around();
      this.aside();
    });
    if (beat) go();
    else requestAnimationFrame(go);
  }

  around() {
    const { now, lane } = this.state;
    const { recorded, clock } = lane ?? { recorded: true, clock: true };
    say($("lane-note"), [recorded ? "" : t("lane.not_recorded"), clock ? "" : t("lane.clock")].join(" ").trim());
    hide($("vehicle"), !now);
    hide($("drill"), Boolean(now)); // nobody practises while a lorry is there
    mark($("vehicle"), "data-known", Object.keys(now?.context ?? {}).length);
    this.outcomes.render(this.state);
  }

  aside() {
    if (this.state && document.body.dataset.covered !== "yes") {
      this.pictures.show(this.state.now);
      this.list(this.state.last);
    }
    this.unsent();
  }

  headline(phase, level, now) {
    const shown = phase === "prompt" ? level : phase;
    say($("word"), phase === "prompt" ? t(`level.${level}`) : t(`phase.${phase}`));
    fill($("shape"), shown, () => [(this.shapes[shown] ??= shape(shown))]);
    fill($("rail"), LEVELS, () => LEVELS.map((name) => element("li", {}, shape(name))));
    LEVELS.forEach((name, index) => $("rail").children[index].classList.toggle("here", name === level));
    const lines = phase === "prompt" ? now.prompt.lines : [];
    fill($("lines"), lines, () => lines.map((said) => element("li", { text: line(said) })));
    mark($("spoken"), "role", level === "open_now" ? "alert" : "status");
    const held = phase === "prompt" ? now.reliability : null;
    say($("reliability"), held ? t("reliability.line", odds(held)) : "");
    const trained = phase === "prompt" ? now.prompt.trained_on : "recorded";
    say($("trained"), has(`trained.${trained}`) ? t(`trained.${trained}`) : "");
  }

  measuring(phase, now) {
    const shown = phase === "measuring" && typeof now.measured_s === "number" && typeof now.allowed_s === "number";
    hide($("measuring"), !shown);
    if (!shown) return;
    const done = Math.min(now.measured_s, now.allowed_s);
    $("progress").value = done / now.allowed_s;
    mark($("progress"), "aria-label", t("phase.measuring"));
    say($("seconds"), t("measuring.seconds", { done: Math.floor(done), total: Math.round(now.allowed_s), left: Math.ceil(now.allowed_s - done) }));
    const going = this.state.lane.devices.filter((device) => device.good && has(`modality.${device.modality}`));
    const names = [...new Set(going.map((device) => `@modality.${device.modality}`))];
    say($("do"), `${t(`do.${todo(now.prompt)}`)} ${names.length ? t("measuring.what", { modalities: names }) : t("measuring.nothing")}`);
  }

  list(last) {
    const key = last.map((past) => [past.passage_id, past.prompt?.level, past.prompt?.revision, past.outcome?.sequence, past.late, this.queue.of(past.passage_id)?.press.key]);
    fill($("last"), key, () => (last.length ? last.map((past) => this.row(past)) : [element("li", { text: t("last.none") })]));
  }

  row(past) {
    const level = past.prompt?.level ?? "unreadable";
    const when = past.prompt ? time(new Date(past.prompt.issued_utc), { named: false }) : "";
    const parts = [shape(level), element("span", { className: "when", text: when }), element("span", { text: t(past.prompt ? `level.${level}` : "phase.unreadable") })];
    if (past.late) parts.push(element("span", { text: t("last.late") }));
    const todo = !past.outcome?.outcome && !this.queue.of(past.passage_id) && ["search", "open_now"].includes(level);
    parts.push(element("span", { className: todo ? "todo" : "", text: this.outcomes.summary(past) || t("last.no_outcome") }));
    return element("li", {}, element("button", { type: "button", "data-passage": past.passage_id, onclick: () => this.outcomes.select(past.passage_id) }, ...parts));
  }

  unsent() {
    const entries = this.queue.entries();
    hide($("unsent"), entries.length === 0);
    say($("unsent-title"), t("unsent.title", { count: entries.length }));
    fill($("unsent-list"), entries.map((entry) => [entry.press.key, entry.refused, entry.wait]), () => entries.map((entry) => this.waiting(entry)));
  }

  waiting(entry) {
    const why = entry.refused ? t("unsent.refused", { why: entry.refused }) : t(`unsent.${entry.wait ?? "now"}`);
    const what = this.outcomes.told(entry.press.outcome);
    const drop = element("button", { type: "button", text: t("unsent.drop"), onclick: () => this.queue.drop(entry.press.key) });
    return element("li", {}, element("span", { text: `${time(new Date(entry.pressed_ms), { named: false })} ${what}: ${why}` }), drop);
  }

  async reload() {
    this.settings = await settings();
    this.relabel();
    this.queue.flush();
    this.link.open();
  }
}

// Once the frame is out; not every browser tells when that is.
function idle(run) {
  if (window.requestIdleCallback) requestIdleCallback(run, { timeout: 200 });
  else setTimeout(run, 30);
}

// "1 in 14": whole numbers where they say enough.
function odds(held) {
  const round = (value) => (value >= 3 ? Math.round(value) : Math.round(value * 10) / 10);
  return { one: round(held.one_in), low: round(held.from), high: round(held.to), days: held.days };
}

// What helps the measurement most, by what the last look lacked.
function todo(prompt) {
  const parts = Object.fromEntries((prompt?.parts ?? []).map((part) => [part.modality, part]));
  if (parts.co2?.cause?.key === "cause.no_probe") return "probe_in";
  if (["cause.machine", "cause.engine"].includes(parts.vibration?.cause?.key)) return "engine_off";
  return parts.co2 && parts.co2.state !== "absent" ? "probe_stay" : "keep_still";
}

function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // the choice lasts as long as the page
  }
}

function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function light(name) {
  document.documentElement.dataset.light = name;
  keep(LIGHT, name);
}

async function settings() {
  const answer = await fetch("/settings");
  if (!answer.ok) throw new Error(`settings: ${answer.status}`);
  return answer.json();
}

async function start() {
  light(kept(LIGHT) ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "night" : "day"));
  for (;;) {
    try {
      const found = await settings();
      const chosen = kept(LANGUAGE);
      await load(found.languages.includes(chosen) ? chosen : found.language, found.zone);
      return new Page(found);
    } catch {
      $("cover-word").textContent = "…";
      await new Promise((resolve) => setTimeout(resolve, 1000)); // the booth may be starting, or a proxy says 502
    }
  }
}

start();
