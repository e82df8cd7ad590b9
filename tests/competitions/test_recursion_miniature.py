"""The miniature of recursion: layout, groups on plates, controls, batch effects."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import kit_recursion
from kit import testing
from kit_recursion import miniature
from kit_recursion.plates import learn_groups

SPEC = kit_recursion.kit_datasets()[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The sample of seed 0 with one test experiment; tests only read it."""
    root = tmp_path_factory.mktemp("recursion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(miniature, "TEST", {"HEPG2": 1, "HUVEC": 0, "RPE": 0, "U2OS": 0})
        miniature.write_miniature(root, 0)
    return root


def test_it_has_the_real_layout(folder):
    index = SPEC.index(folder)
    assert not any(index.missing.values())
    assert index.train["experiment"].nunique() == 12
    assert index.train.groupby("cell_type")["experiment"].nunique().tolist() == [3] * 4
    assert (len(index.train), index.train["id"].nunique()) == (12 * 4 * 8 * 2, 12 * 4 * 8)
    assert (len(index.classes), len(index.test)) == (32, 4 * 8 * 2)
    controls = index.controls.drop_duplicates("id")
    assert controls["negative"].sum() == 13 * 4
    assert (controls.loc[controls["negative"], "well"] == "B02").all()
    assert len(controls) == 13 * 4 * 4
    assert not set(controls["sirna"]) & set(index.classes)
    truth = pd.read_csv(folder / ".kit" / "sample_test_labels.csv")
    assert truth["id_code"].tolist() == pd.read_csv(folder / "sample_submission.csv")["id_code"].tolist()
    assert set(truth["sirna"]) == set(index.classes)
    with Image.open(folder / index.train["files"].iat[0][0]) as image:
        assert (image.size, image.mode) == ((64, 64), "L")


def test_groups_of_eight_lie_on_plates_by_rotation(folder):
    wells = SPEC.index(folder).train.drop_duplicates("id")
    groups = learn_groups(wells["experiment"].to_numpy(), wells["plate"].to_numpy(), wells["target"].to_numpy(), 32)
    assert np.bincount(groups).tolist() == [8] * 4
    assert (wells.groupby("experiment")["target"].nunique() == 32).all()
    layouts = set()
    for _, rows in wells.groupby("experiment"):
        on_plate = [set(groups[part["target"]]) for _, part in rows.groupby("plate")]
        assert [len(found) for found in on_plate] == [1] * 4
        layouts.add(tuple(found.pop() for found in on_plate))
    assert 1 < len(layouts) <= 4
    first = next(iter(layouts))
    assert all(any(layout == first[turn:] + first[:turn] for turn in range(4)) for layout in layouts)


def test_the_statistics_are_those_of_the_images(folder):
    index = SPEC.index(folder)
    rows = index.train.iloc[::97]
    mean, std = SPEC.statistics(index, rows)
    for row, paths in enumerate(index.paths(rows)):
        pixels = SPEC.read(paths).reshape(-1, 6)
        np.testing.assert_allclose(mean[row] * 255, pixels.mean(0), atol=1e-3)
        np.testing.assert_allclose(std[row] * 255, pixels.std(0), atol=1e-3)


def test_experiments_differ_more_than_their_wells_do_and_controls_show_it(folder):
    index = SPEC.index(folder)
    for frame in (index.train, index.controls[index.controls["negative"]]):
        mean = pd.DataFrame(SPEC.statistics(index, frame)[0]).groupby(frame["experiment"].to_numpy())
        assert (mean.mean().std() > mean.std().mean()).sum() >= 4


def test_it_conforms_and_repeats(monkeypatch, tmp_path):
    monkeypatch.setattr(miniature, "TRAIN", {"HEPG2": 1, "HUVEC": 0, "RPE": 0, "U2OS": 1})
    monkeypatch.setattr(miniature, "TEST", {"HEPG2": 1, "HUVEC": 0, "RPE": 0, "U2OS": 0})
    index = testing.check_dataset(SPEC, tmp_path)
    testing.check_submission(kit_recursion.kit_submissions()[0], index)
