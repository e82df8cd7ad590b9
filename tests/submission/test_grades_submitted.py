"""The csv of grades: rounded and warned of without a rule, decided by the cuts with one; the csv of numbers."""

import numpy as np
import pandas as pd
import pytest

from helpers.ordered_runs import trained
from helpers.own_folders import own_folders
from helpers.report_runs import graded
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.decision.apply import rules_of
from kit.decision.tune import Wish, tune_run
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.submission.write import write_submission


@pytest.mark.parametrize("wish", [None, Wish("spread"), Wish("argmax"), Wish(at="0.2,1.9,2.1,3.9")], ids=str)
def test_the_csv_has_the_decided_grades(tmp_path, wish):
    opened = trained(tmp_path / "made", "retina", "epochs=1")
    random, ids = np.random.default_rng(0), opened.index.test["id"].to_numpy(object)
    values = graded(random.integers(0, 5, len(ids)), 5, 0.7, random)
    with own_folders(tmp_path / "made"):
        with opened.run.writing("test.npz") as path:
            Predictions(ids, opened.index.output_names, values).save(path)
        if wish is not None:
            tune_run(opened, wish, Console(json=True))
        run = Run.open(opened.run.path)
        written = write_submission(opened.registry, run)
        rules = rules_of(run)
    rounded = np.floor(values.astype(float) @ np.arange(5) + 0.5)
    expected = rounded if rules is None else rules.rule.predicted(values)
    assert written.valid
    assert pd.read_csv(written.path)["diagnosis"].tolist() == expected.tolist()
    said = [finding.text for finding in written.findings]
    assert said == ([f"the expected grade is rounded: kit thresholds {run.id} tunes that"] if wish is None else [])


def test_numbers_are_written_as_they_are_without_a_warning(tmp_path):
    opened = trained(tmp_path / "made", "biomass", "epochs=1")
    ids = opened.index.test["id"].to_numpy(object)
    values = np.random.default_rng(0).gamma(2, 40, (len(ids), 2)).astype(np.float32)
    with own_folders(tmp_path / "made"):
        with opened.run.writing("test.npz") as path:
            Predictions(ids, opened.index.output_names, values).save(path)
        written = write_submission(opened.registry, OpenRun(opened.registry, opened.run).run)
    assert written.findings == []
    table = pd.read_csv(written.path)
    assert table[["clover", "grass"]].to_numpy() == pytest.approx(values, rel=1e-5)
