// Images with their truth and what was predicted.

const named = (report, chosen) => chosen.map(([number, value]) => (report.has_classes ? `${report.classes[number]} ${decimal(value, 2)}`
  : `${report.classes.length > 1 ? `${report.classes[number]} ` : ""}${short(value)}`)).join(", ") || "none";
const names = (report, chosen) => (report.has_classes ? chosen.map(([number]) => report.classes[number]).join(", ") || "none" : named(report, chosen));

const thumbnail = (pictures, id, text) => (pictures.thumbnails[id]
  ? h("img", { src: pictures.thumbnails[id], alt: text, loading: "lazy", decoding: "async" })
  : h("div", { class: "absent" }, "no thumbnail kept"));

const card = (report, pictures, id, ...further) => {
  const sample = report.samples[id];
  const text = `Image ${id}: truth ${names(report, sample.truth)}, predicted ${names(report, sample.predicted)}`;
  return h("figure", { class: "card" }, thumbnail(pictures, id, text),
    h("figcaption", {},
      h("code", { title: id }, id),
      h("dl", {},
        h("div", {}, h("dt", {}, "truth"), h("dd", {}, named(report, sample.truth))),
        h("div", {}, h("dt", {}, "predicted"), h("dd", {}, named(report, sample.predicted))),
        h("div", {}, h("dt", {}, "loss"), h("dd", {}, decimal(sample.loss, 3))),
        h("div", {}, h("dt", {}, "fold"), h("dd", {}, sample.fold)),
        ...further.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))))));
};
const cards = (report, pictures, ids) => h("div", { class: "cards" }, ids.map((id) => card(report, pictures, id)));

const lossSection = (report, pictures) =>
  section("losses", "Top losses", report.has_classes ? "The images with the highest cross-entropy; a number is the predicted probability of its class."
    : "The images with the largest errors. The loss is the squared error in standard deviations of the target, of several their mean.",
    cards(report, pictures, report.top_losses));

const suspectSection = (report, pictures) => {
  const { count: number, of, shown } = report.suspects;
  if (!report.has_classes) {
    return section("suspects", "Labels that may be wrong",
      `${some(number, "label")} of ${count(of)} are far from what is predicted: 3.5 or more of the residuals' robust standard deviations `
        + "(modified z-score, Iglewicz and Hoaglin 1993), furthest first. Look before you change one.",
      shortened(shown, 12, (some) => h("div", { class: "cards" }, some.map((each) =>
        card(report, pictures, each.id, ["off by", `${decimal(each.distance, 1)} deviations${report.classes.length > 1 ? ` in ${report.classes[each.target]}` : ""}`])))));
  }
  const question = (each) => (!report.single_label
    ? `${report.classes[each.class]} ${each.labelled ? "may be labelled wrongly" : "may be missing"}`
    : `${report.classes[each.seems]}, not ${report.classes[each.class]}`);
  return section("suspects", "Labels that may be wrong",
    `${some(number, "suspect")} among ${some(of, "label")}, by confident learning (Northcutt et al. 2021) on out-of-fold predictions; surest first. `
      + "A weak run suspects many labels that are right: look before you change one.",
    shortened(shown, 12, (some) => h("div", { class: "cards" }, some.map((each) =>
      card(report, pictures, each.id, ["seems", question(each)])))));
};

const EXPLAINED = {
  ordinal: "the expected grade: red is where it gains most",
  regression: "the number: red is where it gains most",
};

const gallerySection = (report, pictures) => {
  const { gallery } = report;
  const one = (each, place) => {
    const [image, ...overlays] = pictures.gallery[place];
    const view = (src, alt, label) => h("div", {}, h("img", { src, alt, loading: "lazy", decoding: "async" }), h("span", { class: "note" }, label));
    return h("figure", { class: "card seen" },
      h("div", { class: "views" }, view(image, `Image ${each.id}`, "image"),
        overlays.map((src, number) => view(src, `Grad-CAM of ${each.explained} at layer ${each.layers[number]} over image ${each.id}`, each.layers[number]))),
      h("figcaption", {}, h("code", { title: each.id }, each.id),
        h("dl", {},
          h("div", {}, h("dt", {}, "truth"), h("dd", {}, each.label)),
          h("div", {}, h("dt", {}, "predicted"), h("dd", {}, each.predicted)),
          h("div", {}, h("dt", {}, "explained"), h("dd", {}, `${each.shown}, fold ${each.fold}`)))));
  };
  const group = (title, right) => {
    const chosen = gallery.images.map((each, place) => [each, place]).filter(([each]) => each.right === right);
    return chosen.length ? [h("h3", {}, title), h("div", { class: "cards large" }, chosen.map(([each, place]) => one(each, place)))] : [];
  };
  return section("gallery", "Where the network looks",
    gallery.why ? `No Grad-CAM here: ${gallery.why}` : `Grad-CAM (Selvaraju et al. 2017) for ${EXPLAINED[report.task] || "the explained class: red is where its logit gains most"}, blue where nothing supports it.`,
    ...group(report.has_classes ? "Wrong, highest loss first" : "Largest errors first", false),
    ...group(report.has_classes ? "Right, surest first" : "Smallest errors", true));
};
