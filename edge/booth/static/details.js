// The details of a search, for when there is time: how, where, how long, by whom, and the penalty scheme's checks.
import { element } from "./dom.js";
import { group } from "./panel.js";
import { t } from "./words.js";

export const PLACES = ["front", "middle", "rear", "roof", "beneath", "cab"];
const SEAL_STATES = ["intact", "broken", "missing", "changed"];
const MOST_SEALS = 12;

export function detailsPanel(page, target, send) {
  const before = target.outcome.outcome;
  const fields = {
    technique: before.searched ? choice("technique", page.settings.techniques, before.technique) : null,
    people: before.found ? input("number", before.people, { min: 1, max: 200, inputmode: "numeric" }) : null,
    where: before.found ? input("text", inWords(before.where), { maxlength: 120, list: "places" }) : null,
    minutes: before.searched ? input("number", before.minutes, { min: 0, max: 1440, step: "any", inputmode: "decimal" }) : null,
    by: choice("by", page.settings.by, before.by),
  };
  const checks = page.settings.checks.map((name) => [name, choice("state", ["", ...page.settings.check_states], before.secured[name] ?? "")]);
  const seals = element("div", { className: "checks" });
  const known = before.seals.length ? before.seals : [{ number: "", state: "intact" }];
  for (const seal of known) seals.append(sealRow(seal));
  const more = element("button", { type: "button", text: t("details.more_seals"), onclick: () => seals.children.length < MOST_SEALS && seals.append(sealRow({ number: "", state: "intact" })) });
  const save = element("button", {
    type: "button", className: "strong", "data-press": "save", text: t("details.save"),
    onclick: () => {
      page.panel.close();
      send(collected(before, fields, checks, seals));
    },
  });
  const good = element("button", { type: "button", "data-press": "all_good", text: t("details.all_good"), onclick: () => checks.forEach(([, select]) => (select.value = "ok")) });
  page.panel.show(
    t("details.title"),
    ...Object.entries(fields).filter(([, field]) => field).map(([name, field]) => labelled(t(`details.${name}`), field)),
    element("datalist", { id: "places" }, ...PLACES.map((name) => element("option", { value: t(`place.${name}`) }))),
    group(t("details.secured"), element("div", { className: "checks" }, good, ...checks.map(([name, select]) => labelled(t(`check.${name}`), select)))),
    group(t("details.seals"), element("div", { className: "checks" }, seals, more)),
    save,
  );
}

function collected(before, fields, checks, seals) {
  const number = (field) => (field && field.value !== "" ? Number(field.value) : null);
  const kept = [...seals.children].map((row) => ({ number: row.querySelector("input").value.trim(), state: row.querySelector("select").value }));
  return {
    searched: before.searched,
    technique: fields.technique?.value ?? null,
    found: before.found,
    people: fields.people ? Math.round(number(fields.people) ?? 0) || null : null,
    where: inCodes(fields.where?.value.trim() ?? "") || null,
    minutes: number(fields.minutes),
    by: fields.by.value,
    secured: Object.fromEntries(checks.map(([name, select]) => [name, select.value]).filter(([, state]) => state)),
    seals: kept.filter((seal) => seal.number),
  };
}

// The record keeps codes of the places that everybody knows, whatever language they were entered in.
function inWords(where) {
  return (where ?? "").split(", ").map((part) => (PLACES.includes(part) ? t(`place.${part}`) : part)).join(", ");
}

function inCodes(text) {
  const codes = new Map(PLACES.map((name) => [t(`place.${name}`).toLowerCase(), name]));
  return text.split(",").map((part) => codes.get(part.trim().toLowerCase()) ?? part.trim()).filter(Boolean).join(", ");
}

function sealRow(seal) {
  const text = input("text", seal.number, { maxlength: 40, "aria-label": t("details.seal_number") });
  const state = choice("seal", SEAL_STATES, seal.state);
  state.setAttribute("aria-label", t("details.seal_state"));
  return element("div", { className: "checks" }, text, state);
}

function choice(family, values, chosen) {
  const made = element("select", {}, ...values.map((value) => element("option", { value, text: value ? t(`${family}.${value}`) : t("details.not_said") })));
  made.value = chosen ?? values[0];
  return made;
}

function input(type, value, attributes) {
  const made = element("input", { type, ...attributes });
  made.value = value ?? "";
  return made;
}

function labelled(text, field) {
  return element("label", { className: "labelled" }, element("span", { text }), field);
}
