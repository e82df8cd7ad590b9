// Elements. Every text becomes a text node, so nothing in a name is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";
const NONE = "–";

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const known = (value) => value !== null && value !== undefined;
const decimal = (value, digits = 4) => (known(value) ? value.toFixed(digits) : NONE);
const percent = (value) => (known(value) ? `${(100 * value).toFixed(value < 0.1 ? 2 : 1)} %` : NONE);
const count = (value) => (known(value) ? value.toLocaleString("en-US") : NONE);
const ratio = (part, whole) => (whole > 0 ? part / whole : null);
const some = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const words = (name) => name.replaceAll("_", " ");
const shortly = (value) => {
  if (!known(value)) return "none";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
};
const duration = (seconds) => {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
};

const section = (id, title, intro, ...children) =>
  h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title),
    intro ? h("p", { class: "intro" }, intro) : null, ...children);

// A table that scrolls inside its own box. Cells are texts or elements; `numeric` are the right-aligned columns.
const table = (caption, columns, rows, numeric = []) => {
  const side = (place) => (numeric.includes(place) ? "number" : null);
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    h("table", {}, h("caption", {}, caption),
      h("thead", {}, h("tr", {}, columns.map((name, place) => h("th", { scope: "col", class: side(place) }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, place) =>
        h(place ? "td" : "th", { scope: place ? null : "row", class: side(place) }, cell)))))));
};

const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(([, value]) => known(value)).map(([name, value]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value))));

const tiles = (pairs) =>
  h("dl", { class: "tiles" }, pairs.map(([name, value, note]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value), note ? h("dd", { class: "note" }, note) : null)));

// The first rows of a long table, and a button for all of them.
const shortened = (rows, shown, draw) => {
  if (rows.length <= shown) return draw(rows);
  const box = h("div", {}, draw(rows.slice(0, shown)));
  const all = () => box.replaceChildren(draw(rows));
  box.append(h("button", { type: "button", class: "more", click: all }, `Show all ${count(rows.length)}`));
  return box;
};

const choice = (label, options, chosen, change) => {
  const select = h("select", { change: () => change(Number(select.value)) },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  return h("label", { class: "choice" }, h("span", {}, label), select);
};
