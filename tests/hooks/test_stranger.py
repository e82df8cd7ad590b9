"""The package of docs/plugins.md, as a stranger would write it: built, installed, tested, trained, submitted."""

from pathlib import Path

import pytest

from helpers.distributions import Environment, write_documented_project


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stranger")
    project = write_documented_project(folder / "kit-leaves")
    environment = Environment.create(folder / "environment")
    environment.install(project)
    return environment, project


def test_its_own_tests_pass(stranger):
    environment, project = stranger
    environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(project / "test_leaves.py"))


def test_the_whole_line(stranger, tmp_path):
    environment, _ = stranger
    assert environment.kit_json("download", "leaves", "--miniature")["train"] == 60
    listed = {row["name"]: row for row in environment.kit_json("list")["competitions"]}
    assert listed["leaves"]["data"] == "miniature"
    assert listed["histopathology"]["data"] == "absent"
    environment.kit("check", "leaves")
    environment.kit("folds", "leaves", "--folds", "2")
    environment.kit("train", "leaves", "--folds", "2", "--epochs", "3")
    environment.kit("predict")
    submission = environment.kit_json("submit", "leaves", "--dry-run")
    assert submission["valid"]
    lines = Path(submission["path"]).read_text().splitlines()
    assert lines[0] == "id,birch,maple,oak"
    assert len(lines) == 16
    run = next((tmp_path / "runs").iterdir())
    assert (run / "submission.csv").is_file()
