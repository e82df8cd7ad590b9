"""Blending: what another tool predicted, and members that do not go together."""

import numpy as np
import pandas as pd
import pytest

from helpers.blend_runs import LABELS, World, estimates, read
from kit.scoring.predictions import Predictions


@pytest.mark.parametrize("task", LABELS)
def test_a_csv_in_any_order_is_as_the_run_it_came_from(kit, monkeypatch, tmp_path, task):
    world = World(task, monkeypatch)
    a, b = world.run(2.0, 1), world.run(2.5, 2)
    oof, test = world.csv(tmp_path / "oof.csv", 2.5, 2, fold=True), world.csv(tmp_path / "t.csv", 2.5, 2, test=True)
    ours = kit("blend", a.id, b.id, "--method", "weights", "--json").json
    done = kit("blend", a.id, "--oof", oof, "--test", test, "--method", "weights", "--json")
    assert "no column fold" not in done.err
    assert list(estimates(done.json).values()) == list(estimates(ours).values())
    assert list(done.json["weights"].values()) == list(ours["weights"].values())
    assert list(done.json["weights"]) == [a.id, str(oof)]
    for name in ("oof.npz", "test.npz"):
        one, other = (read(document["run"], name, tmp_path / "runs") for document in (ours, done.json))
        assert one.ids.tolist() == other.ids.tolist()
        assert np.array_equal(one.values, other.values)


def test_that_a_tool_kept_to_the_folds_is_known_only_by_its_column(kit, monkeypatch, tmp_path):
    world = World("binary", monkeypatch)
    a = world.run(2.0, 1)
    oof, test = world.csv(tmp_path / "oof.csv", 2.5, 2), world.csv(tmp_path / "t.csv", 2.5, 2, test=True)
    said = kit("blend", a.id, "--oof", oof, "--test", test).err
    assert f"{oof} has no column fold" in said
    table = pd.read_csv(oof, dtype={"image": str})
    table["fold"] = table["image"].map(dict(zip(world.ids, world.fold, strict=True)))
    table.loc[4, "fold"] += 1
    table.to_csv(oof, index=False)
    said = kit("blend", a.id, "--oof", oof, "--test", test, code=2).err
    assert f"{oof}: id '{table['image'][4]}' is in fold {table['fold'][4]}, but in fold" in said
    assert str(a.path / "folds.csv") in said


def with_cell(table: pd.DataFrame, text: str) -> pd.DataFrame:
    table["b"] = table["b"].astype(object)
    table.loc[7, "b"] = text
    return table


WRONG_FILES = {
    "rows": (lambda t: t.iloc[:-1], "no row for id '089', one of the out-of-fold ids"),
    "further": (lambda t: pd.concat([t, t.iloc[:1].assign(image="x9")]), "a row for id 'x9', which is not one of"),
    "doubled": (lambda t: pd.concat([t, t.iloc[3:4]]), "two rows for id '003'"),
    "class": (lambda t: t.drop(columns="b"), "lacks the column 'b'"),
    "column": (lambda t: t.assign(area=1), "has a column 'area'"),
    "above": (lambda t: with_cell(t, "1.5"), "b of id '007' is '1.5'"),
    "below": (lambda t: with_cell(t, "-0.1"), "b of id '007' is '-0.1'"),
    "endless": (lambda t: with_cell(t, "inf"), "b of id '007' is 'inf'"),
    "nan": (lambda t: with_cell(t, "nan"), "b of id '007' is 'nan'"),
    "empty": (lambda t: with_cell(t, ""), "b of id '007' is ''"),
    "words": (lambda t: with_cell(t, "high"), "b of id '007' is 'high'"),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_what_is_wrong_with_a_csv(kit, monkeypatch, tmp_path, what):
    world = World("multilabel", monkeypatch)
    change, words = WRONG_FILES[what]
    path, test = world.csv(tmp_path / "oof.csv", 2.0, 2), world.csv(tmp_path / "t.csv", 2.0, 2, test=True)
    table = pd.read_csv(path, dtype={"image": str}).sort_values("image").reset_index(drop=True)
    change(table).to_csv(path, index=False)
    said = kit("blend", world.run(2.0, 1).id, "--oof", path, "--test", test, code=2).err
    assert f"{path}" in said
    assert words in said
    assert said.count("\n") == 1


def test_what_is_wrong_with_files(kit, monkeypatch, tmp_path):
    world = World("binary", monkeypatch)
    run = world.run(2.0, 1).id
    oof, test = world.csv(tmp_path / "oof.csv", 2.0, 2), world.csv(tmp_path / "t.csv", 2.0, 2, test=True)
    broken = tmp_path / "broken.csv"
    for content, words in (
        (b"", "can't be read as csv"),
        (b"\xff\xfe\x00", "can't be read as csv"),
        (b"id\n001\n", "has the columns id: give an id and one column"),
        (b"id,p,q\n001,0.5,0.5\n", "has the columns id, p, q: give an id and one column"),
        (b"id,p\n001,0.5,0.5\n", "rows with more fields than the header"),
        (b"id,p\n001\n", "p of id '001' is"),
    ):
        broken.write_bytes(content)
        said = kit("blend", run, "--oof", broken, "--test", test, code=2).err
        assert f"{broken}" in said
        assert words in said
    assert "is not there" in kit("blend", run, "--oof", tmp_path / "none.csv", "--test", test, code=2).err
    wrong_test = kit("blend", run, "--oof", oof, "--test", oof, code=2).err
    assert "no row for id 't0', one of the test ids" in wrong_test
    assert "1 --oof and 0 --test" in kit("blend", run, "--oof", oof, code=2).err


def test_unlike_runs_are_refused(kit, monkeypatch):
    world = World("binary", monkeypatch)
    a = world.run(2.0, 1)
    others = {
        "belong to leaves and trees": world.run(2.0, 2, competition="trees"),
        "learned from data of origin miniature and kaggle": world.run(2.0, 2, origin="kaggle"),
        "have different classes": world.run(2.0, 2, classes=["tumor", "normal"]),
        "were trained on different folds": world.run(2.0, 2, fold=np.roll(world.fold, 1)),
    }
    for words, other in others.items():
        said = kit("blend", a.id, other.id, code=2).err
        assert words in said
        assert f"runs {a.id} and {other.id}" in said
        assert said.count("\n") == 1
    assert "kit train leaves --folds 3" in said
    assert not [run for run in kit("runs", "--json").json["runs"] if run["model"] == "blend"]


def test_members_that_lack_predictions(kit, monkeypatch):
    world = World("binary", monkeypatch)
    a, b = world.run(2.0, 1), world.run(2.0, 2, rows=np.flatnonzero(world.fold != 2))
    for pair in ((a, b), (b, a)):
        said = kit("blend", *(run.id for run in pair), code=2).err
        assert f"run {b.id} has no out-of-fold prediction" in said
        assert f"kit train --resume {b.id} --fold 2" in said
    c = world.run(2.0, 3)
    with c.writing("test.npz") as path:
        Predictions(world.test_ids[1:], ("tumor",), world.values(2.0, 3)[1][1:]).save(path)
    for pair in ((a, c), (c, a)):
        said = kit("blend", *(run.id for run in pair), code=2).err
        assert f"run {c.id} has no test prediction of id 't0', run {a.id} has one: kit predict {c.id}" in said
    (c.path / "test.npz").unlink()
    assert f"run {c.id} has no test predictions: kit predict {c.id}" in kit("blend", a.id, c.id, code=2).err


def test_wrong_uses_are_one_line(kit, monkeypatch, tmp_path):
    a = World("binary", monkeypatch).run(2.0, 1)
    for words, mend in (
        ((a.id,), "the only member"),
        ((a.id, a.path), "is named twice"),
        ((a.id, a.id + "x"), f"did you mean {a.id}"),
        ((a.id, a.id, "--method", "meen"), "did you mean mean"),
        ((), "kit blend --help"),
    ):
        said = kit("blend", *words, code=2).err
        assert mend in said
        assert said.count("\n") == 1
