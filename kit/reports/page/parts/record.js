// What the run learned from, how it was made, and how runs differ.

const bars = (report) => {
  const counts = report.data.class_counts;
  const order = counts.map((_, number) => number);
  if (counts.length > 30) order.sort((a, b) => counts[b] - counts[a]);
  const most = Math.max(...counts, 1);
  return shortened(order, 30, (numbers) => table("Training ids per class", ["class", "ids", "share", ""],
    numbers.map((number) => [report.classes[number], count(counts[number]), percent(ratio(counts[number], report.data.ids)),
      h("div", { class: "bar", "--share": counts[number] / most })]), [1, 2]));
};

const dataSection = (report) => {
  const { data } = report;
  const first = data.first_image;
  const absent = Object.entries(data.left_out).filter(([, number]) => number).map(([what, number]) => `${count(number)} ${what}`).join(", ");
  const origins = { miniature: "synthetic miniature", archive: "archive", kaggle: "Kaggle" };
  return section("data", "Data", null, h("div", { class: "grid" }, facts([
    ["competition", report.competition],
    ["origin", origins[data.origin] || data.origin],
    ["task", `${report.task}, ${some(report.classes.length, report.has_classes ? "class" : "target").replace("classs", "classes")}`],
    ["training", `${some(data.ids, "id")}, ${some(data.images, "image")}`],
    ["of these, predicted out of fold", count(report.ids)],
    ["test", some(data.test_ids, "id")],
    ["first training image", first ? `${first.width} x ${first.height} pixels, ${first.channels} channels` : null],
    ["ids per fold", data.fold_ids.map(count).join(", ")],
    ["kept together by", data.grouped_by ? `${data.grouped_by}: ${some(data.groups, "known group")}` : "nothing"],
    ["external training ids", data.external_ids ? count(data.external_ids) : null],
    ["metadata", data.metadata.length ? data.metadata.join(", ") : null],
    ["left out", absent || null],
  ]), report.has_classes ? bars(report) : null), report.has_classes ? null : targetTable(report));
};

const configurationSection = (report) => {
  const rows = (some) => some.map(({ key, value, source, meaning }) => [h("code", {}, key), shortly(value), source, meaning]);
  const draw = (some) => table("Configuration", ["key", "value", "source", "meaning"], rows(some));
  const changed = report.configuration.filter((each) => each.source !== "default");
  const box = h("div", {}, draw(changed));
  const all = () => box.replaceChildren(draw(report.configuration));
  box.append(h("button", { type: "button", class: "more", click: all }, `Show all ${report.configuration.length} keys, defaults included`));
  return section("configuration", "Configuration", "The values that differ from kit's defaults, and what set them.", box);
};

const provenanceSection = (report) => {
  const { provenance, folds } = report;
  const list = (of) => Object.entries(of).filter(([, value]) => known(value)).map(([name, value]) => `${name} ${value}`).join(", ");
  const digests = Object.entries(provenance.digests).filter(([, value]) => known(value));
  return section("provenance", "Versions, seeds, digests, time", null,
    facts([
      ["created", provenance.created.slice(0, 16).replace("T", " ") + " UTC"],
      ["state", provenance.state],
      ["training time", duration(provenance.seconds)],
      ["device", [...new Set(folds.map((fold) => fold.device).filter(known))].join(", ") || null],
      ["versions", list(provenance.versions)],
      ["seeds", list(provenance.seeds)],
      ["commands", provenance.commands.length ? h("ul", {}, provenance.commands.map((line) => h("li", {}, h("code", {}, line)))) : null],
      ["blend", provenance.blend ? `${provenance.blend.method} of ${provenance.blend.members.map((member) => member.name).join(", ")}` : null],
    ]),
    h("details", {}, h("summary", {}, `SHA-256 of ${some(digests.length, "file")}`),
      table("Digests", ["file", "SHA-256"], digests.map(([name, value]) => [h("code", {}, name), h("code", { class: "digest" }, value)]))));
};

const comparisonSection = (all) => {
  const { comparison, runs } = all;
  const metric = comparison.metric || "score";
  const differ = Object.entries(comparison.config).map(([key, values]) => [h("code", {}, key), ...values.map(shortly)]);
  const folds = Object.entries(comparison.folds).map(([fold, values]) => [`fold ${fold}`, ...values.map((value) => decimal(value))]);
  if (comparison.common.folds.length) folds.push(["mean of common folds", ...comparison.common.scores.map((value) => decimal(value))]);
  const ranks = (by) => (comparison.ranked_by === by ? ", ranks runs" : "");
  folds.push([`mean over folds${ranks("folds")}`, ...comparison.means.map((mean) => decimal(mean))]);
  folds.push([`all out-of-fold${ranks("pooled")}`, ...comparison.score.map((score) => decimal(score && score.value))]);
  if (comparison.decided.some(known)) folds.push(["decision rule", ...comparison.decided.map((method) => method || "none")]);
  const figures = ["quadratic_kappa", "accuracy", "f1", "auc", "cross_entropy", "ece", "rmse", "mae", "r2", "bias"].filter((key) => runs.some((run) => known(run.summary[key]))).map((key) => [key.replaceAll("_", "-"), ...runs.map((run) => decimal(run.summary[key]))]);
  const numeric = runs.map((_, place) => place + 1);
  const curve = (run) => run.curves.micro || run.curves.classes[0];
  const overlaid = (kind, title, x, y) => chart({
    title, text: `One line per run: ${comparison.runs.join(", ")}`, x: unit(x), y: unit(y), diagonal: kind === "roc",
    lines: runs.map((run, place) => ({ name: run.run, look: `c${place % 6}`, points: curve(run)[kind] ? pairs(...curve(run)[kind]) : [] })),
  }).figure;
  const verdict = !comparison.comparable ? `Not comparable: they differ in ${comparison.differ_in.join(" and ")}.`
    : comparison.same_folds_trained ? "Comparable: the folds are the same." : "Comparable fold by fold: the folds are the same, but different ones are trained.";
  return section("comparison", "Runs side by side", verdict,
    intervals("Cross-validated score with its 95 % interval", metric, comparison.score.map((score, place) => ({
      name: comparison.runs[place], value: score && score.value, low: score && score.low, high: score && score.high, strong: true }))),
    table("Scores", ["", ...comparison.runs], [...folds, ...figures], numeric),
    differ.length ? table("What differs in their configuration", ["key", ...comparison.runs], differ) : h("p", {}, "Their configurations are the same."),
    !runs[0].has_classes ? null : h("div", { class: "grid" },
      overlaid("roc", runs[0].curves.micro ? "ROC, all classes (micro)" : "ROC", "false positive rate", "true positive rate"),
      overlaid("pr", runs[0].curves.micro ? "Precision and recall, all classes (micro)" : "Precision and recall", "recall", "precision")));
};
