// The catalogue: every text on the page is a key with values; "@key" as a value is a key itself.
let words = {};
let fallback = {};
let language = "en";
let zone = "UTC";

export async function load(name, zoneName) {
  zone = zoneName;
  fallback = await fetched("en");
  words = name === "en" ? fallback : await fetched(name);
  language = name;
  document.documentElement.lang = name;
}

async function fetched(name) {
  const answer = await fetch(`/words/${name}.json`);
  if (!answer.ok) throw new Error(`words: ${answer.status}`);
  return answer.json();
}

export function has(key) {
  return Object.hasOwn(words, key) || Object.hasOwn(fallback, key);
}

export function t(key, values = {}) {
  const text = Object.hasOwn(words, key) ? words[key] : Object.hasOwn(fallback, key) ? fallback[key] : key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? shown(values[name]) : whole));
}

// One line of a prompt: by its key, or as the lane said it where no catalogue has the key.
export function line(said) {
  return said.key && has(said.key) ? t(said.key, said.values) : said.text;
}

// A value is a number, a word, "@key", a list of these, or a line of its own.
function shown(value) {
  if (value && typeof value === "object" && !Array.isArray(value)) return line(value);
  if (Array.isArray(value)) return form("ListFormat", { type: "conjunction" }).format(value.map(shown));
  if (typeof value === "number") return form("NumberFormat").format(value);
  const text = String(value);
  return text.startsWith("@") ? t(text.slice(1)) : text;
}

// Local time of the site with its zone's name, so that the hour that comes twice in October can be told apart.
export function time(moment, { seconds = true, named = true } = {}) {
  const wanted = { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (seconds) wanted.second = "2-digit";
  if (named) wanted.timeZoneName = "short";
  return form("DateTimeFormat", wanted).format(moment);
}

// A browser takes long to make one of these: each is made once.
const forms = new Map();
function form(kind, wanted = {}) {
  const tongue = kind === "DateTimeFormat" && language === "en" ? "en-GB" : language;
  const key = JSON.stringify([kind, tongue, wanted]);
  if (!forms.has(key)) forms.set(key, new Intl[kind](tongue, wanted));
  return forms.get(key);
}
