"""`kit grade` for protein, recursion and histopathology, against scikit-learn and worked by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

WELLS = ("HEPG2-08_1_B03", "HEPG2-08_1_B04", "U2OS-04_2_C05", "U2OS-04_2_C06")


def csv(path: Path, **columns: list) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_protein_is_macro_f1_as_scikit_learn_has_it(kit, tmp_path):
    random = np.random.default_rng(0)
    hot = [random.random((80, 28)) < share for share in (0.1, 0.15)]
    hot[0][:, 27] = hot[1][:, 27] = False  # neither true nor predicted: counts 0
    ids = [f"id{number}" for number in range(80)]
    texts = [[" ".join(map(str, np.flatnonzero(row))) for row in each] for each in hot]
    truth = csv(tmp_path / "truth.csv", Id=ids, Target=texts[0])
    given = csv(tmp_path / "given.csv", Id=ids[::-1], Predicted=texts[1][::-1])
    graded = kit("grade", "protein", "--truth", truth, "--file", given, "--json").json
    assert (graded["metric"], graded["scores"]["images"]) == ("macro_f1", 80)
    assert graded["value"] == pytest.approx(f1_score(hot[0], hot[1], average="macro", zero_division=0))
    by_class = f1_score(hot[0], hot[1], average=None, zero_division=0)
    assert graded["scores"]["f1_Nucleoplasm"] == pytest.approx(by_class[0])
    assert graded["scores"]["exact_match"] == pytest.approx(accuracy_score(hot[0], hot[1]))
    assert kit("grade", "protein", "--truth", given, "--file", given, "--json").json["value"] == pytest.approx(27 / 28)


def test_recursion_is_accuracy_by_cell_type_too(kit, tmp_path):
    truth = csv(tmp_path / "truth.csv", id_code=list(WELLS), sirna=[5, 7, 9, 11])
    given = csv(tmp_path / "given.csv", id_code=list(WELLS[::-1]), sirna=[11, 8, 7, 5])
    graded = kit("grade", "recursion", "--truth", truth, "--file", given, "--json").json
    assert (graded["metric"], graded["value"]) == ("accuracy", 0.75)
    assert (graded["scores"]["accuracy_HEPG2"], graded["scores"]["accuracy_U2OS"]) == (1.0, 0.5)


WRONG = {
    "protein": ({"Id": ["a", "b"], "Predicted": ["0", "1 2"]}, {"Id": ["a", "b"], "Target": ["0", "1"]}),
    "recursion": ({"id_code": list(WELLS[:2]), "sirna": ["1", "2"]}, {"id_code": list(WELLS[:2]), "sirna": ["1", "2"]}),
    "histopathology": ({"id": ["a", "b"], "label": ["0.5", "1"]}, {"id": ["a", "b"], "label": ["0", "1"]}),
}


@pytest.mark.parametrize(
    ("name", "of_truth", "column", "values", "said"),
    [
        ("protein", True, "Target", ["0", "28"], "not class numbers 0 to 27"),
        ("protein", False, "Predicted", ["x", "1"], "not class numbers 0 to 27"),
        ("recursion", True, "sirna", ["sirna_1", "sirna_2"], "the other encoding"),
        ("histopathology", True, "label", ["1", "1"], "must be 0 and 1, both"),
        ("histopathology", False, "label", ["a", "1"], "label"),
        *((name, True, 0, ["c", "d"], "do not list the same ids: 2 are missing") for name in WRONG),
        *((name, True, 0, ["c", "c"], "two rows for id 'c'") for name in WRONG),
        *((name, False, 0, ["c", "c"], "two rows for id 'c'") for name in WRONG),
    ],
)
def test_what_cannot_be_graded_is_one_line(kit, tmp_path, name, of_truth, column, values, said):
    tables = [dict(columns) for columns in WRONG[name]]
    column = next(iter(tables[of_truth])) if column == 0 else column
    tables[of_truth][column] = values
    given, truth = (csv(tmp_path / f"{place}.csv", **table) for place, table in enumerate(tables))
    err = kit("grade", name, "--truth", truth, "--file", given, code=2).err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("name", "column"), [("protein", "Id"), ("recursion", "id_code"), ("histopathology", "id")])
def test_a_truth_without_the_column_is_named(kit, tmp_path, name, column):
    given = csv(tmp_path / "given.csv", **WRONG[name][0])
    truth = csv(tmp_path / "truth.csv", **{column: ["a", "b"], "other": ["1", "2"]})
    assert "has no column" in kit("grade", name, "--truth", truth, "--file", given, code=2).err


def test_a_miniature_is_graded_against_its_own_truth(kit, store):
    truth = pd.read_csv(store.own / "sample_test_labels.csv")
    given = csv(store.root.parent / "given.csv", id=truth["id"], label=1 - truth["label"])
    assert kit("grade", "histo", "--file", given, "--json").json["value"] == 0.0
    assert "give it with --truth" in kit("grade", "protein", "--file", given, code=2).err
