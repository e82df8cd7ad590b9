"""A stranger's multi-label competition is scored, tuned and blended by its own metric, whatever that is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import fbeta_score, roc_auc_score

from kit.data.images import read_rgb
from kit.data.index import Index, read_table
from kit.decision.rule import nesting_folds
from kit.decision.thresholds import nested
from kit.hooks.manager import load_plugins
from kit.plugin import Competition, DatasetSpec, MetricSpec, SubmissionSpec, hookimpl
from kit.run import Run
from kit.scoring.predictions import Predictions

TAGS = ("bright", "red", "round")


def column_auc(target, prediction):
    return float(roc_auc_score(target, prediction, average="macro"))


def sample_f2(target, prediction):
    return float(fbeta_score(target, prediction >= 0.5, beta=2, average="samples", zero_division=0))


class Tags:
    """Images with any of three tags; its metric judges ranks (`column_auc`) or predicted sets (`sample_f2`)."""

    def __init__(self, metric: MetricSpec) -> None:
        self.metric = metric

    @hookimpl
    def kit_competitions(self):
        defaults = {"loss": "bce", "model": "small_cnn", "pretrained": False, "size": 16, "folds": 2, "epochs": 2}
        facts = {"task": "multilabel", "classes": TAGS, "metric": self.metric.name, "kaggle": "none"}
        return [Competition("tags", "Tags", "tags", dataset="tags", submission="tags", defaults=defaults, **facts)]

    @hookimpl
    def kit_datasets(self):
        return [DatasetSpec("tags", 3, self.index, lambda files: read_rgb(files[0]), miniature=self.miniature)]

    @hookimpl
    def kit_metrics(self):
        return [self.metric]

    @hookimpl
    def kit_submissions(self):
        return [SubmissionSpec("tags", write=self.write, check=lambda path, root: [])]

    def index(self, root):
        train, test = (read_table(root / f"{name}.csv", ("id", "tags"), "") for name in ("train", "test"))
        frames = [table.assign(files=[(f"{id_}.png",) for id_ in table["id"]]) for table in (train, test)]
        target = [tuple(map(int, text.split())) for text in train["tags"]]
        return Index(root, "multilabel", TAGS, frames[0].assign(target=target), frames[1])

    def miniature(self, root, seed):
        random = np.random.default_rng(seed)
        for name, count in (("train", 60), ("test", 9)):
            rows = ["id,tags"]
            for number in range(count):
                tags = np.flatnonzero(random.random(3) < (0.5, 0.3, 0.15))
                image = random.normal(90 + 40 * (0 in tags), 25, (16, 16, 3))
                image[..., 0] += 60 * (1 in tags)
                image[4:12, 4:12] += 50 * (2 in tags)
                Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(root / f"{name}{number}.png")
                rows.append(f"{name}{number},{' '.join(map(str, tags))}")
            (root / f"{name}.csv").write_text("\n".join(rows) + "\n")

    def write(self, predictions, index, path):
        given = predictions.predicted()
        rows = [" ".join(np.array(TAGS)[row]) for row in given]
        pd.DataFrame({"id": predictions.ids, "tags": rows}).to_csv(path, index=False)


@pytest.fixture
def tags(kit, monkeypatch):
    """The command line with the stranger's plugin, given its metric; two runs are trained."""

    def begin(metric: MetricSpec):
        def with_stranger():
            plugins = load_plugins()
            plugins.add(Tags(metric), "tags", "kit-tags", "1")
            return plugins

        monkeypatch.setattr("kit.cli.app.load_plugins", with_stranger)
        kit("download", "tags", "--miniature")
        runs = [Run.open(Path(kit("train", "tags", "--seed", seed, "--json").json["path"])) for seed in (0, 1)]
        for run in runs:
            kit("predict", run.id)
        return runs

    return begin


def out_of_fold(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, probabilities and folds of a run, read from its files alone."""
    oof = Predictions.load(run.path / "oof.npz")
    data = Path(run.path.parents[1] / "data" / "tags")
    labels = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False).set_index("id")["tags"]
    target = np.array([[str(tag) in labels[id_].split() for tag in range(3)] for id_ in oof.ids], float)
    fold = pd.read_csv(run.path / "folds.csv", dtype={"id": str}).set_index("id")["fold"]
    return target, oof.values, fold.loc[oof.ids].to_numpy()


@pytest.mark.slow
def test_mean_column_auc_judges_probabilities_as_they_are(kit, tags):
    one, two = tags(MetricSpec("column_auc", True, column_auc, ("multilabel",)))
    target, values, _ = out_of_fold(one)
    assert one.score["value"] == pytest.approx(roc_auc_score(target, values, average="macro"))
    assert "scored by column_auc: it has no thresholds to tune" in kit("thresholds", one.id, code=2).err
    assert "thresholds" not in kit("submit", one.id, "--dry-run").out
    blend = kit("blend", one.id, two.id, "--method", "mean", "--json").json
    both = (values.astype(float) + out_of_fold(two)[1]) / 2
    assert blend["scored_by"] == "column_auc"
    assert blend["score"]["value"] == pytest.approx(roc_auc_score(target, both, average="macro"))
    assert kit("evaluate", one.id, "--json").json["column_auc"] == pytest.approx(one.score["value"])


def test_sample_f2_chooses_thresholds_and_is_the_score_of_what_they_predict(kit, tags):
    one, two = tags(MetricSpec("sample_f2", True, sample_f2, ("multilabel",), decision="thresholds", beta=2))
    target, values, fold = out_of_fold(one)
    assert one.score["value"] == pytest.approx(sample_f2(target, values))
    assert "kit thresholds" in kit("submit", one.id, "--dry-run").out
    document = kit("thresholds", one.id, "--json").json
    for method, found in document["methods"].items():
        predicted = nested(method, target, values, nesting_folds(fold, np.arange(len(fold))), beta=2)
        wanted = fbeta_score(target, predicted, beta=2, average="samples", zero_division=0)
        assert found["estimate"] == pytest.approx(wanted), method
    assert document["metric"] == "sample_f2"
    assert document["estimate"]["value"] == max(found["estimate"] for found in document["methods"].values())
    assert document["estimate"]["value"] > one.cross_validated["value"], "F2 wants lower thresholds than 0.5"
    assert Run.open(one.path).score["metric"] == "sample_f2"
    blend = kit("blend", one.id, two.id, "--json").json
    assert blend["scored_by"] == "sample_f2 with thresholds per class, nested"
    oof = out_of_fold(Run.open(Path(blend["path"])))[1]
    by_folds = nested("per-class", target, oof, fold, beta=2)
    assert blend["score"]["value"] == pytest.approx(sample_f2(target, by_folds))
