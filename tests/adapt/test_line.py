"""The package that `kit adapt` writes, from the folder to the csv: as a stranger would go on."""

import ast
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from helpers import ROOT
from helpers.drawn_layouts import image, table
from helpers.layouts import LAYOUTS
from helpers.read_only import tree
from kit.adapt.code import text
from kit.image_files import data_files
from kit.tables import read_table

QUICK = ("cactus-zips", "aptos", "biomass", "ids-behind")
WHOLE = [name for name, layout in LAYOUTS.items() if not layout.missing and layout.right["test"]]
TRAINING = ("--folds", 2, "--epochs", 2, "--size", 16, "--model", "small_cnn", "--no-pretrained", "--batch-size", 16)


def adapted(kit, monkeypatch, tmp_path: Path, name: str, folder: Path) -> Path:
    """Adapt to a folder, and let kit load what was written."""
    package = tmp_path / "package"
    document = kit("adapt", folder, "--name", name, "--dest", package, "--json").json
    assert document["package"] == str(package)
    module = package / f"kit_{name.replace('-', '_')}.py"
    assert str(tmp_path) not in module.read_text(), "no place of this machine is in the package"
    monkeypatch.setenv("KIT_PLUGIN_FILES", str(module))
    return module


LINES = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in WHOLE]


@pytest.mark.parametrize("name", LINES)
def test_the_whole_line_works(kit, monkeypatch, tmp_path, name):
    folder = tmp_path / "raw"
    folder.mkdir()
    LAYOUTS[name].build(folder)
    before = tree(folder)
    adapted(kit, monkeypatch, tmp_path, name, folder)
    kit("download", name, "--from", folder)
    kit("check", name)
    kit("folds", name, "--folds", 2)
    kit("train", name, *TRAINING)
    kit("predict")
    done = kit("submit", "--dry-run", "--json").json
    assert tree(folder) == before, "the folder is only read"
    again = kit("adapt", folder, "--name", name, "--dest", tmp_path / "again", "--json").json
    sample = again["submission"]
    written = pd.read_csv(next((tmp_path / "runs").glob("*/submission.csv")), dtype=str)
    columns = [sample["id"], *sample["columns"]]
    if sample["file"]:
        places = (place + name for place, name in data_files(tmp_path / "data") if name == Path(sample["file"]).name)
        asked = read_table(tmp_path / "data" / next(places), (), "")
        columns = list(asked.columns)
        assert written[sample["id"]].tolist() == asked[sample["id"]].tolist()
    assert list(written.columns) == columns
    assert done["valid"]
    assert not written.isna().to_numpy().any()


@pytest.mark.parametrize("name", [each for each in LAYOUTS if not LAYOUTS[each].missing])
@pytest.mark.slow
def test_the_package_keeps_the_contract(kit, monkeypatch, tmp_path, name):
    folder = tmp_path / "raw"
    folder.mkdir()
    LAYOUTS[name].build(folder)
    adapted(kit, monkeypatch, tmp_path, name, folder)
    assert kit("test-plugin", name, "--json").json["ok"]


def test_the_package_passes_its_own_tests(kit, monkeypatch, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    LAYOUTS["mammography"].build(folder)
    module = adapted(kit, monkeypatch, tmp_path, "breasts", folder)
    environment = {**os.environ, "PYTHONPATH": f"{module.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module.parent)],
        cwd=module.parent,
        env={**environment, "PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_an_archive_serves_as_a_folder_does(kit, monkeypatch, tmp_path):
    folder = tmp_path / "raw" / "inner"
    folder.mkdir(parents=True)
    LAYOUTS["cactus-zips"].build(folder)
    packed = tmp_path / "cactus.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"inner/{path.name}")
    adapted(kit, monkeypatch, tmp_path, "spines", packed)
    done = kit("download", "spines", "--from", packed, "--json").json
    assert (done["train"], done["test"]) == (24, 6)


def test_nothing_is_written_where_something_lies_and_nothing_half(kit, tmp_path):
    folder, place = tmp_path / "raw", tmp_path / "package"
    folder.mkdir()
    LAYOUTS["cactus"].build(folder)
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    assert "is there already" in kit("adapt", folder, "--name", "spines", "--dest", place, code=2).err
    assert [path.name for path in place.iterdir()] == ["mine.txt"]
    (folder / "train.csv").unlink()
    kit("adapt", folder, "--name", "spines", "--dest", tmp_path / "other", code=2)
    assert not (tmp_path / "other").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_can_not_be_done_is_said_with_json_too(kit, tmp_path):
    LAYOUTS["wheat"].build(tmp_path / "raw")
    done = kit("adapt", tmp_path / "raw", "--dest", tmp_path / "package", "--json", code=2)
    assert done.json["task"] is None
    assert done.json["package"] is None
    assert "detection" in done.json["missing"][0]
    assert done.err.count("\n") == 1
    assert not (tmp_path / "package").exists()


def test_a_name_that_is_taken_is_refused_and_the_default_gives_way(kit, tmp_path, monkeypatch):
    folder = tmp_path / "histopathologic-cancer-detection"
    folder.mkdir()
    LAYOUTS["tissue"].build(folder)
    monkeypatch.chdir(tmp_path)
    assert "give another --name" in kit("adapt", folder, "--name", "histo", code=2).err
    assert kit("adapt", folder, "--json").json["name"] == "my-histopathologic-cancer-detection"


def test_a_person_sees_80_columns_with_reasons(kit, tmp_path):
    LAYOUTS["ranzcr"].build(tmp_path / "raw it's")
    said = kit("adapt", tmp_path / "raw it's", "--name", "tubes", "--dest", tmp_path / "package").out
    download = shlex.join(["kit", "download", "tubes", "--from", str(tmp_path / "raw it's")])
    assert f"next: {download}" in said
    shown = [line for line in said.splitlines() if str(tmp_path) not in line]
    assert max(map(len, shown)) <= 80
    for part in ("multilabel", "PatientID", "or: log_loss (--set metric=...)", "24 images"):
        assert part in said


def test_a_metric_must_exist_and_fit(kit, tmp_path):
    LAYOUTS["cactus"].build(tmp_path / "raw")
    line = ("adapt", tmp_path / "raw", "--name", "spines", "--dest", tmp_path / "package", "--set")
    assert "no metric" in kit(*line, "metric=nothing", code=2).err
    assert "is no metric of a binary task" in kit(*line, "metric=rmse", code=2).err
    assert not (tmp_path / "package").exists()


def test_hostile_names_of_columns_stay_texts(kit, monkeypatch, tmp_path):
    folder, column = tmp_path / "raw", 'a"""\\{0}\u202e\''
    for number in range(12):
        image(folder / "train" / f"{number:03d}.png", number % 2)
    table(folder / "train.csv", ({"id": f"{n:03d}", column: ("no", 'y"""{x}')[n % 2]} for n in range(12)))
    module = adapted(kit, monkeypatch, tmp_path, "hostile", folder)
    compile(module.read_text(), "module", "exec")
    kit("download", "hostile", "--from", folder)
    assert kit("check", "hostile", "--json").json


@pytest.mark.parametrize(
    "value", ['"""\\', "\\N{DIGIT ONE}", "{x}\r\0", "\x7f\u2028\u202e", "\udcff", "\U0001f469\u200d\u2695"]
)
def test_a_text_in_code_is_that_text_and_all_of_it_is_seen(value):
    assert ast.literal_eval(text(value)) == value
    assert text(value).isprintable()


def test_on_a_terminal_a_person_is_asked_and_else_never(kit, monkeypatch, tmp_path):
    folder = tmp_path / "raw"
    for number in range(12):
        image(folder / "train" / f"{number:03d}.png", number % 2)
    table(folder / "train.csv", ({"id": f"{n:03d}", "wind": n % 2, "rain": n % 3} for n in range(12)))
    line = ("adapt", folder, "--name", "weather", "--dest", tmp_path / "package")
    assert "give --set target=" in kit(*line, code=2).err
    monkeypatch.setattr("kit.cli.adapt._is_terminal", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda key: {"target": "rain"}[key])
    assert "target  rain" in kit(*line).out


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.right.get("test") == 0])
def test_what_has_no_test_images_yet_is_taken_in_and_checked(kit, monkeypatch, tmp_path, name):
    folder = tmp_path / "raw"
    folder.mkdir()
    LAYOUTS[name].build(folder)
    adapted(kit, monkeypatch, tmp_path, name, folder)
    done = kit("download", name, "--from", folder, "--json").json
    assert (done["train"], done["test"]) == (LAYOUTS[name].right["train"], 0)
    kit("check", name)
