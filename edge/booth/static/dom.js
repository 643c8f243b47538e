// Elements from words and values. Text is always text: nothing that the lane says becomes markup.
export const $ = (id) => document.getElementById(id);

export function element(name, { text, className, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, String(value));
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

// A shape for each level, told apart by their outlines alone: ring, two arrows round, triangle, octagon.
const SHAPES = {
  no_search: [["circle", { cx: 50, cy: 50, r: 36, fill: "none", stroke: "currentColor", "stroke-width": 10 }]],
  recheck: [
    ["path", { d: "M20 46a31 31 0 0 1 56-15", fill: "none", stroke: "currentColor", "stroke-width": 10 }],
    ["path", { d: "M84 12v26H58z", fill: "currentColor" }],
    ["path", { d: "M80 54a31 31 0 0 1-56 15", fill: "none", stroke: "currentColor", "stroke-width": 10 }],
    ["path", { d: "M16 88V62h26z", fill: "currentColor" }],
  ],
  search: [
    ["path", { d: "M50 8 96 90H4z", fill: "currentColor" }],
    ["path", { d: "M50 36v28M50 72v8", stroke: "var(--hole)", "stroke-width": 9 }],
  ],
  open_now: [
    ["path", { d: "M32 4h36l28 28v36L68 96H32L4 68V32z", fill: "currentColor" }],
    ["path", { d: "M34 34l32 32M66 34 34 66", stroke: "var(--hole)", "stroke-width": 11 }],
  ],
  measuring: [["path", { d: "M4 54h22l9-26 16 48 13-34 6 12h26", fill: "none", stroke: "currentColor", "stroke-width": 7 }]],
  waiting: [["path", { d: "M14 60h72M14 40h72", stroke: "currentColor", "stroke-width": 7, "stroke-dasharray": "12 8" }]],
  unreadable: [["path", { d: "M32 36a18 18 0 1 1 22 20l-4 4v8M50 78v8", fill: "none", stroke: "currentColor", "stroke-width": 9 }]],
};

export function shape(name) {
  const parts = SHAPES[name] ?? SHAPES.unreadable;
  return svg("svg", { viewBox: "0 0 100 100" }, ...parts.map(([kind, attributes]) => svg(kind, attributes)));
}

// Writes only what is another one: the same text written again costs the browser a layout all the same.
export function say(parent, text) {
  if (parent.textContent !== text) parent.textContent = text;
}

export function mark(parent, name, value) {
  if (parent.getAttribute(name) !== String(value)) parent.setAttribute(name, value);
}

export function hide(parent, hidden) {
  if (parent.hidden !== hidden) parent.hidden = hidden;
}

// Replaces the children only where something changed: a touch in that moment must not lose its button.
export function fill(parent, key, make) {
  const text = JSON.stringify(key);
  if (parent.dataset.key === text) return;
  parent.dataset.key = text;
  parent.replaceChildren(...make());
}
