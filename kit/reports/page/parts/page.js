// The page: one run at a time, below the comparison of all runs.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const [all, pictures] = [read("document"), read("pictures")];

const sectionsOf = (report, shown) => [
  scoreSection(report),
  courseSection(report),
  ...(report.has_classes ? [curveSection(report), confusionSection(report, shown)] : [fitSection(report), residualSection(report)]),
  ...(report.grades ? [gradeSection(report)] : []),
  lossSection(report, shown),
  ...(report.has_classes ? [calibrationSection(report), classSection(report)] : []),
  gallerySection(report, shown),
  suspectSection(report, shown),
  dataSection(report),
  configurationSection(report),
  provenanceSection(report),
];

const SHORT = {
  comparison: "Side by side", score: "Score", course: "Training", curves: "Curves", confusion: "Confusion", losses: "Losses", fit: "Predicted", residuals: "Residuals", grades: "Grades", calibration: "Calibration",
  classes: "Classes", gallery: "Grad-CAM", suspects: "Suspects", data: "Data", configuration: "Configuration", provenance: "Versions",
};

const main = document.getElementById("main");
const several = all.runs.length > 1;

const draw = (place) => {
  const report = all.runs[place];
  const promised = report.headline;
  document.getElementById("head").replaceChildren(
    h("p", { class: "kind" }, `${report.task} · ${some(report.classes.length, report.has_classes ? "class" : "target").replace("classs", "classes")} · ${some(report.ids, "id")}`),
    h("h1", {}, report.title),
    h("p", { class: "run" }, "Run ", h("code", {}, report.run)),
    promised ? h("p", { class: "promise" }, h("strong", {}, decimal(promised.value)), ` ${words(promised.metric)}`,
      known(promised.low) ? h("span", { class: "note" }, ` 95 % interval ${decimal(promised.low)} to ${decimal(promised.high)}`) : null) : null,
    ...report.notes.map((note) => h("p", { class: "warning" }, note)),
    several ? choice("Run shown below", all.runs.map((run, number) => [number, run.run]), place, draw) : "");
  const sections = sectionsOf(report, pictures[place]);
  if (several) sections.unshift(comparisonSection(all));
  main.replaceChildren(...sections);
  document.getElementById("contents").replaceChildren(h("ul", {}, sections.map((each) =>
    h("li", {}, h("a", { href: `#${each.id}` }, SHORT[each.id])))));
};
draw(0);
