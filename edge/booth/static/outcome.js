// What a search found: one touch, or two. Correcting and undoing are new records; nothing is ever replaced.
import { $, element, fill, hide, mark, say } from "./dom.js";
import { detailsPanel, PLACES } from "./details.js";
import { group } from "./panel.js";
import { t, time } from "./words.js";

const TECHNIQUE = "lanepulse.technique";
const SETTLE_MS = 700; // assumed: a finger that was on its way to another lorry's button

export class Outcomes {
  constructor(page) {
    this.page = page;
    this.selected = null;
    this.target = null;
    this.since = 0;
    this.notes = new Map(); // passage -> why a press did not become a record
  }

  select(passageId) {
    this.selected = this.selected === passageId ? null : passageId;
    this.page.render();
    $("outcome").scrollIntoView({ block: "nearest" });
    $("presses").querySelector("button")?.focus();
  }

  // The lorry that was picked, else the one that is there, else the one that left last.
  choose(state) {
    const listed = state.last.find((past) => past.passage_id === this.selected);
    if (!listed) this.selected = null;
    return listed ?? state.now ?? state.last[0] ?? null;
  }

  // From now on a press is of this lorry, if it is not too early to be.
  aim(state) {
    const target = this.choose(state);
    if (target && this.target?.passage_id !== target.passage_id) {
      this.since = performance.now();
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.page.render(), SETTLE_MS + 20);
    }
    this.target = target ?? this.target;
    return target;
  }

  render(state) {
    const target = this.aim(state);
    hide($("outcome"), !target);
    if (!target) return;
    mark($("outcome"), "data-passage", target.passage_id);
    const here = target.passage_id === state.now?.passage_id;
    const when = target.prompt?.issued_utc ? time(new Date(target.prompt.issued_utc), { named: false }) : "";
    say($("target"), t(here ? "outcome.here" : "outcome.past", { time: when }));
    say($("note"), this.notes.get(target.passage_id) ?? "");
    const waiting = this.page.queue.of(target.passage_id);
    const key = [target.passage_id, target.outcome?.sequence, waiting?.press.key, waiting?.refused, waiting?.wait, target.prompt?.level, this.technique(), this.early()];
    fill($("presses"), key, () => this.presses(target, waiting));
    const early = this.early();
    for (const one of $("presses").querySelectorAll("button")) if (one.disabled !== early) one.disabled = early;
  }

  presses(target, waiting) {
    if (waiting) {
      const text = t("outcome.waiting", { what: this.told(waiting.press.outcome) });
      const back = element("button", { type: "button", text: t("outcome.take_back"), onclick: () => this.page.queue.drop(waiting.press.key) });
      return [element("p", { text }), back];
    }
    if (target.outcome?.outcome) {
      const undo = button("u", t("outcome.undo"), () => this.undo(target), "undo");
      const details = button("d", t("outcome.details"), () => detailsPanel(this.page, target, (outcome) => this.correct(target, outcome)), "details");
      const why = button("w", t("outcome.why"), () => this.explain(target), "why");
      return [element("p", { text: this.recorded(target.outcome) }), ...(unexplained(target) ? [why] : []), undo, details];
    }
    const how = element("button", { type: "button", "data-hotkey": "h", "data-press": "how", text: t("outcome.how", { how: `@technique.${this.technique()}` }), onclick: () => this.chooseTechnique() });
    return [
      button("1", t("outcome.not_searched"), () => this.notSearched(target), "not_searched"),
      button("2", t("outcome.nobody"), () => this.nobody(target), "nobody"),
      button("3", t("outcome.found"), () => this.found(target), "found"),
      how,
    ];
  }

  key(key) {
    if ($("outcome").hidden || this.page.panel.open) return false;
    const pressed = $("presses").querySelector(`[data-hotkey="${CSS.escape(key.toLowerCase())}"]`);
    pressed?.click();
    return Boolean(pressed);
  }

  // Against the prompt, one reason is asked for: that is the second touch.
  notSearched(target) {
    const against = ["search", "open_now"].includes(target.prompt?.level);
    this.press(target, { searched: false }, against);
  }

  nobody(target) {
    this.press(target, { searched: true, technique: this.technique(), found: false }, target.prompt?.level === "no_search");
  }

  found(target) {
    if (this.early()) return;
    const counts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30].map((count) => [count, String(count)]);
    const panel = this.page.panel;
    const places = PLACES.map((name) => element("button", { type: "button", text: t(`place.${name}`), "data-place": name, "aria-pressed": "false", onclick: ({ currentTarget: one }) => one.setAttribute("aria-pressed", String(one.getAttribute("aria-pressed") !== "true")) }));
    const take = (people) => {
      panel.close();
      const where = places.filter((one) => one.getAttribute("aria-pressed") === "true").map((one) => one.dataset.place);
      this.send(target, { searched: true, technique: this.technique(), found: true, people, where: where.join(", ") || null, response: this.response(target, true) });
    };
    panel.show(t("outcome.how_many"), panel.choices(counts, take, "digits"), group(t("details.where"), element("div", { className: "choices" }, ...places)));
    panel.focus("[data-value]");
  }

  // Entered at the push-button box, or before the level changed: the one reason is still to be given.
  explain(target) {
    const panel = this.page.panel;
    const take = (reason) => {
      panel.close();
      this.send(target, { ...target.outcome.outcome, response: "overridden", reason }, target.outcome.sequence);
    };
    panel.show(t("outcome.why"), panel.choices(this.page.settings.reasons.map((name) => [name, t(`override.${name}`)]), take));
  }

  chooseTechnique() {
    const panel = this.page.panel;
    const take = (name) => {
      panel.close();
      try {
        localStorage.setItem(TECHNIQUE, name);
      } catch {
        // it holds as long as the page
      }
      this.chosen = name;
      this.page.render();
    };
    panel.show(t("details.technique"), panel.choices(this.page.settings.techniques.map((name) => [name, t(`technique.${name}`)]), take));
  }

  press(target, outcome, against) {
    if (this.early()) return;
    if (!against) {
      this.send(target, { ...outcome, response: this.response(target, outcome.searched) });
      return;
    }
    const panel = this.page.panel;
    const take = (reason) => {
      panel.close();
      this.send(target, { ...outcome, response: "overridden", reason });
    };
    panel.show(t("outcome.why"), panel.choices(this.page.settings.reasons.map((name) => [name, t(`override.${name}`)]), take));
  }

  response(target, searched) {
    const level = target.prompt?.level;
    if (["search", "open_now"].includes(level) && searched) return "agreed";
    return level === "no_search" && !searched ? "agreed" : null;
  }

  // What the last search at this page was made by; the button says it, and one more touch changes it.
  technique() {
    let kept = this.chosen;
    try {
      kept ??= localStorage.getItem(TECHNIQUE);
    } catch {
      // a browser that keeps nothing
    }
    return this.page.settings.techniques.includes(kept) ? kept : "physical";
  }

  // The lorry under the finger changed a moment ago: the press was meant for another one.
  early() {
    return performance.now() - this.since < SETTLE_MS;
  }

  correct(target, outcome) {
    const { response, reason } = target.outcome.outcome;
    this.send(target, { response, reason, ...outcome }, target.outcome.sequence);
  }

  undo(target) {
    this.send(target, null, target.outcome.sequence);
  }

  send(target, outcome, corrects = null) {
    this.notes.delete(target.passage_id);
    if (this.page.queue.of(target.passage_id)) return;
    const shown = target.prompt?.revision ? { level: target.prompt.level, revision: target.prompt.revision, audited: target.prompt.audited } : null;
    const officer = this.page.settings.officer?.id ?? null;
    this.page.queue.add({ passage_id: target.passage_id, outcome, corrects, shown, officer });
  }

  answered(entry, answer) {
    if (answer.answer === "exists" || answer.answer === "changed") {
      this.notes.set(entry.press.passage_id, t("outcome.already", { record: answer.record ? this.recorded(answer.record) : "" }));
    }
    this.page.render();
  }

  summary(past) {
    const waiting = this.page.queue.of(past.passage_id);
    if (waiting) return t("outcome.waiting", { what: this.told(waiting.press.outcome) });
    return past.outcome?.outcome ? this.told(past.outcome.outcome) : "";
  }

  recorded(record) {
    const when = time(new Date(record.entered_utc), { named: false });
    const who = record.officer ?? t("outcome.nobody_known");
    return t("outcome.recorded", { time: when, who, what: this.told(record.outcome) });
  }

  told(outcome) {
    if (!outcome) return t("told.undone");
    if (!outcome.searched) return t("told.not_searched");
    const how = `@technique.${outcome.technique ?? "other"}`;
    return outcome.found ? t("told.found", { how, people: outcome.people ?? "?" }) : t("told.nobody", { how });
  }
}

function unexplained(target) {
  const { searched, response } = target.outcome.outcome;
  const { level } = target.prompt ?? {};
  return response === null && (searched ? level === "no_search" : ["search", "open_now"].includes(level));
}

function button(hotkey, text, press, name) {
  const known = { type: "button", className: "strong", "data-hotkey": hotkey, "data-press": name, onclick: press };
  return element("button", known, element("kbd", { text: hotkey.toUpperCase() }), text);
}
