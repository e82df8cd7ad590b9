// Scores, training history, calibration, classes.

const classTiles = (report) => {
  const { summary } = report;
  const average = report.average === "binary" ? `of ${report.classes[1]}` : "mean over classes";
  return [
    ...(known(summary.grades_off) ? [["Quadratic kappa", decimal(summary.quadratic_kappa), null], ["Grades off", decimal(summary.grades_off, 3), "mean over images"]] : []),
    [report.single_label ? "Accuracy" : "Exact match", percent(summary.accuracy), !report.single_label ? "all labels of an image right" : null],
    ["F1", decimal(summary.f1), average],
    ["Precision", decimal(summary.precision), average],
    ["Recall", decimal(summary.recall), average],
    ["ROC AUC", decimal(summary.auc), report.average === "binary" ? null : average],
    ["Cross-entropy", decimal(summary.cross_entropy), !report.single_label ? "mean over images and labels" : "mean over images"],
    ["Calibration error", decimal(summary.ece), "expected, 15 bins"]];
};

const numberTiles = ({ summary, classes }) => NUMBER_FIGURES.filter(([key]) => known(summary[key])).map(([key, label]) =>
  [label, short(summary[key]), classes.length > 1 ? "mean over targets" : key === "bias" ? "mean of predicted - true" : null]);

const scoreSection = (report) => {
  const { score, decision, metric, headline } = report;
  const interval = (of) => (of && known(of.low) ? `95 % interval ${decimal(of.low)} to ${decimal(of.high)}` : null);
  const shown = [];
  if (decision) shown.push([`${words(decision.metric)} by decision rule (${decision.method})`, decimal(decision.value), `nested estimate; ${interval(decision) || ""}`]);
  if (score) shown.push([decision && decision.counts ? `${words(score.metric)}, without decision rule` : words(score.metric), decimal(score.value), interval(score)]);
  if (decision && !decision.counts) shown.reverse();
  if (known(report.mean_over_folds)) shown.push([`${words(headline ? headline.metric : metric.name)}, mean over folds`, decimal(report.mean_over_folds), headline && headline.ranked_by === "folds" ? "ranks runs" : null]);
  shown.push(
    ...(report.has_classes ? classTiles : numberTiles)(report),
    ...Object.entries(report.metrics).map(([name, value]) => [words(name), decimal(value), "asked for with --metrics"]));
  const whole = headline ? [{ name: "all folds", value: headline.value, low: headline.low, high: headline.high, strong: true }] : [];
  const direction = metric.higher_is_better ? "higher is better" : "lower is better";
  return section("score", "Score",
    `Over ${some(report.ids, "image id")}, each predicted by the fold that has not seen it.`
      + (decision ? ` Classes are decided by rules that have not seen the image.`.repeat(report.unseen) : "")
      + (score ? ` The interval resamples by ${score.resampled}.` : ""),
    tiles(shown),
    h("div", { class: "grid" },
      intervals("Score by fold", `${metric.label} (${direction})`,
        [...whole, ...report.folds.map((fold) => ({ name: `fold ${fold.fold}`, value: fold.score }))]),
      table("Folds", ["fold", metric.label, "train", "valid", "epochs", "time"],
        report.folds.map((fold) => [String(fold.fold), decimal(fold.score), count(fold.train_images), count(fold.valid_images),
          count(fold.epochs), fold.seconds ? duration(fold.seconds) : NONE]), [1, 2, 3, 4, 5])));
};

const courseSection = (report) => {
  const folds = Object.entries(report.history);
  if (!folds.length) {
    return section("course", "Training history", "This run was not trained: it blends the predictions of other runs.");
  }
  const skipped = ["epoch", "lr", "seconds", "images/s", "train loss", "valid loss"];
  const names = [...new Set(folds.flatMap(([, columns]) => Object.keys(columns)))];
  const metrics = names.filter((name) => !skipped.includes(name));
  const planned = report.rates ? { name: "planned", look: "faint-plan", points: pairs(report.rates.epoch, report.rates.lr) } : null;
  const draw = (title, columns, zoomed) => {
    const lines = folds.flatMap(([fold, course]) => columns.filter((name) => course[name]).map((name) => ({
      name: columns.length > 1 ? `fold ${fold}, ${name}` : `fold ${fold}`,
      look: `c${Number(fold) % 6}${name === "train loss" ? " dashed" : ""}`,
      points: pairs(course.epoch, course[name]),
      dots: true,
    })));
    if (columns[0] === "lr" && planned) lines.unshift(planned);
    const [xs, ys] = [0, 1].map((place) => lines.flatMap((line) => line.points.map((point) => point[place])));
    if (!ys.length) return null;
    const low = zoomed ? Math.min(...ys) : 0;
    const room = (Math.max(...ys) - low) * 0.06 || 0.05;
    return chart({
      title,
      text: `${some(lines.length, "line")}, fold by fold, over ${some(Math.max(...xs), "epoch")}`,
      x: { label: "epoch", whole: true, min: Math.min(0, ...xs), max: Math.max(...xs, 2) },
      y: { label: columns.length > 1 ? "loss" : title, min: zoomed ? low - room : 0, max: Math.max(...ys) + room },
      lines,
    }).figure;
  };
  return section("course", "Training history", "One point per validation, from history.csv.",
    h("div", { class: "grid" },
      draw("Loss", ["train loss", "valid loss"]),
      metrics.map((name) => draw(name, [name], true)),
      draw("Learning rate", ["lr"])));
};

const CALIBRATED = {
  positive: (report) => `The predicted probability of ${report.classes[1]} against how often it is true (Naeini et al. 2015).`,
  labels: () => "The predicted probability of each label against how often the image has it, all labels together.",
  predicted: () => "The probability of the likeliest class against how often it is right (Guo et al. 2017).",
};

const calibrationSection = (report) => {
  const { bins, ece, of } = report.calibration;
  const { figure } = chart({
    title: "Calibration curve",
    text: `Expected calibration error ${decimal(ece)}`,
    x: unit("predicted probability"), y: unit("observed share"), diagonal: true,
    lines: [{ name: null, look: "c0", points: bins.map((bin) => [bin.confidence, bin.right]), dots: true }],
  });
  return section("calibration", "Calibration",
    `${CALIBRATED[of](report)} Expected calibration error over 15 bins: ${decimal(ece)}. Below the diagonal the run is overconfident.`,
    h("div", { class: "grid" }, figure,
      table("Bins", ["probability", "rows", "mean probability", "observed share"],
        bins.map((bin) => [`${decimal(bin.from, 2)} to ${decimal(bin.to, 2)}`, count(bin.rows), decimal(bin.confidence), decimal(bin.right)]),
        [1, 2, 3])));
};

const CLASS_COLUMNS = [
  ["class", "class"], ["support", "ids"], ["predicted", "predicted"], ["precision", "precision"], ["recall", "recall"],
  ["specificity", "specificity"], ["f1", "F1"], ["auc", "ROC AUC"], ["average_precision", "average precision"], ["threshold", "threshold"],
];

const classSection = (report) => {
  const columns = CLASS_COLUMNS.filter(([key]) => key !== "threshold" || !report.single_label);
  const whole = ["support", "predicted"];
  const box = h("div", {});
  const draw = (key, down) => {
    const sign = down ? -1 : 1;
    const order = (a, b) => (key === "class" ? a.class - b.class : known(a[key]) && known(b[key]) ? a[key] - b[key] : known(a[key]) - known(b[key]));
    const rows = [...report.by_class].sort((a, b) => sign * order(a, b));
    const heads = columns.map(([name, label]) => h("button", { type: "button", class: "sort",
      "aria-label": `sort by ${label}`, click: () => draw(name, name === key && !down) }, label, name === key ? (down ? " ↓" : " ↑") : ""));
    box.replaceChildren(shortened(rows, 30, (some) => table("Classes", heads,
      some.map((row) => columns.map(([name]) => (name === "class" ? report.classes[row.class]
        : whole.includes(name) ? count(row[name]) : decimal(row[name])))), columns.map((_, place) => place).slice(1))));
    [...box.querySelectorAll("thead th")].forEach((head, place) => {
      if (columns[place][0] === key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  };
  draw(report.classes.length > 30 ? "f1" : "class", false);
  return section("classes", "Classes", "Each class against the rest, by the run's predictions; choose a heading to sort by it.", box);
};
