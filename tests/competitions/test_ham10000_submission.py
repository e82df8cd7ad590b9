"""HAM10000's csv and score, held against the official scorer (isic-challenge-scoring), rule by rule."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from kit.data.index import Index
from kit.errors import KitError
from kit.scoring.predictions import Predictions
from kit_ham10000.dataset import CLASSES
from kit_ham10000.submission import COLUMNS, check, grade, write

# The scorer was written for an older pandas.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
IDS = [f"ISIC_{number:07d}" for number in range(35060, 35074)]  # ISIC_0035068 among them
TARGET = np.arange(len(IDS)) % 7


@pytest.fixture
def official(monkeypatch):
    """(csv, truth) -> balanced accuracy by the official scorer, which raises for a csv that it refuses."""
    scorer = pytest.importorskip(
        "isic_challenge_scoring.classification",
        reason="the official scorer is not there: .venv/bin/python -m pip install -e '.[isic]' (needs a C compiler)",
    )
    metric = scorer.ClassificationMetric.BALANCED_ACCURACY
    # The scorer calls a method by the name that pandas had for it before its third version.
    monkeypatch.setattr(pd.DataFrame, "applymap", pd.DataFrame.map, raising=False)

    def score(path: Path, truth: Path) -> float:
        with truth.open() as known, path.open() as given:
            return scorer.ClassificationScore.from_stream(known, given, metric).overall

    return score


@pytest.fixture
def root(tmp_path) -> Path:
    """A data folder with the test images."""
    folder = tmp_path / "data" / "ISIC2018_Task3_Test_Input"
    folder.mkdir(parents=True)
    for id_ in IDS:
        (folder / f"{id_}.jpg").touch()
    return folder.parent


@pytest.fixture
def truth(tmp_path) -> Path:
    table = pd.DataFrame(np.eye(7)[TARGET], columns=COLUMNS)
    table.insert(0, "image", IDS)
    table.to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path / "truth.csv"


def written(path: Path, values: np.ndarray) -> Path:
    frame = pd.DataFrame({"id": IDS, "files": [("x.png",)] * len(IDS)})
    index = Index(path.parent, "multiclass", CLASSES, frame.assign(target=0).iloc[:0], frame)
    write(Predictions(np.array(IDS, object), CLASSES, values.astype(np.float32)), index, path)
    return path


def draw(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(7), len(IDS))


def rows(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


def put(path: Path, table: list[list[str]]) -> Path:
    path.write_text("".join(",".join(row) + "\n" for row in table))
    return path


def errors(path: Path, root: Path) -> list[str]:
    return [finding.text for finding in check(path, root) if finding.level == "error"]


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_that_of_the_official_scorer(tmp_path, root, truth, official, seed):
    path = written(tmp_path / "submission.csv", draw(seed))
    assert errors(path, root) == []
    scores = grade(path, truth)
    assert scores["balanced_accuracy"] == pytest.approx(official(path, truth), abs=1e-12)
    kept = np.array(IDS) != "ISIC_0035068"
    answers = pd.read_csv(path)[list(COLUMNS)].to_numpy().argmax(1)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(TARGET[kept], answers[kept]))
    assert scores["without_weight"] == 1
    assert next(iter(scores)) == "balanced_accuracy"


def test_an_image_counts_for_nothing(tmp_path, truth, official):
    """ISIC_0035068, by whose answer alone these two differ."""
    values = np.eye(7)[TARGET] * 0.6 + 0.05
    wrong = values.copy()
    wrong[IDS.index("ISIC_0035068")] = np.roll(values[IDS.index("ISIC_0035068")], 1)
    both = [written(tmp_path / f"{number}.csv", each) for number, each in enumerate((values, wrong))]
    assert [grade(path, truth)["balanced_accuracy"] for path in both] == [1.0, 1.0]
    assert [official(path, truth) for path in both] == [1.0, 1.0]


@pytest.mark.parametrize(
    "values",
    [
        np.eye(7)[TARGET],
        np.full((len(IDS), 7), 1 / 7),
        np.zeros((len(IDS), 7)),
        np.eye(7)[TARGET] * 1e-9 + (1 - 1e-9) / 7,
    ],
)
def test_hard_equal_and_empty_confidences_are_written_so_that_they_count(tmp_path, root, truth, official, values):
    path = written(tmp_path / "submission.csv", values)
    assert errors(path, root) == []
    official(path, truth)
    table = pd.read_csv(path)[list(COLUMNS)].to_numpy()
    assert (table.dtype, table.min() >= 0, table.max() <= 1) == (np.float64, True, True)
    assert ((table == table.max(1, keepdims=True)).sum(1) == 1).all()
    assert (table.argmax(1) == values.astype(np.float32).argmax(1)).all()


def no_image(table):
    return [["picture", *table[0][1:]], *table[1:]]


def missing_column(table):
    return [row[:-1] for row in table]


def further_column(table):
    return [[*row, "UNK" if not number else "0.1"] for number, row in enumerate(table)]


def doubled(table):
    return [*table, table[1]]


def doubled_with_ending(table):
    return [*table, [f"{table[1][0]}.jpg", *table[1][1:]]]


def empty(table):
    return cell(table, "")


def not_a_number(table):
    return cell(table, "NaN")


def text(table):
    return cell(table, "high")


def whole_numbers(table):
    return [[row[0], "MEL" if not number else "0", *row[2:]] for number, row in enumerate(table)]


def below(table):
    return cell(table, "-0.1")


def above(table):
    return cell(table, "1.01")


def image_lacking(table):
    return table[:-1]


def image_of_no_test(table):
    return [*table, ["ISIC_0000001", *table[1][1:]]]


def cell(table, value):
    return [*table[:3], [table[3][0], value, *table[3][2:]], *table[4:]]


RULES = [
    no_image,
    missing_column,
    further_column,
    doubled,
    doubled_with_ending,
    empty,
    not_a_number,
    text,
    whole_numbers,
    below,
    above,
    image_lacking,
    image_of_no_test,
]


@pytest.mark.parametrize("broken", RULES, ids=lambda rule: rule.__name__)
def test_what_the_official_scorer_refuses_is_an_error(tmp_path, root, truth, official, broken):
    from isic_challenge_scoring.types import ScoreError

    path = put(tmp_path / "broken.csv", broken(rows(written(tmp_path / "right.csv", draw()))))
    with pytest.raises(ScoreError):
        official(path, truth)
    assert errors(path, root)
    with pytest.raises(KitError):
        grade(path, truth)


def other_order_of_columns(table):
    return [[row[0], *row[:0:-1]] for row in table]


def other_order_of_rows(table):
    return [table[0], *table[:0:-1]]


def with_ending(table):
    return [table[0], *([f"{row[0]}.JPG", *row[1:]] for row in table[1:])]


@pytest.mark.parametrize(
    "harmless", [other_order_of_columns, other_order_of_rows, with_ending], ids=lambda rule: rule.__name__
)
def test_what_the_official_scorer_takes_is_taken(tmp_path, root, truth, official, harmless):
    right = written(tmp_path / "right.csv", draw())
    path = put(tmp_path / "other.csv", harmless(rows(right)))
    assert errors(path, root) == []
    assert grade(path, truth) == grade(right, truth)
    assert official(path, truth) == pytest.approx(grade(path, truth)["balanced_accuracy"])


def test_a_tie_counts_as_wrong_and_is_an_error_of_the_check(tmp_path, root, truth, official):
    values = np.eye(7)[TARGET] * 0.6 + 0.05
    table = rows(written(tmp_path / "right.csv", values))
    table[1][1:] = ["0.5", "0.5", "0.0", "0.0", "0.0", "0.0", "0.0"]  # the first row, of mel
    path = put(tmp_path / "tied.csv", table)
    assert any("share the largest" in found for found in errors(path, root))
    scores = grade(path, truth)
    assert scores["undecided"] == 1
    assert scores["recall_mel"] == 0.5
    assert scores["balanced_accuracy"] == pytest.approx(official(path, truth))


def test_both_published_forms_of_the_truth_and_weights_are_read(tmp_path, truth):
    path = written(tmp_path / "submission.csv", draw())
    names = pd.DataFrame({"lesion_id": "HAM_1", "image_id": IDS, "dx": [CLASSES[number] for number in TARGET]})
    names.to_csv(tmp_path / "names.csv", index=False)
    assert grade(path, tmp_path / "names.csv") == grade(path, truth)
    heavy = pd.read_csv(truth).assign(score_weight=[1.0, 0.0] * 7)
    heavy.to_csv(tmp_path / "weights.csv", index=False)
    kept = (heavy["score_weight"] > 0).to_numpy() & (np.array(IDS) != "ISIC_0035068")
    answers = pd.read_csv(path)[list(COLUMNS)].to_numpy().argmax(1)
    recalls = [np.mean(answers[kept & (k == TARGET)] == k) for k in range(7) if (kept & (k == TARGET)).any()]
    assert grade(path, tmp_path / "weights.csv")["balanced_accuracy"] == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image_id,dx\nISIC_0035060,mole\n", "mole"),
        ("image,MEL\nISIC_0035060,1\n", "image_id and dx"),
        ("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0035060,1,1,0,0,0,0,0\n", "single largest"),
        ("image_id,dx\nISIC_0035060,mel\n", "do not list the same images"),
        ("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0035060,.5,.1,.1,.1,.1,.05,.05\n", "not the ground truth"),
    ],
)
def test_another_truth_is_refused(tmp_path, content, said):
    path = written(tmp_path / "submission.csv", draw())
    (tmp_path / "other.csv").write_text(content)
    with pytest.raises(KitError, match=said):
        grade(path, tmp_path / "other.csv")


def test_without_test_images_the_rows_are_not_held_against_any(tmp_path, root):
    path = written(tmp_path / "submission.csv", draw())
    (tmp_path / "bare").mkdir()
    found = check(path, tmp_path / "bare")
    assert [(finding.level, "--add" in finding.text) for finding in found] == [("warning", True)]


def test_the_csv_has_the_published_header(tmp_path):
    path = written(tmp_path / "submission.csv", draw())
    assert path.read_text().splitlines()[0] == "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    assert pd.read_csv(io.StringIO(path.read_text()))["image"].tolist() == IDS
