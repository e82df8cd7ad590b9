"""The csv of ISIC 2018 task 3: `image` and a confidence in 0..1 per class; its rules, and its official score.

The rules are those of the official scorer (ImageMarkup/isic-challenge-scoring); columns may be in any order, and an
image may end in `.jpg`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin import Finding
from kit.plugin.data import Index, numbers_of, read_table, refuse_repeated
from kit.plugin.files import atomic
from kit.plugin.predictions import Predictions
from kit.plugin.submission import bad_rows, read_submission
from kit_ham10000.dataset import CLASSES, labels_of, test_ids

COLUMNS = tuple(name.upper() for name in CLASSES)
DIGITS = 8
WITHOUT_WEIGHT = "ISIC_0035068"  # the official scorer ignores it


def write(predictions: Predictions, index: Index, path: Path) -> None:
    """Write the confidences of each test image, in the order of the index, with `DIGITS` decimal places.

    Every number has a decimal point, because the scorer refuses a column of whole numbers. If rounding makes several
    classes share the largest number, all but the most probable one lose a unit in the last place: a tie counts as
    wrong.
    """
    ordered = predictions.mean_by_id().reorder(index.test["id"].to_numpy(object))
    unit = 10**DIGITS
    counts = np.rint(ordered.values.astype(np.float64) * unit).astype(np.int64)
    rows, chosen = np.arange(len(counts)), ordered.values.argmax(1)
    tied = counts == counts[rows, chosen][:, None]
    tied[rows, chosen] = False
    counts[tied] -= 1
    nothing = counts[rows, chosen] == 0  # every class is 0, so none can be lowered
    counts[rows[nothing], chosen[nothing]] = 1
    table = pd.DataFrame(np.maximum(counts, 0) / unit, columns=COLUMNS)
    table.insert(0, "image", ordered.ids)
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{DIGITS}f", lineterminator="\n")


def check(path: Path, root: Path) -> list[Finding]:
    """Check the csv at `path` by the rules of the official scorer and against the test images in `root`."""
    table, findings = _read(path)
    if table is None:
        return findings
    expected = test_ids(root)
    if len(expected):
        listed = pd.Index(expected)
        findings += bad_rows(table, ~table["image"].isin(listed).to_numpy(), "the image is not a test image")
        absent = listed[~listed.isin(table["image"])]
        if len(absent):
            findings.append(Finding("error", f"images are missing: {len(absent)}, the first is {absent[0]!r}"))
    else:
        findings.append(
            Finding(
                "warning",
                "there are no test images to compare the rows with: "
                "kit download ham10000 --add --from ISIC2018_Task3_Test_Input.zip",
            )
        )
    if not any(finding.level == "error" for finding in findings):
        tied = _predicted(table) < 0
        findings += bad_rows(table, tied, "two classes share the largest confidence, which counts as wrong")
    return findings


def _read(path: Path) -> tuple[pd.DataFrame | None, list[Finding]]:
    """Read the csv as `image` and `COLUMNS`, None if one is missing, and check the rules that need no test images."""
    table, findings = read_submission(path)
    if table is None or (findings := _check_columns(table)):
        return None, findings
    image = table["image"].str.replace(r"\.jpg$", "", case=False, regex=True)
    table = table.assign(image=image)[["image", *COLUMNS]]
    findings = bad_rows(table, table["image"].duplicated().to_numpy(), "the image appears twice")
    return table, findings + _check_values(table)


def _check_columns(table: pd.DataFrame) -> list[Finding]:
    expected = ("image", *COLUMNS)
    absent = [name for name in expected if name not in table]
    unknown = [name for name in table if name not in expected]
    texts = [f"columns are missing: {', '.join(absent)}"] * bool(absent)
    texts += [f"columns unknown to the scorer: {', '.join(unknown)}"] * bool(unknown)
    return [Finding("error", text) for text in texts]


def _check_values(table: pd.DataFrame) -> list[Finding]:
    findings: list[Finding] = []
    for name in COLUMNS:
        text = table[name].str.strip()
        value = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
        empty = text.str.lower().isin(["", "nan", "na", "null", "none", "n/a"]).to_numpy()
        findings += bad_rows(table, empty, f"{name} is empty", name)
        findings += bad_rows(table, np.isnan(value) & ~empty, f"{name} is not a number", name)
        findings += bad_rows(table, (value < 0) | (value > 1), f"{name} lies outside 0..1", name)
        if len(text) and text.str.fullmatch(r"[+-]?\d+").all():
            findings.append(
                Finding(
                    "error",
                    f"{name} holds whole numbers only, which the scorer does not accept: write 0.0 and 1.0",
                )
            )
    return findings


def grade(path: Path, truth: Path) -> Mapping[str, float]:
    """Return the official score of the csv at `path`, then the numbers behind it, by name.

    Args:
        path: a csv that passes `check`.
        truth: the published csv: `image_id` and `dx`, or `image` and one column of 0 and 1 per class; a column
            `score_weight` is used if present.

    Raises:
        KitError: a rule is broken, or the images are not those of the truth.
    """
    table, broken = _read(path)
    if table is None or broken:
        raise KitError(f"{path}: {broken[0].text}: kit submit ham10000 --dry-run --file {path} lists every fault")
    known = read_table(truth, (), "give --truth the ground truth of the test set")
    labels = labels_of(known, truth)
    refuse_repeated(pd.Series(labels.index), truth)
    if set(COLUMNS) <= set(known) and not known[list(COLUMNS)].apply(pd.to_numeric).isin((0, 1)).all(axis=None):
        raise KitError(
            f"{truth} holds confidences between 0 and 1, so it is a submission, not the ground truth: give "
            "--truth the published csv"
        )
    predicted = pd.Series(_predicted(table), index=table["image"])
    absent, unknown = labels.index.difference(predicted.index), predicted.index.difference(labels.index)
    if len(absent) or len(unknown):
        first = absent[0] if len(absent) else unknown[0]
        raise KitError(
            f"{path} and {truth} do not list the same images: {len(absent)} are missing, {len(unknown)} are not "
            f"in the truth, the first is {first}: give the truth of these test images"
        )
    weight = pd.Series(1.0, index=labels.index)
    if "score_weight" in known:
        weight[:] = numbers_of(known, "score_weight", truth, "correct it", 0)
    weight[weight.index == WITHOUT_WEIGHT] = 0.0
    if not weight.sum():
        raise KitError(f"{truth} has no image with a score_weight above 0: give --truth the published csv")
    return _scores(labels.to_numpy(), predicted[labels.index].to_numpy(), weight.to_numpy())


def _scores(target: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Return the mean recall of the classes that occur, each class's recall, and accuracy; -1 means undecided."""
    total = np.bincount(target, weight, len(CLASSES))
    correct = np.bincount(target, weight * (predicted == target), len(CLASSES))
    occurs = total > 0
    scores = {"balanced_accuracy": float((correct[occurs] / total[occurs]).mean())}
    scores |= {f"recall_{name}": float(correct[k] / total[k]) for k, name in enumerate(CLASSES) if occurs[k]}
    scores["accuracy"] = float(correct.sum() / total.sum())
    scores["undecided"] = float((predicted < 0).sum())
    return scores | {"images": float(len(target)), "without_weight": float((weight == 0).sum())}


def _predicted(table: pd.DataFrame) -> np.ndarray:
    """Return the class number of each row's largest confidence; -1 if two classes share it."""
    values = table[list(COLUMNS)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    undecided = (values == values.max(1, keepdims=True)).sum(1) != 1
    return np.where(undecided, -1, values.argmax(1))
