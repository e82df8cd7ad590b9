"""Any command may be killed at any change of the disk and be run again: the folder is then as if nothing had been.

The kills are real: a forked process sends SIGKILL to itself and its workers before, or in the middle of, its n-th call
that changes the disk (`helpers.kills`).
"""

import os
import random
import signal
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from helpers import tiny_leaves
from helpers.kill_rounds import CASES, Case, Rounds, differences
from helpers.kill_server import kill_server
from helpers.kills import end_of, killed

BY_NAME = {case.name: case for case in CASES}
LONG = {"explore", "train", "train-first", "resume", "miniature"}


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    root = tmp_path_factory.mktemp("kills")
    tiny_leaves.write_miniature(root / "drawn", 7)
    with zipfile.ZipFile(root / "tiny.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((root / "drawn").rglob("*.*")):
            archive.write(path, path.relative_to(root / "drawn"))
    (root / "work").mkdir()
    (root / "states").mkdir()
    with kill_server(root / "work") as server:
        yield Rounds(server, root / "states")


# The harness


def test_the_harness_sees_every_way_of_writing(tmp_path):
    """Each line changes the disk as often as is said; a kill before any of them leaves what the earlier ones made."""

    def work() -> None:
        (tmp_path / "a").write_text("a")  # opened, written
        os.rename(tmp_path / "a", tmp_path / "b")
        (tmp_path / "folder").mkdir()
        number = os.open(tmp_path / "c", os.O_CREAT | os.O_WRONLY)
        os.write(number, b"four")
        os.fsync(number)
        os.close(number)
        with (tmp_path / "d").open("wb", buffering=0) as file:
            file.write(b"d")
            file.truncate(0)
        (tmp_path / "d").unlink()
        (tmp_path / "a" if (tmp_path / "a").exists() else tmp_path / "b").chmod(0o600)
        (tmp_path / "e").symlink_to("b")
        os.link(tmp_path / "c", tmp_path / "f")
        (tmp_path / "folder").rmdir()

    names = {0: "", 2: "a", 4: "b folder", 6: "b c folder", 11: "b c folder", 15: "b c e f"}
    for moment, left in [(before + 1, left) for before, left in names.items() if before < 15]:
        status, counted = end_of(work, tmp_path, moment)
        assert (status, counted) == (-signal.SIGKILL, moment)
        assert " ".join(sorted(path.name for path in tmp_path.iterdir())) in (left, f"{left} d".strip()), moment
        for path in tmp_path.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
    assert end_of(work, tmp_path) == (0, 15)


def test_a_killed_write_has_written_half(tmp_path):
    def work() -> None:
        (tmp_path / "a").write_bytes(b"0123456789")

    assert killed(work, 2, tmp_path)
    assert (tmp_path / "a").read_bytes() == b"01234"
    assert not killed(work, 3, tmp_path)
    status, _ = end_of(work, tmp_path, 2, half=False)
    assert status == -signal.SIGKILL
    assert (tmp_path / "a").read_bytes() == b""


def test_what_libraries_write_counts(tmp_path):
    import cv2
    import numpy as np
    import pandas as pd
    from safetensors.numpy import save_file

    works = (
        lambda: np.savez(tmp_path / "a.npz", a=np.arange(3)),
        lambda: pd.DataFrame({"a": [1]}).to_csv(tmp_path / "a.csv"),
        lambda: save_file({"a": np.arange(3)}, tmp_path / "a.safetensors"),
        lambda: cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4), np.uint8)),
        lambda: zipfile.ZipFile(tmp_path / "a.zip", "w").writestr("name", "text"),
    )
    for work in works:
        status, counted = end_of(work, tmp_path)
        assert status == 0
        assert counted >= 1, work


def test_workers_die_with_their_parent(tmp_path):
    def work() -> None:
        if (child := os.fork()) == 0:
            (tmp_path / "a").write_text("a")
            os._exit(0)
        os.waitpid(child, 0)
        (tmp_path / "b").write_text("b")

    assert killed(work, 2, tmp_path)
    assert not (tmp_path / "b").exists()


# Kills of the real commands


@pytest.mark.parametrize("name", ["folds", "submit", "thresholds", "archive"])
def test_two_undisturbed_runs_are_equal(rounds: Rounds, name: str):
    """Otherwise the comparison after a kill would prove nothing."""
    case = BY_NAME[name]
    _, first = rounds.undisturbed(case)
    rounds.put(case.state)
    rounds.done(case.words)
    assert differences(rounds.state(), first) == []
    changed = dict(first) | {next(iter(first)): b"other"}
    assert len(differences(changed, first)) == 1


def draw(rounds: Rounds, cases: list[Case], source: random.Random) -> Iterator[partial]:
    for case in cases:
        moments, _ = rounds.undisturbed(case)
        yield partial(rounds.play, case, [source.randint(1, moments)], source.random() < 0.7)


def test_eight_random_kills(rounds: Rounds):
    """Spread over the commands, and the same ones each time."""
    source = random.Random(16)
    cases = [BY_NAME[name] for name in ("archive", "folds-again", "pack", "train", "predict", "submit", "blend")]
    for play in draw(rounds, [*cases, BY_NAME["thresholds-again"]], source):
        play()


def test_evaluate_and_listing_write_nothing(rounds: Rounds):
    rounds.put("submitted")
    before = {path: path.stat().st_mtime_ns for path in rounds.folder.rglob("*")}
    for words in ("evaluate RUN0", "runs", "log histo", "report RUN0 --text", "config RUN0", "info histo", "list"):
        assert rounds.done(words).moments == 0, words
    assert {path: path.stat().st_mtime_ns for path in rounds.folder.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_two_hundred_random_kills(rounds: Rounds, part: int):
    source = random.Random(100 + part)
    failed = []
    for number in range(20):
        case = source.choice(CASES)
        moments, _ = rounds.undisturbed(case)
        points = [source.randint(1, moments) for _ in range(1 + number % 2)]
        try:
            rounds.play(case, points, source.random() < 0.7)
        except AssertionError as error:
            failed.append(str(error))
    assert failed == []


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in LONG], ids=lambda case: case.name)
def test_a_kill_at_every_moment(rounds: Rounds, case: Case):
    moments, _ = rounds.undisturbed(case)
    assert moments > 3
    failed = []
    for moment in range(1, moments + 1):
        try:
            rounds.play(case, [moment], half=moment % 2 == 0)
        except AssertionError as error:
            failed.append(str(error))
    assert failed == []


@pytest.mark.slow
def test_between_a_rule_and_its_record_nothing_disagrees(rounds: Rounds):
    """Killed anywhere, `kit thresholds` leaves the old rule with its old score, or the new with its new one."""
    case = BY_NAME["thresholds-again"]
    moments, _ = rounds.undisturbed(case)

    def shown() -> tuple[str, bytes]:
        listed = rounds.done("runs --json").out
        rounds.done("submit RUN0 --dry-run")
        return listed, next(rounds.folder.glob("runs/*/submission.csv")).read_bytes()

    rounds.put(case.state)
    before = shown()
    rounds.done(case.words)
    after = shown()
    wrong = []
    for moment in range(1, moments + 1):
        rounds.put(case.state)
        rounds.run(case.words, moment)
        if shown() not in (before, after):
            wrong.append(moment)
    assert wrong == []


def test_the_folder_given_is_the_only_one_that_counts(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    assert end_of(lambda: (tmp_path / "out" / "a").write_text("a"), tmp_path / "in") == (0, 0)
