"""Data in the folders of `kit split-files`, or named by its lists, is read as the tree that it came from."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from kit.console import Console
from kit.data.store import index_of
from kit.errors import KitError
from kit.splits import views
from kit_histopathology import dataset
from kit_split_files.plan import Arguments
from kit_split_files.split import split_files

IDS = [f"{number:02x}" * 4 for number in range(12)]


@pytest.fixture
def tree(tmp_path):
    """Histopathology's data, not divided, outside the data folder."""
    root = tmp_path / "raw"
    for folder, table, ids in (("train", "train_labels.csv", IDS[:8]), ("test", "sample_submission.csv", IDS[8:])):
        (root / folder).mkdir(parents=True)
        (root / table).write_text("id,label\n" + "".join(f"{id_},{int(id_, 16) % 2}\n" for id_ in ids))
        for id_ in ids:
            (root / folder / f"{id_}.tif").write_text(id_)
    return root


def split(source: Path, target: Path, mode: str = "copy", **options: object) -> Path:
    options = {"parts": 3, **options}
    split_files(Arguments(str(source), mode, **options), target, Console(silent=True))  # type: ignore[arg-type]
    return target


def unsigned(folder: Path) -> Path:
    """As it comes from a drive to which the folders alone were copied."""
    (folder / "manifest.jsonl").unlink()
    return folder


def tables(tree: Path, data: Path) -> None:
    data.mkdir(exist_ok=True)
    for name in ("train_labels.csv", "sample_submission.csv"):
        shutil.copy(tree / name, data)


def beside(tree: Path, data: Path) -> None:
    shutil.copytree(tree, data)
    split(data / "train", data / "train_splits", "move")


def in_its_place(tree: Path, data: Path) -> None:
    shutil.copytree(tree, data, ignore=shutil.ignore_patterns("train"))
    split(tree / "train", data / "train")


def both(tree: Path, data: Path) -> None:
    tables(tree, data)
    for folder in ("train", "test"):
        unsigned(split(tree / folder, data / f"{folder}-splits"))


def whole(tree: Path, data: Path) -> None:
    split(tree, data)


def whole_unsigned(tree: Path, data: Path) -> None:
    unsigned(split(tree, data))


def whole_below(tree: Path, data: Path) -> None:
    data.mkdir()
    split(tree, data / "splits")


def images_of_both(tree: Path, data: Path) -> None:
    tables(tree, data)
    unsigned(split(tree, data / "parts", suffix=".tif"))


def one_at_the_top(tree: Path, data: Path) -> None:
    split(tree / "train", data)
    shutil.copytree(tree, data, ignore=shutil.ignore_patterns("train"), dirs_exist_ok=True)


def listed(tree: Path, data: Path) -> None:
    tables(tree, data)
    split(tree, data.parent / "elsewhere", lists=True, suffix=".tif")
    shutil.copytree(data.parent / "elsewhere" / "lists", data / "lists")


def listed_by_split(tree: Path, data: Path) -> None:
    listed(tree, data)
    (data / "lists" / "all.txt").unlink()


def listed_by_hand(tree: Path, data: Path) -> None:
    """Lists of folders that are not divided, in files of their own."""
    tables(tree, data)
    moved = data.parent / "drive"
    for name, ids in (("train", IDS[:5]), ("valid", IDS[5:8]), ("test", IDS[8:])):
        folder = moved / ("test" if name == "test" else "train")
        (data / f"{name}.txt").write_text("".join(f"{folder}/{id_}.tif\n" for id_ in ids))
    shutil.copytree(tree, moved)


def partly_listed(tree: Path, data: Path) -> None:
    """A folder of the name that listed files belong to is there already, and holds some of them."""
    listed_by_hand(tree, data)
    (data / "train" / "more").mkdir(parents=True)
    (data / "train" / "readme.md").touch()
    for id_ in IDS[:2]:
        shutil.copy(tree / "train" / f"{id_}.tif", data / "train")


def listed_in(folder: str, tree: Path, data: Path) -> None:
    """As `kit split-files train DATA/FOLDER --list-only` writes it."""
    tables(tree, data)
    shutil.copytree(tree / "test", data / "test")
    (data / folder / "lists").mkdir(parents=True)
    names = "".join(f"{tree / 'train' / id_}.tif\n" for id_ in IDS[:8])
    (data / folder / "lists" / "all.txt").write_text(names)


LAYOUTS: list[Callable[[Path, Path], None]] = [
    *(beside, in_its_place, both, whole, whole_unsigned, whole_below, images_of_both, one_at_the_top),
    *(listed, listed_by_split, listed_by_hand, partly_listed),
    *(partial(listed_in, "train"), partial(listed_in, "paths")),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_read_as_the_tree_that_it_came_from(tree, tmp_path, layout):
    data, before = tmp_path / "data", dataset.index(tree)
    layout(tree, data)
    lies = sorted(path.relative_to(data) for path in data.rglob("*"))
    for _ in range(2):
        index = index_of(dataset_spec(), data, lambda: tmp_path / "views")
        for split_, other in ((index.train, before.train), (index.test, before.test)):
            assert split_["id"].tolist() == other["id"].tolist()
            assert [path.read_text() for (path,) in index.paths(split_)] == split_["id"].tolist()
        assert index.train["target"].tolist() == before.train["target"].tolist()
        assert not any(index.missing.values())
    assert sorted(path.relative_to(data) for path in data.rglob("*")) == lies, "nothing is written into the data"


def dataset_spec():
    from kit.plugin import DatasetSpec

    return DatasetSpec("histopathology", 3, index=dataset.index, read=dataset.read)


def test_data_that_is_not_divided_makes_no_view(tree, tmp_path):
    def never() -> Path:
        raise AssertionError

    assert index_of(dataset_spec(), tree, never).root == tree
    (tree / "train" / f"{IDS[0]}.tif").unlink()
    (tree / "notes.txt").write_text("what I did\n")
    assert len(index_of(dataset_spec(), tree, never).train) == 7
    assert list(views(tmp_path / "none", never)) == []


def test_classes_with_numbers_as_names_are_no_splits(tree, tmp_path):
    for number in range(3):
        (tree / "train" / f"{number:02}").mkdir()
    index = index_of(dataset_spec(), tree, lambda: tmp_path / "views")
    assert index.root == tree


@pytest.mark.parametrize("line", ["/content/splits/00/a.tif", "../../etc/passwd-of-nobody", "\0", "x" * 5000])
def test_lists_of_another_machine_or_of_nothing_are_none(tree, tmp_path, line):
    shutil.rmtree(tree / "train")
    (tree / "train").mkdir()
    (tree / "all.txt").write_text(f"{line}\n")
    assert len(index_of(dataset_spec(), tree, lambda: tmp_path / "views").train) == 0


def test_splits_that_can_not_be_read_name_what_restores_the_tree(tree, tmp_path):
    data = tmp_path / "data"
    beside(tree, data)
    (data / "train_labels.csv").unlink()
    with pytest.raises(KitError, match=r"train_labels\.csv is not there.*kit merge-files .*train_splits TARGET"):
        index_of(dataset_spec(), data, lambda: tmp_path / "views")


def test_a_competition_runs_from_splits_to_the_submission(kit, tmp_path):
    kit("download", "histo", "--miniature")
    data = tmp_path / "data" / "histopathologic-cancer-detection"
    whole = kit("check", "histo", "--json").json
    kit("split-files", data / "train", data / "train_splits", "--splits", 3, "--move")
    divided = kit("check", "histo", "--json").json
    assert {**divided, "checks": None} == {**whole, "checks": None}
    assert divided["ok"]
    kit("train", "histo", "--folds", 2, "--epochs", 1, "--size", 32, "--fold", 0)
    kit("predict", "--tta", 1)
    assert kit("submit", "--dry-run", "--json").json["valid"]
    kit("merge-files", data / "train_splits", data / "train")
    kit("verify", "histo")


def test_a_folder_that_is_not_divided_is_listed(kit, tree, tmp_path):
    data = tmp_path / "data" / "histopathologic-cancer-detection"
    before = sorted(tree.rglob("*"))
    done = kit("split-files", tree, data, "--list-only", "--suffix", "tif", "--json").json
    assert (done["files"], done["splits"], done["counts"]) == (12, [], [12])
    images = sorted(str(path) for path in tree.rglob("*.tif"))
    assert (data / "lists" / "all.txt").read_text().splitlines() == images
    assert [path.name for path in data.rglob("*")] == ["lists", "all.txt"]
    assert sorted(tree.rglob("*")) == before
    for name in ("train_labels.csv", "sample_submission.csv"):
        shutil.copy(tree / name, data)
    assert len(index_of(dataset_spec(), data, lambda: tmp_path / "views").train) == 8
    options = ("--list-only", "--splits", 5, "--prefix-map", f"{tree}=/content/raw")
    assert kit("split-files", tree / "train", tmp_path / "paths", *options, "--json").json["counts"] == [2, 2, 2, 1, 1]
    lists = {path.stem: path.read_text().splitlines() for path in (tmp_path / "paths" / "lists").iterdir()}
    assert sorted(lists) == ["00", "01", "02", "03", "04", "all"]
    assert lists["all"] == [line for name in sorted(lists)[:5] for line in lists[name]]
    assert all(line.startswith("/content/raw/train/") for line in lists["all"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--move",), "drop --copy, --link, --move and --zip"),
        (("--zip",), "drop --copy, --link, --move and --zip"),
        (("--splits", 2, "--per-dir", 2), "give one of --per-dir N and --splits K"),
        (("--suffix", ".png"), "holds no files with the suffix .png"),
        (("--prefix-map", "/other=/new"), "no path begins with /other"),
    ],
)
def test_lists_that_can_not_be_made(kit, tree, tmp_path, options, why):
    assert why in kit("split-files", tree, tmp_path / "paths", "--list-only", *options, code=2).err
    assert not (tmp_path / "paths").exists()


def test_lists_never_replace_those_of_splits(kit, tree, tmp_path):
    split(tree, tmp_path / "splits", lists=True)
    assert "give another DST" in kit("split-files", tree, tmp_path / "splits", "--list-only", code=2).err
