"""Which run a command takes when none is named."""

import pytest

from kit.config import validate
from kit.files import write_json
from kit.run import Run

COMMANDS = {
    "evaluate": (("evaluate",), "with a trained fold", "kit train --resume"),
    "predict": (("predict",), "with a trained fold", "kit train --resume"),
    "gradcam": (("gradcam",), "with a trained fold", "kit train --resume"),
    "thresholds": (("thresholds",), "with out-of-fold predictions", "kit train --resume"),
    "report": (("report", "--text"), "with out-of-fold predictions", "kit train --resume"),
    "submit": (("submit", "--dry-run"), "with predictions", "kit train --resume"),
    "pseudo-label": (("pseudo-label",), "with predictions", "kit train --resume"),
}


def made(competition: str, whole: bool) -> Run:
    """A run that every command would take, or one that has just begun."""
    facts = {"origin": "miniature", "planned": [0], "folds": {"digest": "d"}, "classes": ["a", "b"]}
    run = Run.create(validate({"competition": competition, "dataset": competition, "loss": "bce"}), facts)
    if whole:
        write_json(run.fold_dir(0) / "result.json", {"metric": "x", "score": 0.5, "seconds": 1.0})
        for name in ("oof.npz", "test.npz", "submission.csv"):
            (run.path / name).write_bytes(b"")
    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_an_older_run_of_another_competition_never_stands_in_for_the_newest(kit, name):
    words, wanted, mend = COMMANDS[name]
    older, newest = made("protein", True), made("histopathology", False)
    said = kit(*words, code=2).err
    assert said.count("\n") == 1
    assert f"the newest run is {newest.id}, which is no run {wanted}: {mend} {newest.id}" in said
    assert f"name another, e.g. {older.id}" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_nor_does_an_older_one_of_the_same_competition_without_a_word(kit, name):
    words, _, _ = COMMANDS[name]
    older, newest = made("histopathology", True), made("histopathology", False)
    said = kit(*words, code=2).err
    assert newest.id in said.splitlines()[0]
    assert f"{older.id} is taken" in said if name == "report" else f"e.g. {older.id}" in said


@pytest.mark.parametrize("words", [("submit", "histo", "--dry-run"), ("grade", "histo", "--truth", "t.csv")])
def test_a_competition_that_is_named_has_a_newest_run_of_its_own(kit, words):
    made("histopathology", True)
    newest = made("histopathology", False)
    made("protein", True)
    assert f"the newest run of histopathology is {newest.id}, which is no run with" in kit(*words, code=2).err


@pytest.mark.parametrize(
    ("files", "words", "step"),
    [
        ((), ("grade", "histo", "--truth", "t.csv"), "kit train --resume {}"),
        ((), ("submit", "--dry-run"), "kit train --resume {}"),
        (("fold",), ("grade", "histo", "--truth", "t.csv"), "kit predict {}"),
        (("fold", "test.npz"), ("grade", "histo", "--truth", "t.csv"), "kit submit {} --dry-run"),
        (("fold",), ("pseudo-label",), "kit predict {}"),
        (("blend", "oof.npz", "test.npz"), ("evaluate",), "it is a blend of a, b, name one of these"),
        (("blend", "oof.npz", "test.npz"), ("predict",), "it is a blend of a, b, name one of these"),
        (("blend", "oof.npz", "test.npz"), ("grade", "histo", "--truth", "t.csv"), "kit submit {} --dry-run"),
    ],
)
def test_the_step_that_is_named_is_the_first_that_is_lacking(kit, files, words, step):
    run = made("histopathology", False)
    for name in files:
        if name == "fold":
            write_json(run.fold_dir(0) / "result.json", {"metric": "x", "score": 0.5, "seconds": 1.0})
        elif name == "blend":
            run.update(planned=[], blend={"method": "mean", "members": [{"name": "a"}, {"name": "b"}]})
        else:
            (run.path / name).write_bytes(b"")
    said = kit(*words, code=2).err
    assert f": {step.format(run.id)}\n" in said
