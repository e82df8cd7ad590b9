"""The whole line of the recursion competition on its miniature, as issue 7 judges it."""

from pathlib import Path

import pandas as pd
import pytest

NAME = "recursion-cellular-image-classification"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_judged_line(kit, tmp_path, seed):
    """A random split flatters by at least .15; masking and assignment raise accuracy at least 1.5 times."""
    kit("download", "recursion", "--miniature", "--seed", seed)
    kit("explore", "recursion")
    assert kit("folds", "recursion", "--folds", 3, "--verify", "--json").json["groups_spanning_folds"] == 0
    by_experiment = kit("train", "recursion", "--folds", 3, "--json").json["score"]["value"]
    evaluated = kit("evaluate", "--postprocess", "--json").json
    assert evaluated["accuracy"] == pytest.approx(by_experiment)
    assert evaluated["postprocessed"] >= 1.5 * by_experiment
    kit("predict")
    submitted = kit("submit", "--postprocess", "--dry-run", "--json").json
    assert submitted["valid"]
    truth = pd.read_csv(tmp_path / "data" / NAME / ".kit" / "sample_test_labels.csv").set_index("id_code")["sirna"]
    given = pd.read_csv(Path(submitted["path"])).set_index("id_code")["sirna"]
    assert (given == truth.loc[given.index]).mean() >= by_experiment
    kit("folds", "recursion", "--folds", 3, "--ignore-groups")
    at_random = kit("train", "recursion", "--folds", 3, "--json").json["score"]["value"]
    assert at_random >= by_experiment + 0.15
