// Practice: a lorry at a time whose outcome is known, as on the lane, under a mark that cannot be missed. It ends by
// itself as soon as the lane has a vehicle to search: a person may be waiting there.
import { $, element, shape } from "./dom.js";
import { Link } from "./link.js";
import { card, pictures } from "./pictures.js";
import { line, load, t } from "./words.js";

const COUNTS = [10, 20, 50];
const ANSWERS = ["search", "let_go", "again"];
const HEADERS = { "content-type": "application/json", "x-lanepulse": "1" };
const CALLS = ["search", "open_now"];

class Drill {
  constructor(settings) {
    this.settings = settings;
    this.token = null;
    this.case = null;
    for (const marked of document.querySelectorAll("[data-t]")) marked.textContent = t(marked.dataset.t);
    document.title = `${t("drill.mark")} ${settings.site}/${settings.lane}`;
    $("back").addEventListener("click", () => this.leave());
    $("begin").replaceChildren(...COUNTS.map((count) => element("button", { type: "button", className: "strong", "data-count": count, text: t("drill.begin", { count }), onclick: () => this.begin(count) })));
    document.addEventListener("keydown", (event) => this.key(event));
    new Link({ state: (state) => this.live(state), silent: (kind) => this.lost(kind) });
  }

  live(state) {
    const level = state.now?.phase === "prompt" ? state.now.prompt.level : "none";
    if (CALLS.includes(level)) return this.leave();
    $("live").textContent = t("drill.live", { what: `@phase.${state.now ? (state.now.phase === "prompt" ? "decided" : state.now.phase) : "waiting"}` });
    return undefined;
  }

  lost(kind) {
    $("live").textContent = kind === "hidden" ? "" : t(`cover.${kind}`);
  }

  leave() {
    // What was answered counts: told on the way out, and nobody waits for it.
    if (this.token) fetch("/drill/end", { method: "POST", keepalive: true, headers: HEADERS, body: JSON.stringify({ token: this.token }) }).catch(() => null);
    this.token = null;
    location.assign("/");
  }

  async begin(count) {
    const { status, document: told } = await post("/drill/begin", { count });
    if (status !== 200) {
      $("note").textContent = status === 401 ? t("sign.title") : status === 409 ? t("drill.none") : (told.error ?? "");
      return;
    }
    this.token = told.token;
    this.total = told.total;
    $("start").hidden = true;
    this.show(told.next);
  }

  show(next) {
    this.case = next;
    const { prompt } = next;
    document.body.dataset.level = prompt.level;
    $("number").textContent = t("drill.number", { number: next.number, total: this.total });
    $("prompt").hidden = false;
    $("truth").hidden = true;
    $("word").textContent = t(`level.${prompt.level}`);
    $("shape").replaceChildren(shape(prompt.level));
    $("lines").replaceChildren(...prompt.lines.map((said) => element("li", { text: line(said) })));
    const buttons = ANSWERS.map((answer, index) => press(String(index + 1), t(`drill.${answer}`), answer, () => this.answer(answer)));
    $("presses").replaceChildren(...buttons);
    $("presses").dataset.case = next.case_id;
    this.draw(next);
    window.scrollTo(0, 0);
  }

  async draw(next) {
    $("parts").replaceChildren(...next.prompt.parts.map((part) => card(next.case_id, part, undefined)));
    const found = await pictures(next.case_id);
    if (this.case === next && found) $("parts").replaceChildren(...next.prompt.parts.map((part) => card(next.case_id, part, found[part.modality])));
  }

  async answer(given) {
    const { case_id } = this.case;
    for (const one of $("presses").querySelectorAll("button")) one.disabled = true;
    const { status, document: told } = await post("/drill/answer", { token: this.token, case_id, answer: given });
    if (status !== 200) {
      $("presses").replaceChildren(element("p", { className: "note", text: told.error ?? t("sign.failed") }));
      return;
    }
    this.told(told);
  }

  told({ right, truth, next, score, kept }) {
    const how = right === null ? "left_open" : right ? "right" : "wrong";
    const held = !truth.occupied ? t("drill.empty") : truth.people ? t("drill.held", { people: truth.people }) : t("drill.held_some");
    const said = [t(`drill.${how}`), held];
    if (truth.where) said.push(t("line.where", { places: truth.where }));
    if (truth.kind === "projected") said.push(t("drill.projected"));
    $("truth").dataset.how = how;
    $("truth").replaceChildren(...said.map((text) => element("p", { text })), ...(score ? this.score(score, kept) : []));
    $("truth").hidden = false;
    const go = next ? press("1", t("drill.next"), "next", () => this.show(next)) : press("1", t("drill.more"), "more", () => location.reload());
    $("presses").replaceChildren(go);
    go.focus();
  }

  score(told, kept) {
    this.token = null;
    const lines = [t("drill.score", told), t("drill.misled", { count: told.misleading_prompts, resisted: told.not_misled }), t(kept ? "drill.kept" : "drill.not_kept")];
    return [element("h2", { text: t("drill.score_title") }), ...lines.map((text) => element("p", { text }))];
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const button = $("presses").querySelector(`[data-hotkey="${CSS.escape(event.key.toLowerCase())}"]:enabled`);
    if (!button) return;
    event.preventDefault();
    button.click();
  }
}

function press(hotkey, text, name, take) {
  return element("button", { type: "button", className: "strong", "data-hotkey": hotkey, "data-press": name, onclick: take }, element("kbd", { text: hotkey }), text);
}

async function post(path, asked) {
  try {
    const answer = await fetch(path, { method: "POST", headers: HEADERS, body: JSON.stringify(asked), signal: AbortSignal.timeout(10000) });
    return { status: answer.status, document: await answer.json().catch(() => ({})) };
  } catch {
    return { status: 0, document: {} };
  }
}

function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

async function start() {
  document.documentElement.dataset.light = kept("lanepulse.light") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "night" : "day");
  for (;;) {
    try {
      const answer = await fetch("/settings");
      if (!answer.ok) throw new Error(String(answer.status));
      const settings = await answer.json();
      const chosen = kept("lanepulse.language");
      await load(settings.languages.includes(chosen) ? chosen : settings.language, settings.zone);
      return new Drill(settings);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

start();
