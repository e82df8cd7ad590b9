"""The csv for Kaggle: `id_code,sirna`, the siRNA as spelt in `train.csv`; and post-processing by plates."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin import Finding
from kit.plugin.data import Index, base_of, read_table
from kit.plugin.files import atomic
from kit.plugin.predictions import Predictions
from kit.plugin.submission import bad_rows, beside_truth, check_rows
from kit_recursion.dataset import LABELS, MEND, SAMPLE
from kit_recursion.plates import assign, learn_groups

COLUMN = "sirna"


def treatments(predictions: Predictions, index: Index) -> Predictions:
    """Return the mean of both sites, for the classes of treatments only: no test well is a control."""
    wells = predictions.mean_by_id()
    controls = set(index.controls["sirna"]) if len(index.controls) else set()
    kept = [number for number, name in enumerate(wells.classes) if name not in controls]
    return replace(wells, classes=tuple(wells.classes[number] for number in kept), values=wells.values[:, kept])


def plates(predictions: Predictions, index: Index) -> Predictions:
    """Predict each siRNA once per plate, and only siRNAs of the plate's group (`kit_recursion.plates`)."""
    wells = treatments(predictions, index)
    train = index.train.drop_duplicates("id")
    number = pd.Index(wells.classes).get_indexer(pd.Index(index.classes))
    known = train[number[train["target"]] >= 0]
    groups = learn_groups(
        known["experiment"].to_numpy(object),
        known["plate"].str.rsplit("_", n=1).str[1].to_numpy(object),
        number[known["target"]],
        len(wells.classes),
    )
    everything = pd.concat([train, index.test]).drop_duplicates("id").set_index("id").loc[wells.ids]
    experiment, plate = everything["experiment"].to_numpy(object), everything["plate"].to_numpy(object)
    return replace(wells, values=assign(wells.values, experiment, plate, groups))


def write(predictions: Predictions, index: Index, path: Path) -> None:
    """Write the most probable siRNA of each test well, in the order of the sample submission."""
    wells = treatments(predictions, index)
    order = read_table(base_of(index.root, LABELS) / SAMPLE, ("id_code",), MEND)["id_code"]
    ordered = wells.reorder(order[order.isin(set(index.test["id"]))].to_numpy(object))
    chosen = np.asarray(ordered.classes, dtype=object)[ordered.values.argmax(1)]
    with atomic(path) as temporary:
        pd.DataFrame({"id_code": ordered.ids, COLUMN: chosen}).to_csv(temporary, index=False, lineterminator="\n")


def check(path: Path, root: Path) -> list[Finding]:
    """Check the csv at `path` against the sample submission in `root` and the siRNAs of `train.csv`."""
    base = base_of(root, LABELS)
    table, findings = check_rows(path, base / SAMPLE)
    if table is None:
        return findings
    known = set(read_table(base / LABELS, (COLUMN,), MEND)[COLUMN])
    findings += bad_rows(table, ~table[COLUMN].isin(known).to_numpy(), f"{COLUMN} is not in train.csv", COLUMN)
    if not findings and len(table) > 1 and table[COLUMN].nunique() == 1:
        first = table[COLUMN].iloc[0]
        findings.append(Finding("warning", f"{COLUMN} is {first!r} in every row, as in a sample submission"))
    return findings


def grade(path: Path, truth: Path) -> Mapping[str, float]:
    """Return accuracy of the csv at `path` against a csv `id_code,sirna`, and that of each cell type.

    Raises:
        KitError: the wells are not those of the truth, or it spells the siRNAs in the other encoding.
    """
    given, known = beside_truth(path, truth, COLUMN, (COLUMN,), "id_code")
    (ours, theirs) = (series.str.isdigit().all() for series in (given, known))
    if len(known) and ours != theirs:
        raise KitError(
            f"{path} has siRNAs such as {given.iloc[0]!r}, {truth} such as {known.iloc[0]!r}, which is the other "
            "encoding: give the truth of the same copy of the data"
        )
    right = given == known
    cell_type = right.index.to_series().str.split("-").str[0]
    scores = {"accuracy": float(right.mean())}
    scores |= {f"accuracy_{name}": float(share) for name, share in right.groupby(cell_type).mean().items()}
    return scores | {"wells": float(len(right))}
