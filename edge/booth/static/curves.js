// Curves: the air inside with the outside sample, and the vibration of each sensor as an envelope about its rest.
import { element, svg } from "./dom.js";
import { t } from "./words.js";

const WIDTH = 240;
const HEIGHT = 80;
const MOST_ROWS = 6;
const LEAST_PPM = 200; // less than this is drawn flat, as it is

export function gas(picture) {
  const lines = ["inside", "outside"].filter((name) => picture[name]?.length).map((name) => [name, picture[name]]);
  if (!lines.length) return [];
  const all = lines.flatMap(([, points]) => points);
  const [from, to] = ends(all.map(([at]) => at));
  const [low, high] = ends(all.map(([, ppm]) => ppm));
  const top = Math.max(high, low + LEAST_PPM);
  const place = ([at, ppm]) => `${across(at, from, to)},${(HEIGHT - 4 - ((ppm - low) / (top - low || 1)) * (HEIGHT - 8)).toFixed(1)}`;
  const drawn = lines.map(([name, points]) => svg("polyline", { points: (points.length > 1 ? points : [[from, points[0][1]], [to, points[0][1]]]).map(place).join(" "), class: name }));
  const told = lines.map(([name, points]) => element("li", { className: name, text: t(`picture.${name}`, { ppm: points.at(-1)[1] }) }));
  const title = t("picture.co2", { low, high, seconds: Math.round(to - from) });
  return [chart(title, drawn), element("ul", { className: "key" }, ...told), element("p", { className: "said", text: title })];
}

export function envelopes(picture) {
  const rows = Object.entries(picture).filter(([, points]) => points.length > 1).slice(0, MOST_ROWS);
  if (!rows.length) return [];
  const all = rows.flatMap(([, points]) => points);
  const [from, to] = ends(all.map(([at]) => at));
  const most = Math.max(...all.map(([, counts]) => counts)) || 1;
  const title = t("picture.vibration", { most: Math.round(most), seconds: Math.round(to - from) });
  const drawn = rows.map(([name, points]) => {
    const half = (counts) => (counts / most) * 10;
    const upper = points.map(([at, counts]) => `${across(at, from, to)},${(11 - half(counts)).toFixed(2)}`);
    const lower = points.map(([at, counts]) => `${across(at, from, to)},${(11 + half(counts)).toFixed(2)}`).reverse();
    const shape = svg("svg", { viewBox: `0 0 ${WIDTH} 22`, preserveAspectRatio: "none", "aria-hidden": "true" }, svg("polygon", { points: [...upper, ...lower].join(" "), class: name.startsWith("G") ? "ground" : "body" }));
    return element("div", {}, element("span", { text: name.startsWith("G") ? t("picture.ground", { name }) : name }), shape);
  });
  return [element("div", { className: "sensors", role: "img", "aria-label": title }, ...drawn), element("p", { className: "said", text: title })];
}

function chart(title, drawn) {
  return svg("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title }, ...drawn);
}

function ends(values) {
  return [Math.min(...values), Math.max(...values)];
}

function across(at, from, to) {
  return (((at - from) / (to - from || 1)) * WIDTH).toFixed(1);
}
