"""What the csv must hold, by the form of the sample submission, and the metric that fits that form best."""

from kit.adapt.labels import Labels, is_positive, list_length
from kit.adapt.proposal import Submission
from kit.adapt.sample import Sample

MAP_AT = (3, 5, 10)  # the metrics that kit has


def find_form(sample: Sample | None, labels: Labels, ids: str) -> tuple[Submission, str, list[str]]:
    """Return the form of the csv, the reason, and what its columns could hold instead.

    Args:
        sample: the sample submission; without one the csv has a column per class, or the predicted one.
        labels: the target.
        ids: the name of the column of ids where there is no sample.
    """
    if sample is None:
        several = labels.task in ("multilabel",)
        columns = labels.classes if several else (labels.target,) if isinstance(labels.target, str) else labels.classes
        columns = ("label",) if columns in (("folder",), ("file name",)) else columns
        usual = {"binary": "probabilities", "multilabel": "probabilities", "regression": "numbers"}
        form = Submission(None, (ids, *columns), usual.get(labels.task, "classes"))
        return form, "there is no sample submission, so this is a guess", []
    name, header = sample.table.name, (sample.id, *sample.columns)
    if sample.names:
        holds = "numbers" if labels.task == "regression" else "probabilities"
        why = f"{name} has a row for each of {len(sample.names)} names of an id ({sample.join!r} between)"
        return Submission(name, header, holds, join=sample.join), why, []
    if labels.task == "regression":
        return Submission(name, header, "numbers", columns=_renamed(sample, labels)), f"numbers, as in {name}", []
    if len(sample.columns) > 1:
        why = f"{name} has a column for each of {len(sample.columns)} classes"
        holds = "probabilities"
        return Submission(name, header, holds, columns=_renamed(sample, labels)), why, ["classes"]
    return _one_column(sample, labels, name, header)


def _one_column(
    sample: Sample, labels: Labels, name: str, header: tuple[str, ...]
) -> tuple[Submission, str, list[str]]:
    values, classes = sample.values, {*labels.classes}
    if labels.task == "multilabel":
        return (
            Submission(name, header, "tags", separator=labels.separator or " "),
            f"labels in one column, as {name}",
            [],
        )
    count = list_length(sample, classes)
    if count > 1:
        return Submission(name, header, "labels", count=count), f"{name} lists {count} labels in each row", []
    if labels.task == "binary":
        named = bool(values) and {*values} <= classes and not {*values} <= {"0", "1", "0.0", "1.0"}
        if named:
            return Submission(name, header, "classes"), f"{name} has names of classes", ["probabilities"]
        return Submission(name, header, "probabilities"), f"{name} has one column, of the second class", ["classes"]
    other = ["labels"] if labels.task == "multiclass" else []
    return Submission(name, header, "classes"), f"{name} has one class in each row", other


def _renamed(sample: Sample, labels: Labels) -> dict[str, str]:
    """Return the class of each column of the sample where the two have different names."""
    if {*sample.columns} <= {*labels.classes}:
        return {}
    plain = {_plain(name): name for name in labels.classes}
    found = {column: plain[_plain(column)] for column in sample.columns if _plain(column) in plain}
    if len(found) == len(sample.columns):
        return found
    if len(sample.columns) == len(labels.classes):
        return dict(zip(sample.columns, labels.classes, strict=True))
    return found


def _plain(name: str) -> str:
    text = "".join(letter for letter in name.lower() if letter.isalnum())
    for word in ("class", "label", "prob", "probability", "target", "predicted"):
        text = text.removeprefix(word) or text
    return text


def find_metric(labels: Labels, form: Submission, kind: str) -> tuple[str, str, list[str]]:
    """Return the metric that most competitions of this form have, why, and others.

    Args:
        labels: the target.
        form: of the csv.
        kind: where labels are: `table`, `folder` or `name`.
    """
    task = labels.task
    if task == "regression":
        if form.join:
            return "r2", "a row for each of several numbers, of different sizes", ["weighted_r2", "rmse", "mae"]
        return "rmse", "numbers for each image", ["mae", "r2"]
    if task == "ordinal" and form.holds == "classes":
        return "quadratic_kappa", "grades in an order, predicted as whole numbers", ["accuracy", "rmse"]
    if form.holds == "labels":
        near = min(MAP_AT, key=lambda count: abs(count - form.count))
        return (
            f"map_at_{near}",
            f"{form.count} labels in each row, the likeliest first",
            [f"top_{form.count}_accuracy"],
        )
    if form.holds == "tags" and all(name.isdigit() for name in labels.classes):
        return "macro_f1", "numbers of labels in one column: F1 of each label", ["sample_f1", "micro_f1"]
    if form.holds == "tags":
        return "sample_f1", "labels in one column: F-beta of each row's labels", ["sample_f2", "macro_f1"]
    if form.holds == "classes":
        return "accuracy", "one class in each row", ["macro_f1", "balanced_accuracy"]
    if task == "multilabel":
        return "mean_column_auc", "a probability for each of several labels", ["log_loss"]
    if task == "binary":
        if len(form.header) > 2:
            return "log_loss", "a probability for each of two classes", ["roc_auc", "accuracy"]
        if kind != "table" and not is_positive(labels.classes):
            return "log_loss", "two classes of which neither is the positive one", ["roc_auc", "accuracy"]
        return "roc_auc", "one probability, of the positive class", ["log_loss"]
    if not isinstance(labels.target, str):
        return "mean_column_auc", "columns of 0 and 1, and a probability for each", ["log_loss"]
    return "log_loss", "a probability for each class", ["roc_auc", "accuracy"]
