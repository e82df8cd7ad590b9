// Numbers instead of classes: predicted against true, residuals, what targets there are. And grades between the two.

const short = (value) => (known(value) ? String(Number(value.toPrecision(4))) : NONE);
const NUMBER_FIGURES = [["rmse", "RMSE"], ["mae", "MAE"], ["r2", "R2"], ["bias", "Bias"]];

const SHARES = (quantiles) => Object.keys(quantiles).map((share) => `${Number((100 * share).toPrecision(3))} %`);

// The area of a chart by counts: darker where more rows are.
const density = (name, { low, high, cells, counts }) => {
  const { width, height, left, right, top, bottom } = FRAME;
  const axis = (label) => ({ label, min: low, max: high });
  const base = chart({
    title: `Predicted against true: ${name}`, text: "Truth to the right, prediction upwards; darker where more images are",
    x: axis("true"), y: axis("predicted"), lines: [], diagonal: true,
  });
  const most = Math.max(...counts.map(([, , number]) => number));
  const [wide, tall] = [(width - left - right) / cells, (height - top - bottom) / cells];
  const step = (high - low) / cells;
  const drawn = counts.map(([column, row, number]) => svg("rect", {
    class: "cell", x: left + column * wide, y: height - bottom - (row + 1) * tall, width: wide, height: tall,
    "--share": 0.15 + 0.85 * Math.sqrt(number / most),
  }, svg("title", {}, `${some(number, "image")}: true about ${short(low + (column + 0.5) * step)}, predicted about ${short(low + (row + 0.5) * step)}`)));
  const drawing = base.figure.querySelector("svg");
  drawing.insertBefore(svg("g", {}, drawn), drawing.querySelector(".diagonal"));
  return base.figure;
};

const fitSection = (report) => {
  const { numbers, classes } = report;
  const folds = (each) => table(`Folds: ${classes[each.target]}`, ["fold", ...NUMBER_FIGURES.map(([, label]) => label)],
    Object.entries(each.folds).map(([fold, row]) => [`fold ${fold}`, ...NUMBER_FIGURES.map(([key]) => short(row[key]))]), [1, 2, 3, 4]);
  return section("fit", "Predicted against true",
    "Each image by the fold that has not seen it; on the dotted line the prediction is right. The few beyond an axis are counted at its end.",
    table("Errors by target", ["target", "ids", ...NUMBER_FIGURES.map(([, label]) => label)],
      numbers.map((each) => [classes[each.target], count(each.support), ...NUMBER_FIGURES.map(([key]) => short(each[key]))]), [1, 2, 3, 4, 5]),
    numbers.map((each) => h("div", { class: "grid" }, density(classes[each.target], each.fit), folds(each))));
};

const residualCharts = (name, { residuals, spread, quantiles }) => {
  const { low, high, counts } = residuals;
  const width = (high - low) / counts.length;
  // The outline of the bars: up and down at each edge.
  const outline = counts.flatMap((number, place) => [[low + place * width, number], [low + (place + 1) * width, number]]);
  const bars = chart({
    title: `Residuals: ${name}`, text: `Median ${short(quantiles["0.5"])}`,
    x: { label: "predicted - true", min: low, max: high }, y: { label: "images", min: 0, max: Math.max(...counts) * 1.05 },
    lines: [{ name: null, look: "c0", points: [[low, 0], ...outline, [high, 0]] }],
  });
  bars.upright(0);
  const at = spread.map((part) => part.predicted);
  const ends = spread.flatMap((part) => [part.quantiles[0], part.quantiles[4]]);
  const room = (Math.max(...ends, 0) - Math.min(...ends, 0)) * 0.06 || 0.5;
  const line = (label, place, look) => ({ name: label, look, dots: place === 2, points: pairs(at, spread.map((part) => part.quantiles[place])) });
  const [first, last] = [Math.min(...at), Math.max(...at)];
  const over = chart({
    title: `Residuals by what is predicted: ${name}`, text: "Quantiles of the residual among ten parts of the images",
    x: { label: "predicted", min: first, max: first === last ? first + 1 : last },
    y: { label: "predicted - true", min: Math.min(...ends, 0) - room, max: Math.max(...ends, 0) + room },
    lines: [line("5 and 95 %", 0, "faint-plan dashed"), { ...line(null, 4, "faint-plan dashed") }, line("25 and 75 %", 1, "c5"),
      { ...line(null, 3, "c5") }, line("median", 2, "c0 bold"), { name: null, look: "diagonal", points: [[first, 0], [last, 0]] }],
  });
  return h("div", { class: "grid" }, bars.figure, over.figure);
};

const residualSection = (report) => {
  const { numbers, classes } = report;
  return section("residuals", "Residuals", "Predicted minus true: above 0 the run predicts too much. Where the median bends away from 0, it is wrong in one direction.",
    table("Quantiles of the residuals", ["target", ...SHARES(numbers[0].quantiles)],
      numbers.map((each) => [classes[each.target], ...Object.values(each.quantiles).map(short)]), [1, 2, 3, 4, 5]),
    numbers.map((each) => residualCharts(classes[each.target], each)));
};

const targetTable = (report) => table("Targets of the training ids", ["target", "mean", "sd", "min", "5 %", "25 %", "median", "75 %", "95 %", "max"],
  report.data.targets.map((each, place) => [report.classes[place], short(each.mean), short(each.std), ...each.quantiles.map(short)]),
  [1, 2, 3, 4, 5, 6, 7, 8, 9]);

const gradeSection = (report) => {
  const { cuts, edges, counts } = report.grades;
  const centres = edges.slice(1).map((edge, place) => (edge + edges[place]) / 2);
  const shares = counts.map((row) => { const total = row.reduce((a, b) => a + b, 0); return row.map((number) => (total ? number / total : 0)); });
  const most = Math.max(...shares.flat(), 0.01);
  const { figure, uprights } = chart({
    title: "Expected grade of the images of each true grade", text: cuts ? `Cuts at ${cuts.map((cut) => decimal(cut, 2)).join(", ")}` : "No cuts",
    x: { label: "expected grade", min: 0, max: counts.length - 1, whole: true }, y: { label: "share of the images", min: 0, max: most * 1.05 },
    lines: shares.map((row, grade) => ({ name: report.classes[grade], look: `c${grade % 6}${grade >= 6 ? " dashed" : ""}`, points: pairs(centres, row) })),
  });
  if (cuts) uprights(cuts);
  const rows = report.by_class.map((row) => [report.classes[row.class], count(row.support), percent(ratio(row.support, report.ids)),
    count(row.predicted), percent(ratio(row.predicted, report.ids)), row.class && cuts ? decimal(cuts[row.class - 1], 3) : NONE]);
  const how = cuts ? `A grade is predicted from its cut of the expected grade on${report.decision ? ` (${report.decision.method})` : ": it is rounded"}.`
    : "The grade of the largest probability is predicted.";
  return section("grades", "Grades", `The expected grade is the mean of the grades by their probabilities. ${how}`,
    h("div", { class: "grid" }, figure,
      table("Grades", ["grade", "ids", "share", "predicted", "share", "from"], rows, [1, 2, 3, 4, 5])));
};
