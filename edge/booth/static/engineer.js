// The lane's state as the daemon tells it: read-only, each second, and taken away when it is not told any more.
import { $, element, fill, svg } from "./dom.js";
import { drawing, pictures } from "./pictures.js";
import { has, line, load, t, time } from "./words.js";

const EVERY_MS = 1000;
const UPKEEP_EVERY_MS = 10000;
const DEVICES = ["name", "modality", "there", "on_time", "believes_itself", "cause", "readings", "silent", "restarts", "quarantined", "identity"];
const CALIBRATIONS = ["name", "modality", "procedure", "performed", "valid_until", "drift"];
const FAULTS = ["when", "until", "name", "cause", "mend"];

async function look() {
  let note = "";
  let status = null;
  try {
    const { ok, code, document } = await asked("/status");
    if (ok) {
      status = document.status;
      fill($("faults"), document.faults, () => faults(document.faults));
    }
    if (!status) note = code === 401 ? t("engineer.sign_on") : `${t("cover.lane")}. ${document.cause ?? ""}`;
  } catch {
    note = t("cover.booth");
  }
  $("note").textContent = note;
  status ? show(status) : clear();
  setTimeout(look, EVERY_MS);
}

let disk = null;

async function upkeep() {
  try {
    const { ok, document } = await asked("/upkeep");
    if (ok) await tell(document);
  } catch {
    // the state's own note says that nobody answers
  }
  setTimeout(upkeep, UPKEEP_EVERY_MS);
}

async function asked(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(3000) });
  return { ok: answer.ok, code: answer.status, document: await answer.json() };
}

function clear() {
  for (const name of ["devices", "facts"]) {
    delete $(name).dataset.key;
    $(name).replaceChildren();
  }
}

function show(status) {
  const { clock, journal } = status;
  const error = clock.max_error_ns === null ? "" : `, ± ${number(clock.max_error_ns / 1e6)} ms`;
  const facts = [
    ["state", t(`phase.${{ empty: "waiting", measuring: "measuring" }[status.state] ?? "decided"}`), true],
    ["up", lasting(status.up_s), true],
    ["version", status.version, true],
    ["model", status.model || t("engineer.none"), Boolean(status.model) && !status.model_faults.length],
    ["clock", `${t(clock.synchronised ? "engineer.synchronised" : "engineer.not_synchronised")}${error}`, clock.synchronised],
    ["record", `${t(journal.recorded ? "engineer.written" : "engineer.not_written")}, ${number(journal.sequence)}`, journal.recorded],
    ["disk", disk ? t("engineer.free", { free: gigabytes(disk.free_bytes), total: gigabytes(disk.total_bytes) }) : "…", !disk || (disk.writable && disk.free_bytes > disk.total_bytes / 10)],
    ...status.model_faults.map((fault) => ["refused", fault, false]),
  ];
  fill($("facts"), facts, () => facts.map(([name, value, good]) => element("div", { className: good ? "" : "bad" }, element("dt", { text: t(`engineer.${name}`) }), element("dd", { text: value }))));
  fill($("devices"), status.devices, () => status.devices.map(row));
}

function row(device) {
  const quarantined = Object.values(device.quarantined).reduce((sum, count) => sum + count, 0);
  const identity = device.identity ? Object.values(device.identity).filter(Boolean).join(" ") : "–";
  return element("tr", {}, cell(device.name), cell(measures(device.modality)), ...["there", "on_time", "believes_itself"].map((name) => answer(device[name])), because(device.cause), cell(number(device.readings), "number"), cell(device.silent_s === null ? "–" : t("engineer.seconds", { seconds: device.silent_s }), "number"), cell(number(device.restarts), "number"), cell(number(quarantined), "number"), cell(identity));
}

function answer(good) {
  return cell(`${good ? "✓" : "✗"} ${t(good ? "engineer.yes" : "engineer.no")}`, good ? "answer" : "answer no");
}

function because(text) {
  return text ? element("td", { className: "said", lang: "en", text }) : cell("–");
}

async function tell(found) {
  disk = found.disk;
  $("calibrations-note").textContent = found.fault ?? "";
  fill($("calibrations"), found.calibrations, () => found.calibrations.map(calibration));
  const seen = found.passage_id ? await pictures(found.passage_id) : null;
  fill($("signals"), seen, () => signals(found.passage_id, seen));
}

function signals(passageId, seen) {
  const drawn = ["vibration", "co2", "mmwave", "xray"].map((name) => [name, seen?.[name] ? drawing(passageId, name, seen[name]) : []]);
  const cards = drawn.filter(([, parts]) => parts.length).map(([name, parts]) => element("article", { className: "part drawn", "data-modality": name }, element("h3", { text: t(`modality.${name}`) }), ...parts));
  return cards.length ? cards : [element("p", { text: t("engineer.no_signal") })];
}

function calibration(one) {
  const known = one.record === null ? [cell(t("engineer.never")), cell("–"), cell("–")] : [cell(`${one.procedure}, ${one.record}`), cell(one.performed), cell(`${one.valid_until ?? "–"}${one.warning ? ` ✗ ${one.warning}` : ""}`, one.warning ? "answer no" : "")];
  return element("tr", {}, cell(one.device), cell(measures(one.modality)), ...known, element("td", {}, ...(one.drift.length ? one.drift.map(chart) : [t("engineer.no_drift")])));
}

// The mean of a result over its records, between its control limits.
function chart({ result, inside, points }) {
  const low = Math.min(...points.flat());
  const span = Math.max(...points.flat()) - low || 1;
  const path = (column) => points.map((point, index) => `${((index / Math.max(1, points.length - 1)) * 100).toFixed(1)},${(28 - ((point[column] - low) / span) * 26).toFixed(1)}`).join(" ");
  const lines = [[2, "limit"], [3, "limit"], [1, "mean"]].map(([column, name]) => svg("polyline", { points: path(column), class: name }));
  const state = t(inside ? "engineer.inside" : "engineer.outside");
  return element("div", { className: "drift" }, element("span", { text: result }), svg("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": `${result}: ${state}` }, ...lines), element("span", { className: inside ? "" : "answer no", text: `${inside ? "✓" : "✗"} ${state}` }));
}

function faults(found) {
  return found.length ? found.map(fault) : [element("tr", {}, element("td", { colspan: FAULTS.length, text: t("engineer.no_fault") }))];
}

function fault(one) {
  const answers = one.answers.map((name) => `${t(`engineer.${name}`)}: ${t("engineer.no")}`).join(", ");
  const mend = one.cause.key.replace("cause.", "mend.");
  const said = element("td", { className: "said" }, element("span", { text: one.cause.key && has(one.cause.key) ? line(one.cause) : answers }), ...(one.cause.text ? [element("br"), element("span", { lang: "en", text: one.cause.text })] : []));
  return element("tr", {}, cell(moment(one.began_ms)), cell(one.ended_ms === null ? t("engineer.still") : moment(one.ended_ms)), cell(one.device), said, cell(t(has(mend) ? mend : "mend.other", { device: one.device })));
}

function measures(modality) {
  return has(`modality.${modality}`) ? t(`modality.${modality}`) : modality;
}

function moment(at_ms) {
  return time(new Date(at_ms), { named: false });
}

function cell(text, className = "") {
  return element("td", { className, text });
}

function number(value) {
  return new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 3 }).format(value);
}

function gigabytes(bytes) {
  return Math.round(bytes / 1e8) / 10;
}

function lasting(seconds) {
  if (seconds < 3600) return t("engineer.seconds", { seconds: Math.round(seconds) });
  return seconds < 172800 ? t("engineer.hours", { hours: Math.round(seconds / 360) / 10 }) : t("engineer.days", { days: Math.round(seconds / 8640) / 10 });
}

function head(name, columns) {
  $(name).replaceChildren(...columns.map((column) => element("th", { scope: "col", text: t(`engineer.${column}`) })));
}

async function start() {
  let stored = {};
  try {
    stored = { language: localStorage.getItem("lanepulse.language"), light: localStorage.getItem("lanepulse.light") };
  } catch {
    // the site's language it is
  }
  document.documentElement.dataset.light = stored.light ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "night" : "day");
  const { document: settings } = await asked("/settings");
  await load(settings.languages.includes(stored.language) ? stored.language : settings.language, settings.zone);
  for (const marked of document.querySelectorAll("[data-t]")) marked.textContent = t(marked.dataset.t);
  document.title = t("engineer.title");
  $("lane").textContent = t("page.lane", { site: settings.site, lane: settings.lane });
  head("devices-head", DEVICES);
  head("calibrations-head", CALIBRATIONS);
  head("faults-head", FAULTS);
  upkeep();
  look();
}

start();
