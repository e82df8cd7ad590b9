"""From the check of the data to submission.csv on a machine like Kaggle's: one writable folder, no network.

The walk of one competition is made once; the other tests look at what it left. The slow test walks all four.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.read_only import run_commands, tree
from helpers.training_runs import learned
from kit.run import Run
from kit.training.interrupt import Interrupt

SLUG = "histopathologic-cancer-detection"
TRAIN = ["--model", "small_cnn", "--epochs", 1, "--size", 32, "--batch-size", 8, "--no-pretrained"]


def draw_histo(root: Path, train: int = 24, test: int = 6) -> Path:
    """A folder in the layout of Kaggle, of few patches; tumors are brighter."""
    random = np.random.default_rng(0)
    rows = {"train": ["id,label"], "test": ["id,label"]}
    for split, count in (("train", train), ("test", test)):
        (root / split).mkdir(parents=True)
        for number in range(count):
            label = number % 2
            pixels = random.integers(0, 120, (96, 96, 3), np.uint8) + np.uint8(100 * label)
            cv2.imwrite(str(root / split / f"{split}{number:02d}.tif"), pixels)
            rows[split].append(f"{split}{number:02d},{label if split == 'train' else 0}")
    (root / "train_labels.csv").write_text("\n".join(rows["train"]) + "\n")
    (root / "sample_submission.csv").write_text("\n".join(rows["test"]) + "\n")
    return root


@dataclass
class Walked:
    """What a walk left."""

    kaggle: Path
    done: dict[str, tuple[int, str, str]]
    before: dict[str, tuple[int, int]]

    @property
    def working(self) -> Path:
        return self.kaggle / "working"

    @property
    def run(self) -> Path:
        return next((self.working / "runs").iterdir())


def walk(kaggle: Path, name: str, *more: tuple[object, ...], training: tuple[object, ...] = tuple(TRAIN)) -> Walked:
    """Run every command as a notebook on Kaggle would."""
    (kaggle / "working").mkdir()
    before = tree(kaggle / "input")
    lines = [
        *more,
        ("list",),
        ("check", name, "--json"),
        ("info", name),
        ("folds", name, "--folds", 2),
        ("pack", name, "--size", 32),
        ("explore", name, "--json"),
        ("lr-find", name, "--set", "size=32", *TRAIN[:2], "--set", "pretrained=false"),
        ("bench", name, "--size", 32, "--seconds", 0.01, *TRAIN[:2]),
        ("train", name, "--folds", 2, *training),
        ("evaluate",),
        ("report",),
        ("gradcam", "--worst", 2),
        ("thresholds",),
        ("predict",),
        ("submit", "--dry-run"),
        ("submit", "--out", "submission.csv"),
        ("runs",),
        ("log", name),
        ("verify",),
        ("download", name),
    ]
    found = run_commands(
        lines, [kaggle / "input"], kaggle / "working", kaggle, everything=True, KIT_DATA="", KIT_RUNS="", KIT_CACHE=""
    )
    return Walked(kaggle, {str(words[0]): done for words, done in zip(lines, found, strict=True)}, before)


def assert_walked(walked: Walked) -> None:
    for name, (code, out, err) in walked.done.items():
        # Some competitions have no thresholds.
        assert code == 0 or (code == 2 and name == "thresholds"), f"kit {name}:\n{out}{err}"
    assert tree(walked.kaggle / "input") == walked.before
    assert {path.name for path in walked.working.iterdir()} >= {"submission.csv", "runs", "kit-cache"}


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    kaggle = tmp_path_factory.mktemp("machine") / "kaggle"
    draw_histo(kaggle / "input" / SLUG)
    return walk(kaggle, "histo")


def test_the_walk_ends_with_a_submission_and_leaves_the_input_alone(walked):
    assert_walked(walked)
    checked = json.loads(walked.done["check"][1])
    assert (checked["origin"], checked["ok"]) == ("folder", True)
    assert "folder" in walked.done["list"][1]
    lines = (walked.working / "submission.csv").read_text().splitlines()
    assert lines[0] == "id,label"
    assert len(lines) == 7
    assert "checked, ready to send" in walked.done["submit"][1]
    assert "nothing to do" in walked.done["download"][1]
    (cache,) = (walked.working / "kit-cache").iterdir()
    assert {"folds", "packed", "explore"} <= {path.name for path in cache.iterdir()}
    assert {"lr-find-small_cnn.png"} < {path.name for path in (cache / "explore").iterdir()}


@pytest.mark.parametrize("at", ["input/competitions/{slug}", "input/datasets/{owner}/{slug}"])
def test_the_newer_places_of_kaggles_machine(tmp_path, monkeypatch, at):
    from kit.paths import data_dir

    monkeypatch.setattr("kit.paths.KAGGLE", tmp_path)
    slug = "someone/leaves" if "owner" in at else "leaves"
    folder = tmp_path / at.format(owner="someone", slug="leaves")
    assert data_dir(slug) == tmp_path / "data" / "leaves"
    folder.mkdir(parents=True)
    assert data_dir(slug) == tmp_path / "data" / "leaves", "there is nothing in it"
    (folder / "train.csv").write_text("id\n")
    assert data_dir(slug) == folder
    (tmp_path / "data" / "leaves" / ".kit").mkdir(parents=True)
    (tmp_path / "data" / "leaves" / ".kit" / "lock").touch()
    assert data_dir(slug) == folder, "a refused download leaves no more"
    (tmp_path / "data" / "leaves" / "train.csv").write_text("id\n")
    assert data_dir(slug) == tmp_path / "data" / "leaves"


# Commands on a read-only run: what they say, and what they write elsewhere.
ON_A_RUN = [
    (("runs",), 0, "finished", ""),
    (("log", "histo"), 0, "roc_auc", ""),
    (("report", "{run}", "--text"), 0, "", ""),
    (("evaluate", "{run}"), 0, "roc_auc", ""),
    (("verify", "{run}"), 0, "as they were written", ""),
    (("predict", "{run}", "--out", "test.npz"), 0, "--predictions test.npz --out submission.csv", "test.npz"),
    (("submit", "{run}", "--out", "first.csv"), 0, "ready to send", "first.csv"),
    (("submit", "{run}", "--predictions", "test.npz", "--out", "new.csv"), 0, "ready to send", "new.csv"),
    (("report", "{run}", "--out", "page"), 0, "report.html", "page/report.html"),
    (("gradcam", "{run}", "--worst", 2, "--out", "cam"), 0, "grid.png", "cam/grid.png"),
    (("gradcam", "{run}", "--worst", 2, "--out", "page"), 2, "page holds something else", ""),
    (("pseudo-label", "{run}", "--min-confidence", 0.5, "--out", "labels.csv"), 0, "at 0.5 or more", "labels.csv"),
    (("grade", "histo", "--run", "{run}", "--truth", "{truth}"), 0, "is not entered into the run", ""),
    (("grade", "histo", "--file", "first.csv", "--truth", "{truth}"), 0, "roc_auc", ""),
    (("verify", "histo"), 0, "as they were written", ""),
    (("runs", "--compare", "{run}", "{second}"), 0, "comparable", ""),
    (("pseudo-label", "{run}", "--min-confidence", 0.5), 5, "or give --out FILE", ""),
    (("thresholds", "{run}"), 5, "copy it", ""),
    (("thresholds", "{run}", "--at", "tumor=0.4"), 5, "copy it", ""),
    (("blend", "{run}", "{second}"), 5, "set KIT_RUNS", ""),
    (("join", "{run}", "{second}"), 2, "kit blend is for runs of the same rows", ""),
    (("predict", "{run}"), 5, "or give --out FILE", ""),
    (("submit", "{run}"), 5, "or give --out FILE", ""),
    (("submit", "{run}", "--dry-run"), 5, "or give --out FILE", ""),
    (("report", "{run}"), 5, "--out FOLDER", ""),
    (("gradcam", "{run}", "--worst", 2), 5, "--out FOLDER", ""),
    (("train", "--resume", "{run}"), 5, "copy it", ""),
    (("train", "histo", "--folds", 2), 5, "set KIT_RUNS", ""),
]


def test_runs_that_are_read_only_are_read_and_written_elsewhere(walked, tmp_path):
    runs = shutil.copytree(walked.run.parent, tmp_path / "runs")
    run, before = runs / walked.run.name, tree(runs)
    second = shutil.copytree(run, tmp_path / "others" / "second")
    truth = tmp_path / "truth.csv"
    truth.write_text("id,label\n" + "".join(f"test{number:02d},{number % 2}\n" for number in range(6)))
    lines = [[str(word).format(run=run, second=second, truth=truth) for word in words] for words, *_ in ON_A_RUN]
    folders = {"KIT_DATA": str(tmp_path / "none"), "KIT_RUNS": str(runs), "KIT_CACHE": str(tmp_path / "cache")}
    found = run_commands(lines, [walked.kaggle / "input", runs], tmp_path, walked.kaggle, **folders)
    for (words, wanted, said, written), (code, out, err) in zip(ON_A_RUN, found, strict=True):
        assert wanted is None or code == wanted, f"kit {words}:\n{out}{err}"
        assert said in " ".join((out + err).split()), words
        assert not written or (tmp_path / written).is_file(), words
        assert not code or err.count("error: ") == 1, words
    assert tree(runs) == before
    same = (walked.working / "submission.csv").read_text()
    assert (tmp_path / "first.csv").read_text() == (tmp_path / "new.csv").read_text() == same


def test_data_that_kit_made_and_that_is_read_only_by_now_keeps_its_folds_and_packs(tmp_path):
    raw = draw_histo(tmp_path / "raw")
    shutil.make_archive(str(tmp_path / "d"), "zip", raw)
    folders = {"KIT_DATA": str(tmp_path / "data"), "KIT_RUNS": str(tmp_path), "KIT_CACHE": str(tmp_path / "cache")}
    first = [("download", "histo", "--from", tmp_path / "d.zip"), ("folds", "histo"), ("pack", "histo", "--size", 32)]
    assert [code for code, *_ in run_commands(first, [raw], tmp_path, **folders)] == [0, 0, 0]
    before = tree(tmp_path / "data")
    then = [
        ("pack", "histo", "--size", 32),
        ("pack", "histo", "--size", 32, "--verify"),
        ("folds", "histo", "--folds", 2),
        ("explore", "histo"),
        ("verify", "histo"),
        ("download", "histo", "--from", tmp_path / "d.zip", "--force"),
    ]
    found = run_commands(then, [tmp_path / "data"], tmp_path, **folders)
    assert [code for code, *_ in found] == [0, 0, 0, 0, 0, 5], found
    assert found[0][1].count("already packed") == 2
    assert "cache" in found[2][1]
    assert tree(tmp_path / "data") == before


@pytest.mark.parametrize(("first", "then"), [("folder", "archive"), ("archive", "folder")])
def test_a_run_goes_on_with_the_same_data_that_came_by_another_way(kit, tmp_path, monkeypatch, first, then):
    raw = draw_histo(tmp_path / "kaggle" / "input" / SLUG)
    shutil.make_archive(str(tmp_path / "d"), "zip", raw)

    def use(origin: str) -> None:
        monkeypatch.setattr("kit.paths.KAGGLE", tmp_path / ("kaggle" if origin == "folder" else "none"))
        monkeypatch.setenv("KIT_DATA", str(tmp_path / origin))

    def trained(code: int) -> Run:
        before = set((tmp_path / "runs").glob("*"))
        kit("train", "histo", "--folds", 2, *TRAIN, code=code)
        (path,) = set((tmp_path / "runs").glob("*")) - before
        return Run.open(path)

    use("archive")
    kit("download", "histo", "--from", tmp_path / "d.zip")
    use(first)
    whole, looks = trained(0), [0]
    check = Interrupt.check

    def stopping(self: Interrupt) -> None:
        looks[0] += 1
        self.requested = looks[0] == 3
        check(self)

    with monkeypatch.context() as patched:
        patched.setattr(Interrupt, "check", stopping)
        stopped = trained(130)
    use(then)
    kit("train", "--resume", stopped.path)
    assert learned(stopped) == learned(whole)
    for command in ("evaluate", "report", "predict", "submit --dry-run", "gradcam --worst 1", "verify"):
        name, *options = command.split()
        assert "may not fit" not in kit(name, stopped.path, *options).err
    assert kit("check", "histo", "--json").json["origin"] == then
    table = (tmp_path / then / SLUG if then == "archive" else raw) / "train_labels.csv"
    table.write_text(table.read_text().replace("train00,0", "train00,1"))
    said = "with other ids or labels" if then == "folder" else "restores it"
    assert said in kit("evaluate", stopped.path, code=2).err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("histo", SLUG),
        ("protein", "human-protein-atlas-image-classification"),
        ("recursion", "recursion-cellular-image-classification"),
        ("ham10000", "skin-cancer-mnist-ham10000"),
    ],
)
def test_every_competition_is_walked_on_kaggles_machine(kit, tmp_path, name, slug):
    """HAM10000 has its test images in a dataset of their own."""
    kit("download", name, "--miniature")
    kaggle, more = tmp_path / "kaggle", []
    shutil.copytree(tmp_path / "data" / slug, kaggle / "input" / slug, ignore=shutil.ignore_patterns(".kit"))
    if name == "ham10000":
        (kaggle / "input" / "isic-2018").mkdir()
        shutil.move(kaggle / "input" / slug / "ISIC2018_Task3_Test_Input", kaggle / "input" / "isic-2018")
        more = [("download", name, "--add", "--from", kaggle / "input" / "isic-2018")]
    walked = walk(kaggle, name, *more, training=("--epochs", 1, "--no-pretrained", "--model", "small_cnn"))
    assert_walked(walked)
