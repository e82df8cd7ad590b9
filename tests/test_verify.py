"""`kit verify` names every file of data, packs and runs of which one byte was flipped, and no command uses it."""

import json
import shutil
from pathlib import Path

import pytest

from helpers.own_folders import own_folders
from kit.runs import find_run


def flip(path: Path, at: float) -> bytes:
    """Flip a bit in the byte at a share of the file's length; return what the file held."""
    content = path.read_bytes()
    place = min(int(len(content) * at), len(content) - 1)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    return content


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Data, packs and a run with everything that commands write into it."""
    from kit.cli.app import main

    folder = tmp_path_factory.mktemp("world")
    with own_folders(folder):
        for command in (
            "download histo --miniature",
            "train histo --folds 2 --epochs 1 --size 32 --model small_cnn --set trackers=tensorboard",
            "predict",
            "submit --dry-run",
            "report",
            "gradcam --worst 2",
            "folds histo --folds 3 --near-duplicates",
        ):
            with pytest.raises(SystemExit) as end:
                main(command.split())
            assert end.value.code == 0, command
    return folder


@pytest.fixture
def copied(world, tmp_path, monkeypatch) -> Path:
    """A copy of the world that may be damaged."""
    shutil.copytree(world, tmp_path / "copy", symlinks=True)
    monkeypatch.setenv("KIT_DATA", str(tmp_path / "copy" / "data"))
    monkeypatch.setenv("KIT_RUNS", str(tmp_path / "copy" / "runs"))
    return tmp_path / "copy"


def files_of(folder: Path, *left_out: str) -> list[Path]:
    """All files but empty ones, locks and images of which there are many (of these every fortieth)."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    images = [path for path in found if path.suffix == ".tif"]
    others = [path for path in found if path.suffix != ".tif" and not path.name.endswith("lock")]
    return [path for path in [*others, *images[::40]] if not any(word in str(path) for word in left_out)]


def test_a_whole_world_is_whole(kit, copied):
    done = kit("verify", "--json")
    assert done.json["ok"]
    assert done.json["faults"] == []
    assert done.json["verified"] == ["histopathology", find_run(None).id]


@pytest.mark.parametrize("at", [0, 0.37, 0.999])
def test_every_file_with_a_flipped_byte_is_named(kit, copied, at):
    run = find_run(None)
    data = Path(kit("info", "histo", "--json").json["data"]["folder"])
    for target, folder in ((run.id, run.path), ("histo", data)):
        for path in files_of(folder):
            content = flip(path, at)
            done = kit("verify", target, "--json", code=2)
            assert str(path) in done.out + done.err, path
            path.write_bytes(content)
    assert kit("verify").out.startswith("all files")


# What a run can do without: a rule is tuned or not, and without predictions there is no csv.
LOST = ["run.json", "manifest.json", "folds.csv", "oof.npz", "fold-0/checkpoint.json", "fold-1/result.json"]
LOST += ["fold-0/history.csv", "gradcam/gradcam.json", "log.txt", "data/.kit/origin.json", "data/.kit/files.txt"]


@pytest.mark.parametrize("name", LOST)
def test_every_file_that_is_gone_is_named(kit, copied, name):
    run = find_run(None)
    data = Path(kit("info", "histo", "--json").json["data"]["folder"])
    path = data / name.removeprefix("data/") if name.startswith("data/") else run.path / name
    path.unlink()
    assert f"{path}: is gone" in kit("verify", code=2).out


def test_repair_removes_a_damaged_cache(kit, copied):
    path = next(copied.rglob("likeness-*.npy"))
    flip(path, 0.5)
    assert "all files" in kit("verify", "histo", "--repair").out
    assert not path.exists()
    kit("folds", "histo", "--folds", "3", "--near-duplicates")
    assert path.exists()


def test_a_pack_is_verified_by_its_path(kit, copied):
    pack = next(copied.rglob("*.pixels"))
    assert "all files" in kit("verify", pack).out
    flip(pack, 0.5)
    assert str(pack) in kit("verify", pack, code=2).out


USERS = [
    ("train*.pixels", ["evaluate"]),
    ("test*.pixels", ["predict"]),
    ("train_labels.csv", ["folds histo", "check histo", "evaluate", "explore histo"]),
    ("run.json", ["predict RUN", "submit RUN --dry-run", "evaluate RUN", "train --resume RUN"]),
    ("fold-0/checkpoint.json", ["predict", "evaluate"]),
    ("fold-0/weights-*.safetensors", ["predict", "evaluate"]),
    ("fold-0/oof.npz", ["evaluate"]),
    ("oof.npz", ["report"]),
    ("test.npz", ["submit --dry-run"]),
    ("folds.csv", ["evaluate"]),
    ("manifest.json", ["predict", "report", "submit --dry-run"]),
]


@pytest.mark.parametrize(("name", "commands"), USERS, ids=[name for name, _ in USERS])
def test_no_command_uses_a_damaged_file(kit, copied, name, commands):
    run = find_run(None)
    pattern = f"*-{name}" if name.endswith(".pixels") else name
    found = [path for path in sorted(copied.rglob(pattern)) if "fold-" in name or "fold-" not in path.parent.name]
    assert found
    kept = flip(found[0], 0.6)
    for command in commands:
        done = kit(*command.replace("RUN", run.id).split(), code=2)
        assert len([line for line in done.err.splitlines() if line.startswith("error:")]) == 1
        assert found[0].name in done.err, command
    found[0].write_bytes(kept)
    for command in commands:
        kit(*command.replace("RUN", run.id).split())


@pytest.mark.parametrize(
    "command", ["check histo", "pack histo --size 24", "explore histo", "folds histo --near-duplicates"]
)
def test_an_image_that_changed_is_not_used(kit, copied, command):
    run = find_run(None)
    folder = Path(kit("info", "histo", "--json").json["data"]["folder"])
    image = sorted((folder / "train").glob("*.tif"))[0]
    flip(image, 0.7)
    done = kit(*command.split(), code=2)
    assert image.name in done.out + done.err
    assert run.id


def test_labels_changed_by_hand_are_accepted_on_request(kit, copied):
    path = next(copied.rglob("train_labels.csv"))
    flipped = path.read_text().splitlines()
    flipped[1] = flipped[1][:-1] + ("1" if flipped[1].endswith("0") else "0")
    path.write_text("\n".join(flipped) + "\n")
    assert "kit verify" in kit("folds", "histo", code=2).err
    kit("verify", "histo", "--accept")
    kit("folds", "histo", "--folds", "2")
    assert "the labels in" in kit("evaluate").err
    assert "restore the former data" in kit("train", "--resume", find_run(None).id, code=2).err


@pytest.mark.parametrize("what", ["data", "packs"])
def test_repair_makes_anew_what_it_can(kit, copied, what):
    run, before = find_run(None), {}
    damaged = [run.path / "submission.csv", run.path / "report.html", run.path / "report.json"]
    data = [next(copied.rglob("train/*.tif")), next(copied.rglob("train_labels.csv"))]
    for path in [*damaged, *data] if what == "data" else [*damaged, *copied.rglob("*.pixels")]:
        before[path] = flip(path, 0.5)
    kit("verify", "--repair")
    assert {path: path.read_bytes() for path in before if path.suffix != ".html"} == {
        path: content for path, content in before.items() if path.suffix != ".html"
    }
    flip(run.path / "gradcam" / "grid.png", 0.5)
    assert "kit gradcam" in kit("verify", run.id, "--repair").out
    assert not (run.path / "gradcam").exists()


def test_what_can_not_be_made_anew_is_named_with_what_mends_it(kit, copied):
    run = find_run(None)
    weights = next(run.fold_dir(0).glob("weights-*"))
    flip(weights, 0.5)
    faults = kit("verify", run.id, "--repair", "--json", code=2).out
    document = json.loads(faults[: faults.rindex("{")])
    assert document["faults"] == [
        {"file": str(weights), "what": "its checksum differs", "mend": f"kit train --resume {run.id}"}
    ]
    kit("train", "--resume", run.id)
    assert "all files" in kit("verify", run.id).out


@pytest.mark.parametrize("target", ["nothing", "runs/none", "../x", "a\0b"])
def test_a_target_that_is_nothing_is_one_line(kit, copied, target):
    assert "is no competition, no run and no pack" in kit("verify", target, code=2).err
