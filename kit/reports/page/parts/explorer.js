// ROC, precision and recall, and a threshold that moves along them.

const rates = ({ true: hits, false: wrong }, curve) => {
  const { positives, negatives } = curve;
  const [missed, passed] = [positives - hits, negatives - wrong];
  const [precision, recall] = [ratio(hits, hits + wrong), ratio(hits, positives)];
  return {
    hits, wrong, missed, passed, precision, recall,
    f1: ratio(2 * hits, 2 * hits + wrong + missed),
    specificity: ratio(passed, negatives),
    accuracy: ratio(hits + passed, positives + negatives),
    falseRate: ratio(wrong, negatives),
  };
};

const METRICS = [["precision", "Precision"], ["recall", "Recall (sensitivity)"], ["specificity", "Specificity"], ["f1", "F1"], ["accuracy", "Accuracy"]];

const startStep = (thresholds, curve) => {
  const { threshold, true: hits, false: wrong } = curve.point;
  const far = (step) => (known(threshold) ? Math.abs(thresholds[step] - threshold) : Math.abs(curve.true[step] + curve.false[step] - hits - wrong));
  return thresholds.reduce((best, _, step) => (far(step) < far(best) ? step : best), 0);
};

const otherLines = (report, curve, kind) => {
  const { classes, micro, macro } = report.curves;
  const points = (of) => (of && of[kind] ? pairs(...of[kind]) : []);
  // More lines than these would be unreadable.
  const rest = classes.length > 1 && classes.length <= 30 ? classes.filter((each) => each !== curve) : [];
  const lines = rest.map((each) => ({ name: null, look: "faint", points: points(each) }));
  if (micro) lines.push({ name: "all classes (micro)", look: "c2 dashed", points: points(micro) });
  if (macro && kind === "roc") lines.push({ name: "mean over classes (macro)", look: "c3 dashed", points: points(macro) });
  return lines.filter((line) => line.points.length);
};

const curveCharts = (report, curve) => {
  const name = report.classes[curve.class];
  const own = (kind) => ({ name, look: "c0 bold", points: curve[kind] ? pairs(...curve[kind]) : [] });
  const roc = chart({
    title: `ROC of ${name}: area ${decimal(curve.auc)}`,
    text: "False positive rate to the right, true positive rate upwards",
    x: unit("false positive rate"), y: unit("true positive rate"), diagonal: true, lines: [...otherLines(report, curve, "roc"), own("roc")],
  });
  const pr = chart({
    title: `Precision and recall of ${name}: average precision ${decimal(curve.average_precision)}`,
    text: "Recall to the right, precision upwards",
    x: unit("recall"), y: unit("precision"), lines: [...otherLines(report, curve, "pr"), own("pr")],
  });
  const { thresholds } = report.curves;
  const at = thresholds.map((_, step) => rates({ true: curve.true[step], false: curve.false[step] }, curve));
  const over = chart({
    title: `${name} by threshold`,
    text: "Precision, recall and F1 at each threshold",
    x: unit("threshold"), y: unit("value"),
    lines: [["precision", "c0"], ["recall", "c1"], ["f1", "c2 bold"]].map(([key, look]) => ({
      name: key === "f1" ? "F1" : key, look, points: pairs(thresholds, at.map((each) => each[key])),
    })),
  });
  return { roc, pr, over, at };
};

const outcome = (name, now) => {
  const cell = (value, label, good) => h("td", { class: `number ${good ? "good" : "bad"}` }, h("strong", {}, count(value)), h("span", { class: "note" }, label));
  return h("table", { class: "outcome", id: "outcome" }, h("caption", {}, `Confusion at this threshold, ${name} against the rest`),
    h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "predicted"), h("th", { scope: "col" }, "not predicted"))),
    h("tbody", {},
      h("tr", {}, h("th", { scope: "row" }, "in the class"), cell(now.hits, "true positives", true), cell(now.missed, "false negatives")),
      h("tr", {}, h("th", { scope: "row" }, "not in the class"), cell(now.wrong, "false positives"), cell(now.passed, "true negatives", true))));
};

const explorer = (report, curve) => {
  const { thresholds } = report.curves;
  const { roc, pr, over, at } = curveCharts(report, curve);
  const own = rates(curve.point, curve);
  roc.mark("operating", own.falseRate, own.recall);
  pr.mark("operating", own.recall, own.precision);
  const numbers = h("div", { id: "numbers", "aria-live": "polite" });
  const shown = h("output", { class: "threshold", for: "threshold" });
  const slider = h("input", { type: "range", id: "threshold", min: 0, max: thresholds.length - 1, step: 1, input: () => move() });
  const move = () => {
    const step = Number(slider.value);
    const now = at[step];
    shown.replaceChildren(decimal(thresholds[step], 3));
    slider.setAttribute("aria-valuetext", `threshold ${decimal(thresholds[step], 3)}`);
    numbers.replaceChildren(outcome(report.classes[curve.class], now), tiles(METRICS.map(([key, label]) => [label, decimal(now[key])])));
    roc.mark("moving", now.falseRate, now.recall);
    pr.mark("moving", now.recall, now.precision);
    over.upright(thresholds[step]);
  };
  const start = startStep(thresholds, curve);
  const reset = () => { slider.value = start; move(); };
  reset();
  const home = known(curve.point.threshold) ? `the run's threshold ${decimal(curve.point.threshold, 3)}` : "the run's number of predictions";
  return h("div", {},
    h("div", { class: "slide" }, h("label", { for: "threshold" }, "Threshold"), slider, shown,
      h("button", { type: "button", class: "quiet", click: reset }, `Back to ${home}`)),
    h("div", { class: "grid" }, numbers, over.figure),
    h("div", { class: "grid" }, roc.figure, pr.figure),
    h("p", { class: "note" }, "Ring: the run's own predictions. Filled dot: the threshold chosen here."));
};

const curveSection = (report) => {
  const { classes, micro, macro } = report.curves;
  const box = h("div", {});
  const draw = (place) => box.replaceChildren(explorer(report, classes[place]));
  const order = classes.map((_, place) => place);
  if (classes.length > 30) order.sort((a, b) => (classes[a].average_precision ?? 2) - (classes[b].average_precision ?? 2));
  const chooser = classes.length > 1
    ? choice(classes.length > 30 ? "Class, worst first" : "Class", order.map((place) =>
      [place, `${report.classes[classes[place].class]} (average precision ${decimal(classes[place].average_precision, 3)})`]), order[0], draw)
    : null;
  draw(order[0]);
  const areas = micro ? `Area under the ROC curve: ${decimal(micro.auc)} micro, ${decimal(macro.auc)} macro. Average precision: ${decimal(micro.average_precision)} micro, ${decimal(macro.average_precision)} macro.` : null;
  return section("curves", "Curves and thresholds",
    report.softmax ? "Each class against the rest. The run predicts one class per image; here a class is predicted where its probability reaches the threshold."
      : "What another threshold would score, on out-of-fold predictions. A score at a threshold chosen here is too optimistic to quote.",
    areas ? h("p", {}, areas) : null, chooser, box);
};
