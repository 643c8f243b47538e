// What each sensor saw, or why it did not: pictures and curves from the passage's own files, beside what the lane made
// of them. Drawn for looking, never judged here.
import { $, element, fill, hide, svg } from "./dom.js";
import { envelopes, gas } from "./curves.js";
import { has, line, t } from "./words.js";

const AGAIN_MS = 5000;

export class Pictures {
  constructor(changed) {
    this.changed = changed;
    this.passage = null;
    this.found = {};
    this.version = 0;
    this.asked = -Infinity;
  }

  show(now) {
    if (this.passage !== (now?.passage_id ?? null)) {
      this.passage = now?.passage_id ?? null;
      this.found = {};
      this.version += 1;
      this.asked = -Infinity;
    }
    hide($("parts"), !now);
    if (!now) return;
    if (performance.now() - this.asked > AGAIN_MS) this.ask(now.passage_id);
    const parts = now.prompt?.parts ?? under(this.found);
    fill($("parts"), [now.passage_id, this.version, now.phase, parts], () => parts.map((part) => card(now.passage_id, part, this.found[part.modality])));
  }

  async ask(passageId) {
    this.asked = performance.now();
    const found = await pictures(passageId);
    if (!found || this.passage !== passageId || JSON.stringify(found) === JSON.stringify(this.found)) return;
    this.found = found;
    this.version += 1;
    this.changed();
  }
}

// What there is of a passage; null where it cannot be had: a picture is no verdict, it stays as it was.
export async function pictures(passageId) {
  try {
    const answer = await fetch(`/picture/${encodeURIComponent(passageId)}`, { signal: AbortSignal.timeout(4000) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

// Before the first look nothing is judged yet: what is being drawn is shown all the same.
function under(found) {
  return Object.keys(DRAWN).filter((modality) => found[modality]).map((modality) => ({ modality, state: "measuring" }));
}

export function card(passageId, part, picture) {
  const measured = part.state === "measured";
  const side = measured ? strength(part) : "silent";
  const head = element("h3", {}, element("span", { text: t(`modality.${part.modality}`) }), element("span", { className: "mark", "aria-hidden": "true", text: MARKS[side] }));
  const said = measured ? [element("p", { className: "says", text: weight(part, side) })] : [element("p", { className: "says", text: t(`state.${part.state}`) }), ...(part.cause ? why(part.cause) : [])];
  const drawn = picture ? drawing(passageId, part.modality, picture, part) : [];
  return element("article", { className: `part ${side} ${drawn.length ? "drawn" : ""}`, "data-modality": part.modality }, head, ...said, ...drawn);
}

// What there is to look at of one sensor, without a judgement.
export function drawing(passageId, modality, picture, part = { modality }) {
  return DRAWN[modality]?.(passageId, part, picture) ?? [];
}

const MARKS = { for: "▲", against: "○", neutral: "–", silent: "×" };
const DRAWN = {
  vibration: (_, __, picture) => envelopes(picture),
  co2: (_, __, picture) => gas(picture),
  mmwave: (passageId, part, { frames }) => (frames ? image(passageId, part, `frame-${Math.min(part.region?.picture ?? frames - 1, frames - 1)}`) : []),
  xray: (passageId, part, { files }) => image(passageId, part, files[Math.min(part.region?.picture ?? files.length - 1, files.length - 1)]),
};

function strength(part) {
  if (Math.abs(part.log10_lr) < 0.1) return "neutral";
  return part.log10_lr > 0 ? "for" : "against";
}

function weight(part, side) {
  return part.where && side === "for" ? t("weight.for_at", { place: part.where }) : t(`weight.${side}`);
}

// The lane's own words carry the figures; without one they would only say it twice.
function why(cause) {
  const known = cause.key && has(cause.key);
  const said = element("p", { className: "said", lang: "en", text: cause.text });
  return known ? [element("p", { text: line(cause) }), ...(/[0-9]/.test(cause.text) ? [said] : [])] : [said];
}

// The picture with the region outlined twice, dark and light, so that it stands out of any grey.
function image(passageId, part, name) {
  const text = t(`picture.${part.modality}`);
  const shown = element("img", { src: `/picture/${encodeURIComponent(passageId)}/${name}`, alt: part.region ? `${text}. ${t("picture.region")}` : text });
  shown.addEventListener("error", () => shown.closest("figure")?.replaceWith(element("p", { className: "said", text: t("picture.none") })));
  const outline = part.region ? [svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", class: "outline", "aria-hidden": "true" }, frame(part.region, "under"), frame(part.region, "over"))] : [];
  return [element("figure", { className: "seen" }, element("div", {}, shown, ...outline), element("figcaption", { className: "said", text: part.region ? `${text}. ${t("picture.region")}` : text }))];
}

function frame(region, name) {
  const [x, y] = [100 * region.left, 100 * region.top];
  return svg("rect", { x, y, width: 100 * region.right - x, height: 100 * region.bottom - y, class: name });
}
