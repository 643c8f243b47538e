// The lane's state as the daemon tells it: read-only, each second, and covered in words when it is old.
import { $, element } from "./dom.js";
import { load, t } from "./words.js";

const EVERY_MS = 1000;
const COLUMNS = ["name", "modality", "there", "on_time", "believes_itself", "restarts", "quarantined", "cause"];

function cells(device) {
  const quarantined = Object.values(device.quarantined).reduce((sum, count) => sum + count, 0);
  const told = { ...device, quarantined };
  return COLUMNS.map((name) => (typeof told[name] === "boolean" ? t(told[name] ? "engineer.yes" : "engineer.no") : told[name] ?? "-"));
}

function show(status) {
  const clock = status.clock;
  const facts = [
    ["state", t(`phase.${status.state === "empty" ? "waiting" : status.state === "measuring" ? "measuring" : "decided"}`)],
    ["up", t("engineer.seconds", { seconds: Math.round(status.up_s) })],
    ["version", status.version],
    ["model", status.model ?? "-"],
    ["clock", `${t(clock.synchronised ? "engineer.synchronised" : "engineer.not_synchronised")}${clock.max_error_ns === null ? "" : `, ${(clock.max_error_ns / 1e6).toFixed(1)} ms`}`],
    ["record", `${t(status.journal.recorded ? "engineer.written" : "engineer.not_written")}, ${status.journal.sequence}`],
  ];
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", { text: t(`engineer.${name}`) }), element("dd", { text: value })]));
  $("head").replaceChildren(...COLUMNS.map((name) => element("th", { scope: "col", text: t(`engineer.${name}`) })));
  $("devices").replaceChildren(...status.devices.map((device) => element("tr", {}, ...cells(device).map((text) => element("td", { text })))));
}

async function look() {
  try {
    const answer = await fetch("/status", { signal: AbortSignal.timeout(3000) });
    const found = await answer.json();
    if (answer.ok && found.status) {
      $("note").textContent = "";
      show(found.status);
    } else {
      $("note").textContent = answer.status === 401 ? t("engineer.sign_on") : `${t("cover.lane")} ${found.cause ?? ""}`;
      $("devices").replaceChildren();
      $("facts").replaceChildren();
    }
  } catch {
    $("note").textContent = t("cover.booth");
    $("devices").replaceChildren();
    $("facts").replaceChildren();
  }
  setTimeout(look, EVERY_MS);
}

async function start() {
  const settings = await (await fetch("/settings")).json();
  let chosen = null;
  try {
    chosen = localStorage.getItem("lanepulse.language");
  } catch {
    // the site's language it is
  }
  await load(settings.languages.includes(chosen) ? chosen : settings.language, settings.zone);
  for (const marked of document.querySelectorAll("[data-t]")) marked.textContent = t(marked.dataset.t);
  look();
}

start();
