// Who is at the page, and what is said of the vehicle.
import { element } from "./dom.js";
import { group } from "./panel.js";
import { t } from "./words.js";

async function post(path, document) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-lanepulse": "1" },
    body: JSON.stringify(document),
    signal: AbortSignal.timeout(10000),
  });
  return { status: answer.status, document: await answer.json().catch(() => ({})) };
}

export function signOnPanel(page) {
  const officer = page.settings.officer;
  const note = element("p", { className: "note", role: "alert" });
  if (officer) {
    const off = async () => {
      await post("/sign-off", {}).catch(() => null);
      page.panel.close();
      await page.reload();
    };
    page.panel.show(t("sign.title"), element("p", { text: t("sign.as", { id: officer.id, role: `@role.${officer.role}` }) }), element("button", { type: "button", className: "strong", text: t("sign.off"), onclick: off }));
    return;
  }
  const id = element("input", { name: "id", autocomplete: "off", maxlength: 64, required: true });
  const pin = element("input", { name: "pin", type: "password", inputmode: "numeric", autocomplete: "off", maxlength: 64 });
  const on = async (event) => {
    event.preventDefault();
    const badge = pin.value === "";
    const said = badge ? { badge: id.value.trim() } : { id: id.value.trim(), pin: pin.value };
    const { status, document } = await post("/sign-on", said).catch(() => ({ status: 0, document: {} }));
    pin.value = "";
    if (badge) id.value = "";
    if (status === 200) {
      page.panel.close();
      await page.reload();
    } else note.textContent = status === 429 ? t("sign.wait", { why: document.error ?? "" }) : t(status === 403 ? "sign.wrong" : "sign.failed");
  };
  const form = element("form", { className: "panel-body", onsubmit: on }, element("label", {}, t("sign.id"), id), element("label", {}, t("sign.pin"), pin), note, element("button", { type: "submit", className: "strong", text: t("sign.on") }));
  page.panel.show(t("sign.title"), form);
}

const CONTEXT = {
  driver: ["out", "in"],
  engine: ["off", "on"],
  refrigeration: ["off", "on"],
  doors: ["closed", "open"],
  body_type: ["soft_sided", "hard_sided", "refrigerated", "tanker", "open"],
  cargo: ["empty", "general", "dense", "produce", "dry_ice", "live_animals"],
};
const SEALED_S = [3600, 6 * 3600, 86400, 3 * 86400];

export function contextPanel(page, passageId) {
  if (!passageId) return;
  const note = element("p", { className: "note", role: "status" });
  const known = page.state?.now?.passage_id === passageId ? page.state.now.context : {};
  const say = (word, value, button) => async () => {
    const { status, document } = await post("/context", { passage_id: passageId, context: { [word]: value } }).catch(() => ({ status: 0, document: {} }));
    note.textContent = status === 200 ? t("context.said") : status === 401 ? t("unsent.sign_on") : t("context.refused", { why: document.error ?? "" });
    if (status !== 200) return;
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
  };
  const titled = (word, options) => group(`${t(`context.${word}`)}${source(known[word])}`, row(options, word, say, known[word]?.value));
  const rows = Object.entries(CONTEXT).map(([word, values]) => titled(word, values.map((value) => [value, t(`${word}.${value}`)])));
  const sealed = titled("sealed_for_s", SEALED_S.map((seconds) => [seconds, t("context.hours", { hours: seconds / 3600 })]));
  page.panel.show(t("context.title"), note, ...rows, sealed);
}

// Who said it stands beside each word: a declaration is only as good as its source.
function source(told) {
  if (!told) return "";
  return `: ${t(`source.${told.by === "booth" && told.officer ? "officer" : told.by}`, { id: told.officer ?? "" })}`;
}

function row(options, word, say, now) {
  const made = element("div", { className: "choices" });
  for (const [value, text] of options) {
    const button = element("button", { type: "button", text, "aria-pressed": String(value === now), "data-word": word, "data-value": value });
    button.addEventListener("click", say(word, value, button));
    made.append(button);
  }
  return made;
}
