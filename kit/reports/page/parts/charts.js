// Line charts as inline SVG, in a frame of 340 x 260 that grows with its column.

const FRAME = { width: 340, height: 260, left: 52, right: 10, top: 10, bottom: 38 };

const niceTicks = (low, high, wanted = 5, whole = false) => {
  const raw = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const nice = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw);
  const step = whole ? Math.max(1, nice) : nice;
  const ticks = [];
  for (let number = Math.ceil(low / step - 1e-9); number * step <= high + step * 1e-9; number += 1) ticks.push(number * step);
  return ticks;
};

const tickText = (value, ticks) => {
  const largest = Math.max(...ticks.map(Math.abs));
  if (value === 0) return "0";
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : value;
  // As many digits as tell two ticks apart.
  const digits = Math.max(0, Math.floor(Math.log10(Math.abs(value)) + 1e-9) - Math.floor(Math.log10(step) + 1e-9));
  if (largest < 0.01 || largest >= 1e5) return value.toExponential(digits).replace("e+", "e");
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
};

const scale = (axis, from, to) => (value) => from + ((value - axis.min) / (axis.max - axis.min || 1)) * (to - from);

const axes = (x, y, atX, atY) => {
  const { width, height, left, right, top, bottom } = FRAME;
  const ticksX = x.ticks || niceTicks(x.min, x.max, 5, x.whole);
  const ticksY = y.ticks || niceTicks(y.min, y.max);
  return svg("g", { class: "axes" },
    ticksY.map((value) => [
      svg("line", { x1: left, x2: width - right, y1: atY(value), y2: atY(value) }),
      svg("text", { x: left - 6, y: atY(value) + 3.5, "text-anchor": "end" }, tickText(value, ticksY)),
    ]).flat(),
    ticksX.map((value) => svg("text", { x: atX(value), y: height - bottom + 15, "text-anchor": "middle" }, tickText(value, ticksX))),
    svg("line", { class: "base", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
    svg("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle", class: "axis" }, x.label),
    svg("text", { transform: `translate(10 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "axis" }, y.label));
};

const legend = (lines) => {
  const named = lines.filter((line) => line.name);
  return named.length < 2 ? null : h("ul", { class: "legend" }, named.map((line) =>
    h("li", {}, svg("svg", { class: "key", viewBox: "0 0 18 8", role: "img", "aria-label": `line of ${line.name}` },
      svg("line", { x1: 0, x2: 18, y1: 4, y2: 4, class: `line ${line.look}` })), line.name)));
};

// `lines`: [{name, look (a class of the style sheet), points [[x, y]], dots}]; `diagonal` draws y = x.
// Returns the figure; `mark(look, x, y)`, which puts, moves or (where a coordinate is unknown) removes a marker; and
// `upright(x)`, which puts or moves a vertical line; `uprights(xs)` puts several.
const chart = ({ title, text, x, y, lines, diagonal }) => {
  const { width, height, left, right, top, bottom } = FRAME;
  const atX = scale(x, left, width - right);
  const atY = scale(y, height - bottom, top);
  const path = (points) => points.map(([px, py], place) => `${place ? "L" : "M"}${atX(px).toFixed(1)} ${atY(py).toFixed(1)}`).join("");
  const marks = svg("g", {});
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. ${text}` },
    axes(x, y, atX, atY),
    diagonal ? svg("path", { class: "line diagonal", d: path([[x.min, y.min], [x.max, y.max]]) }) : null,
    lines.map((line) => svg("path", { class: `line ${line.look}`, d: path(line.points) })),
    lines.filter((line) => line.dots).map((line) => line.points.map(([px, py]) =>
      svg("circle", { class: `dot ${line.look}`, cx: atX(px), cy: atY(py), r: 2.6 },
        svg("title", {}, `${line.name || title}: ${py.toPrecision(4)} at ${px}`)))).flat(),
    marks);
  const put = (look, element) => {
    marks.querySelector(`.${look}`)?.remove();
    if (element) marks.append(element);
  };
  const mark = (look, px, py) => put(look, known(px) && known(py)
    ? svg("circle", { class: look, cx: atX(px), cy: atY(py), r: look === "operating" ? 7.5 : 4.5 }) : null);
  const line = (px) => svg("line", { class: "upright", x1: atX(px), x2: atX(px), y1: top, y2: height - bottom });
  const upright = (px) => put("upright", line(px));
  const uprights = (xs) => marks.append(...xs.map(line));
  const figure = h("figure", { class: "chart" }, h("figcaption", {}, title), drawing, legend(lines));
  return { figure, mark, upright, uprights };
};

const UNIT = [0, 0.2, 0.4, 0.6, 0.8, 1];
const unit = (label) => ({ label, min: 0, max: 1, ticks: UNIT });
const pairs = (xs, ys) => xs.map((value, place) => [value, ys[place]]).filter(([a, b]) => known(a) && known(b));

// Values with their intervals, one below another: [{name, value, low, high, strong}].
const intervals = (title, label, rows) => {
  const drawn = rows.filter((row) => known(row.value));
  if (!drawn.length) return null;
  const ends = drawn.flatMap((row) => [row.low, row.value, row.high].filter(known));
  const room = (Math.max(...ends) - Math.min(...ends)) * 0.08 || 0.01;
  const axis = { min: Math.min(...ends) - room, max: Math.max(...ends) + room };
  const [width, rowHeight, left] = [400, 26, 132];
  const height = drawn.length * rowHeight + 36;
  const at = scale(axis, left, width - 62);
  const ticks = niceTicks(axis.min, axis.max, 4);
  const text = drawn.map((row) => `${row.name}: ${decimal(row.value)}`).join("; ");
  return h("figure", { class: "chart wide" }, h("figcaption", {}, title),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. ${text}` },
      svg("g", { class: "axes" }, ticks.map((value) => [
        svg("line", { x1: at(value), x2: at(value), y1: 4, y2: height - 32 }),
        svg("text", { x: at(value), y: height - 18, "text-anchor": "middle" }, tickText(value, ticks)),
      ]).flat(), svg("text", { x: (left + width - 62) / 2, y: height - 3, "text-anchor": "middle", class: "axis" }, label)),
      drawn.map((row, place) => {
        const y = 17 + place * rowHeight;
        return svg("g", { class: row.strong ? "interval strong" : "interval" },
          svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, row.name.length > 16 ? `…${row.name.slice(-15)}` : row.name,
            svg("title", {}, row.name)),
          known(row.low) ? svg("line", { x1: at(row.low), x2: at(row.high), y1: y, y2: y }) : null,
          svg("circle", { cx: at(row.value), cy: y, r: row.strong ? 5 : 4 }),
          svg("text", { x: width - 4, y: y + 4, "text-anchor": "end" }, decimal(row.value)));
      })));
};
