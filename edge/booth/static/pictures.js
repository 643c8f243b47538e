// What each sensor saw, or why it did not: curves from the passage's own files.
import { $, element, fill, svg } from "./dom.js";
import { has, t } from "./words.js";

const AGAIN_MS = 5000;
const WIDTH = 240;
const HEIGHT = 90;

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
    $("parts").hidden = !now;
    if (!now) return;
    if (performance.now() - this.asked > AGAIN_MS) this.ask(now.passage_id);
    const parts = now.prompt?.parts ?? [];
    fill($("parts"), [now.passage_id, this.version, now.phase, parts], () => parts.map((part) => this.card(part)));
  }

  async ask(passageId) {
    this.asked = performance.now();
    try {
      const answer = await fetch(`/picture/${encodeURIComponent(passageId)}`, { signal: AbortSignal.timeout(4000) });
      if (!answer.ok || this.passage !== passageId) return;
      this.found = await answer.json();
      this.version += 1;
      this.changed();
    } catch {
      // the picture stays as it was: it is no verdict
    }
  }

  card(part) {
    const measured = part.state === "measured";
    const children = [element("h3", { text: t(`modality.${part.modality}`) })];
    if (measured) children.push(element("p", { text: weight(part) }));
    else children.push(element("p", { text: t(`state.${part.state}`) }), ...why(part.cause));
    const picture = this.found[part.modality];
    if (picture) children.push(...curves(part.modality, picture));
    return element("article", { className: measured ? "part" : "part silent" }, ...children);
  }
}

function weight(part) {
  const strength = Math.abs(part.log10_lr) < 0.1 ? "neutral" : part.log10_lr > 0 ? "for" : "against";
  return part.where && strength === "for" ? t("weight.for_at", { place: part.where }) : t(`weight.${strength}`);
}

function why(cause) {
  const known = cause.key && has(cause.key);
  const said = element("p", { className: "said", lang: "en", text: cause.text });
  return known ? [element("p", { text: t(cause.key) }), said] : [said];
}

function curves(modality, picture) {
  const lines = Object.entries(picture).filter(([, points]) => points.length > 1);
  if (!lines.length) return [];
  const all = lines.flatMap(([, points]) => points);
  const from = Math.min(...all.map((point) => point[0]));
  const span = Math.max(...all.map((point) => point[0])) - from || 1;
  const low = Math.min(...all.map((point) => point[1]));
  const high = Math.max(...all.map((point) => point[1]));
  const drawn = lines.map(([name, points]) => {
    const text = points.map(([at, value]) => `${(((at - from) / span) * WIDTH).toFixed(1)},${(HEIGHT - 4 - ((value - low) / (high - low || 1)) * (HEIGHT - 8)).toFixed(1)}`);
    return svg("polyline", { points: text.join(" "), class: name === "outside" ? "outside" : "" });
  });
  const title = t(`picture.${modality}`, { low: Math.round(low), high: Math.round(high), seconds: Math.round(span) });
  return [svg("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title }, ...drawn), element("p", { className: "said", text: title })];
}
