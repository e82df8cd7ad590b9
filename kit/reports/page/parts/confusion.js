// The confusion matrix; each cell shows its images when chosen.

const shownCell = (report, pictures, row, column) => {
  const { cells, pairs: confused, classes, counts } = report.confusion;
  const ids = cells[`${row},${column}`] || [];
  const pair = confused.find((each) => each.truth === row && each.predicted === column);
  const total = pair ? pair.count : counts[classes.indexOf(row)][classes.indexOf(column)];
  const [truth, predicted] = [report.classes[row], report.classes[column]];
  const heading = row === column ? `${truth} predicted correctly` : !report.single_label ? `${truth} missed, ${predicted} predicted instead` : `${truth} predicted as ${predicted}`;
  const first = total > ids.length ? `, the ${ids.length} of highest loss` : ids.length > 1 ? ", highest loss first" : "";
  return [h("h3", {}, `${heading}: ${some(total, "image")}${first}`), cards(report, pictures, ids)];
};

const matrix = (report, normalised, show) => {
  const { classes, counts, support } = report.confusion;
  const name = (number) => report.classes[number];
  const cell = (row, column, value, whole) => {
    const share = ratio(value, whole) || 0;
    const text = normalised ? percent(share) : count(value);
    const label = `truth ${name(row)}, predicted ${name(column)}: ${some(value, "image")}, ${percent(share)} of the truth`;
    return h("td", { class: row === column ? "good" : "bad", "--share": Math.min(1, share) ** 0.6 },
      value ? h("button", { type: "button", "aria-label": label, title: label, "data-cell": `${row},${column}`, click: () => show(row, column) }, text)
        : h("span", { class: "zero" }, "0"));
  };
  return h("table", { class: classes.length > 8 ? "matrix many" : "matrix" },
    h("caption", {}, "Rows: truth. Columns: predicted."),
    h("thead", {}, h("tr", {}, h("td", {}), classes.map((number) => h("th", { scope: "col", title: name(number) }, h("span", {}, name(number)))))),
    h("tbody", {}, classes.map((row, y) => h("tr", {}, h("th", { scope: "row", title: name(row) }, name(row)),
      classes.map((column, x) => cell(row, column, counts[y][x], support[y]))))));
};

const confusionSection = (report, pictures) => {
  const { classes, pairs: confused } = report.confusion;
  const [box, panel] = [h("div", { class: "scroll" }), h("div", { id: "cell", class: "panel", tabindex: -1, "aria-live": "polite" })];
  const show = (row, column) => {
    panel.replaceChildren(...shownCell(report, pictures, row, column));
    panel.scrollIntoView({ block: "nearest" });
    panel.focus({ preventScroll: true });
  };
  const draw = (normalised) => box.replaceChildren(matrix(report, normalised, show));
  const option = (label, normalised) => h("label", {}, h("input", { type: "radio", name: "normalised", checked: !normalised, change: () => draw(normalised) }), ` ${label}`);
  draw(false);
  panel.append(h("p", { class: "note" }, "Choose a cell to see its images here."));
  const many = classes.length < report.classes.length ? ` Shown are the ${classes.length} most confused of ${count(report.classes.length)} classes.` : "";
  const intro = !report.single_label
    ? "Off the diagonal: ids whose row label was missed and whose column label was wrongly predicted. On it: ids whose label was found."
    : "How often each class was predicted as which.";
  const listed = report.classes.length > 2 && confused.length
    ? shortened(confused, 10, (rows) => table("Most confused", [!report.single_label ? "missed" : "truth", !report.single_label ? "predicted instead" : "predicted", "images", ""],
      rows.map((pair) => [report.classes[pair.truth], report.classes[pair.predicted], count(pair.count),
        h("button", { type: "button", class: "quiet", "aria-label": `images of ${report.classes[pair.truth]} and ${report.classes[pair.predicted]}`,
          click: () => show(pair.truth, pair.predicted) }, "images")]), [2]))
    : null;
  return section("confusion", "Confusion", intro + many,
    classes.length ? h("fieldset", { class: "options" }, h("legend", {}, "Show"), option("counts", false), option("share of each row", true)) : null,
    classes.length ? box : h("p", {}, "No prediction is wrong."), panel, listed);
};
