// The confusion matrix, whose cells show their images.

const shownCell = (report, pictures, row, column) => {
  const { cells, pairs: confused, classes, counts } = report.confusion;
  const ids = cells[`${row},${column}`] || [];
  const pair = confused.find((each) => each.truth === row && each.answer === column);
  const total = pair ? pair.count : counts[classes.indexOf(row)][classes.indexOf(column)];
  const [truth, answer] = [report.classes[row], report.classes[column]];
  const said = row === column ? `${truth}, found` : report.task === "multilabel" ? `${truth} missed, ${answer} predicted instead` : `${truth} taken for ${answer}`;
  const first = total > ids.length ? `, the ${ids.length} of highest loss` : ids.length > 1 ? ", the highest loss first" : "";
  return [h("h3", {}, `${said}: ${some(total, "image")}${first}`), cards(report, pictures, ids)];
};

const matrix = (report, normalised, show) => {
  const { classes, counts, support } = report.confusion;
  const name = (number) => report.classes[number];
  const cell = (row, column, value, whole) => {
    const share = ratio(value, whole) || 0;
    const text = normalised ? percent(share) : count(value);
    const label = `truth ${name(row)}, answer ${name(column)}: ${some(value, "image")}, ${percent(share)} of the truth`;
    return h("td", { class: row === column ? "good" : "bad", "--share": Math.min(1, share) ** 0.6 },
      value ? h("button", { type: "button", "aria-label": label, title: label, "data-cell": `${row},${column}`, click: () => show(row, column) }, text)
        : h("span", { class: "zero" }, "0"));
  };
  return h("table", { class: classes.length > 8 ? "matrix many" : "matrix" },
    h("caption", {}, "Rows: the truth. Columns: the answers."),
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
  const way = (label, normalised) => h("label", {}, h("input", { type: "radio", name: "normalised", checked: !normalised, change: () => draw(normalised) }), ` ${label}`);
  draw(false);
  panel.append(h("p", { class: "note" }, "Choose a cell to see its images here."));
  const many = classes.length < report.classes.length ? ` The ${classes.length} classes that are most often confused, of ${count(report.classes.length)}.` : "";
  const intro = report.task === "multilabel"
    ? "Off the diagonal: ids whose label of the row was missed and that of the column wrongly predicted. On it: ids whose label was found."
    : "How often each class was answered with which.";
  const listed = report.classes.length > 2 && confused.length
    ? shortened(confused, 10, (rows) => table("Most confused", [report.task === "multilabel" ? "missed" : "truth", report.task === "multilabel" ? "predicted instead" : "predicted", "images", ""],
      rows.map((pair) => [report.classes[pair.truth], report.classes[pair.answer], count(pair.count),
        h("button", { type: "button", class: "quiet", "aria-label": `images of ${report.classes[pair.truth]} and ${report.classes[pair.answer]}`,
          click: () => show(pair.truth, pair.answer) }, "images")]), [2]))
    : null;
  return section("confusion", "Confusion", intro + many,
    classes.length ? h("fieldset", { class: "ways" }, h("legend", {}, "Show"), way("counts", false), way("share of each row", true)) : null,
    classes.length ? box : h("p", {}, "No answer is wrong."), panel, listed);
};
