"""The csv of ISIC 2018 task 3: `image` and a confidence in 0..1 for each class; its rules, and its official score.

The rules are those of the official scorer (ImageMarkup/isic-challenge-scoring); columns may stand in any order, and an
image may end in `.jpg`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin import Finding
from kit.plugin.data import Index, read_table
from kit.plugin.files import atomic
from kit.plugin.predictions import Predictions
from kit.plugin.submission import bad_rows, read_submission
from kit_ham10000.dataset import CLASSES, labels_of, test_ids

COLUMNS = tuple(name.upper() for name in CLASSES)
DIGITS = 8
WITHOUT_WEIGHT = "ISIC_0035068"  # the official scorer leaves it out


def write(predictions: Predictions, index: Index, path: Path) -> None:
    """Write the confidences of each test image, in the order of the ids, as decimals of `DIGITS` places.

    A decimal point stands in every number, or the scorer would refuse a column of whole ones; and where two classes
    share the largest number after rounding the others yield by one unit in the last place: a tie counts as wrong.
    """
    ordered = predictions.mean_by_id().reorder(index.test["id"].to_numpy(object))
    unit = 10**DIGITS
    counts = np.rint(ordered.values.astype(np.float64) * unit).astype(np.int64)
    rows, chosen = np.arange(len(counts)), ordered.values.argmax(1)
    tied = counts == counts[rows, chosen][:, None]
    tied[rows, chosen] = False
    counts[tied] -= 1
    nothing = counts[rows, chosen] == 0  # every class 0: none is below another
    counts[rows[nothing], chosen[nothing]] = 1
    table = pd.DataFrame(np.maximum(counts, 0) / unit, columns=COLUMNS)
    table.insert(0, "image", ordered.ids)
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{DIGITS}f", lineterminator="\n")


def check(path: Path, root: Path) -> list[Finding]:
    """Findings about the csv at `path`: the rules of the official scorer, held against the test images in `root`."""
    table, findings = _read(path)
    if table is None:
        return findings
    expected = test_ids(root)
    if len(expected):
        listed = pd.Index(expected)
        findings += bad_rows(table, ~table["image"].isin(listed).to_numpy(), "the image is no test image")
        absent = listed[~listed.isin(table["image"])]
        if len(absent):
            findings.append(Finding("error", f"images are missing: {len(absent)}, the first is {absent[0]!r}"))
    else:
        findings.append(
            Finding(
                "warning",
                "no test images are here to hold the rows against: "
                "kit download ham10000 --add --from ISIC2018_Task3_Test_Input.zip",
            )
        )
    if not any(finding.level == "error" for finding in findings):
        tied = _answers(table) < 0
        findings += bad_rows(table, tied, "two classes share the largest confidence, which counts as wrong")
    return findings


def _read(path: Path) -> tuple[pd.DataFrame | None, list[Finding]]:
    """The csv as `image` and `COLUMNS`, None where these are not there, and what breaks a rule in it by itself."""
    table, findings = read_submission(path)
    if table is None or (findings := _check_columns(table)):
        return None, findings
    image = table["image"].str.replace(r"\.jpg$", "", case=False, regex=True)
    table = table.assign(image=image)[["image", *COLUMNS]]
    findings = bad_rows(table, table["image"].duplicated().to_numpy(), "the image stands there already")
    return table, findings + _check_values(table)


def _check_columns(table: pd.DataFrame) -> list[Finding]:
    wanted = ("image", *COLUMNS)
    absent = [name for name in wanted if name not in table]
    strange = [name for name in table if name not in wanted]
    texts = [f"columns are missing: {', '.join(absent)}"] * bool(absent)
    texts += [f"columns that the scorer does not know: {', '.join(strange)}"] * bool(strange)
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
                    f"{name} holds whole numbers only, which the scorer takes for no confidences: write 0.0 and 1.0",
                )
            )
    return findings


def grade(path: Path, truth: Path) -> Mapping[str, float]:
    """The official score of the csv at `path` and what stands behind it, by name; the score is the first.

    Args:
        path: a csv that passes `check`.
        truth: the published csv: `image_id` and `dx`, or `image` and one column of 0 and 1 a class; a column
            `score_weight` is heeded.

    Raises:
        KitError: the rules are broken, or the images are not those of the truth.
    """
    table, broken = _read(path)
    if table is None or broken:
        raise KitError(f"{path}: {broken[0].text}: kit submit ham10000 --dry-run --file {path} names all that is wrong")
    known = read_table(truth, (), "give --truth the ground truth of the test")
    labels = labels_of(known, truth)
    if set(COLUMNS) <= set(known) and not known[list(COLUMNS)].apply(pd.to_numeric).isin((0, 1)).all(axis=None):
        raise KitError(
            f"{truth} holds confidences between 0 and 1, so it is a submission and no ground truth: give "
            "--truth the published csv"
        )
    answers = pd.Series(_answers(table), index=table["image"])
    absent, strange = labels.index.difference(answers.index), answers.index.difference(labels.index)
    if len(absent) or len(strange):
        first = absent[0] if len(absent) else strange[0]
        raise KitError(
            f"{path} and {truth} are not of the same images: {len(absent)} are missing, {len(strange)} not "
            f"in the truth, the first is {first}: give the truth of these test images"
        )
    weight = pd.Series(1.0, index=labels.index)
    if "score_weight" in known:
        weight[:] = pd.to_numeric(known["score_weight"]).to_numpy()
    weight[weight.index == WITHOUT_WEIGHT] = 0.0
    return _scores(labels.to_numpy(), answers[labels.index].to_numpy(), weight.to_numpy())


def _scores(target: np.ndarray, answer: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Mean recall of the classes that occur, what it is made of, and plain accuracy; -1 is an undecided answer."""
    total = np.bincount(target, weight, len(CLASSES))
    right = np.bincount(target, weight * (answer == target), len(CLASSES))
    occurs = total > 0
    scores = {"balanced_accuracy": float((right[occurs] / total[occurs]).mean())}
    scores |= {f"recall_{name}": float(right[k] / total[k]) for k, name in enumerate(CLASSES) if occurs[k]}
    scores["accuracy"] = float(right.sum() / total.sum())
    scores["undecided"] = float((answer < 0).sum())
    return scores | {"images": float(len(target)), "without_weight": float((weight == 0).sum())}


def _answers(table: pd.DataFrame) -> np.ndarray:
    """The class number of each row's largest confidence; -1 where two share it."""
    values = table[list(COLUMNS)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    undecided = (values == values.max(1, keepdims=True)).sum(1) != 1
    return np.where(undecided, -1, values.argmax(1))
