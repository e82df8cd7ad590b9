"""`kit gradcam`: each image by the network that has not seen it, the right class, files that are whole; no growth."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.own_folders import own_folders
from helpers.training_runs import begin, go
from kit.archives.unpack import from_miniature
from kit.console import Console
from kit.data.folds import folds_of_run
from kit.data.open_run import OpenRun
from kit.data.store import Store
from kit.errors import KitError
from kit.explain.explain import Explained, explain_run
from kit.explain.picture import GAP, HEADING, MARGIN, SIDE, grid, heat, overlay, tile
from kit.explain.write import write_explained
from kit.hooks.registry import Registry
from kit.run import Run
from kit.runs import all_runs
from kit.scoring.predictions import Predictions

SILENT = Console(silent=True)


def trained(name: str, *settings: str, only_fold: int | None = None) -> Run:
    store = Store.of(Registry(), name)
    from_miniature(store, None, False)
    run = begin(store, "epochs=1", *settings, only_fold=only_fold)
    go(store, run, only_fold)
    return Run.open(run.path)


def explained(run: Run, ids: list[str], **options: object) -> list[Explained]:
    return list(explain_run(OpenRun(Registry(), run), ids, **options, console=SILENT))


def index_for(run: Run):
    return OpenRun(Registry(), run).index


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Data and a run of two folds, made once."""
    folder = tmp_path_factory.mktemp("made")
    with own_folders(folder):
        trained("histo")
    return folder


@pytest.fixture
def run(made, tmp_path) -> Run:
    """A copy of it for one test."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return all_runs()[-1]


def test_each_image_is_explained_by_the_network_that_has_not_seen_it(run):
    oof = Predictions.load(run.reading("oof.npz"))
    ids = list(oof.ids[::5])[::-1]
    fold_of = folds_of_run(run).table.set_index("id")["fold"]
    found = {one.id: one for one in explained(run, ids)}
    assert sorted(found) == sorted(ids)
    for id_, (value,) in zip(oof.ids[::5], oof.values[::5], strict=True):
        one = found[id_]
        assert one.fold == fold_of[id_]
        # Through the preprocessing of training, or the probability would be another.
        assert one.probability == pytest.approx(max(value, 1 - value), abs=1e-5)
        assert one.predicted == one.explained == ("tumor" if value >= 0.5 else "normal")
    # Fold by fold, and within a fold in the order of the ids.
    assert list(found) == [id_ for fold in (0, 1) for id_ in ids if fold_of[id_] == fold]


def test_what_is_explained(run):
    index = index_for(run)
    ids = index.train["id"].head(12).tolist()
    label = {id_: index.classes[number] for id_, number in zip(index.train["id"], index.train["target"], strict=True)}
    predicted, true, tumor = (
        {one.id: one for one in explained(run, ids, of=of)} for of in ("predicted", "true", "tumor")
    )
    for id_ in ids:
        assert true[id_].explained == true[id_].label == label[id_] == predicted[id_].label
        assert tumor[id_].explained == "tumor"
        assert list(tumor[id_].maps) == ["body.24", "body.18"]
        assert all(map.shape == (32, 32) and map.dtype == np.float32 for map in tumor[id_].maps.values())
        assert all(map.min() >= 0 and map.max() in (0, 1) for map in tumor[id_].maps.values())
        if predicted[id_].explained == "normal":
            assert predicted[id_].probability == pytest.approx(1 - tumor[id_].probability, abs=1e-6)
            assert not np.array_equal(predicted[id_].maps["body.24"], tumor[id_].maps["body.24"])
        else:
            np.testing.assert_allclose(predicted[id_].maps["body.24"], tumor[id_].maps["body.24"], atol=1e-5)


def test_the_picture_is_the_composite_at_the_size_of_the_input(run):
    from kit.data.images import read_rgb

    index = index_for(run)
    (one,) = explained(run, [index.train["id"].iat[3]])
    whole = read_rgb(index.root / index.train["files"].iat[3][0])
    np.testing.assert_array_equal(one.image, cv2.resize(whole, (32, 32), interpolation=cv2.INTER_AREA))


def test_test_images_and_a_named_fold(run):
    index = index_for(run)
    test_id, train_id = index.test["id"].iat[0], index.train["id"].iat[0]
    first, second = explained(run, [test_id, train_id], fold=1)
    assert [first.id, second.id] == [train_id, test_id]
    assert [first.fold, second.fold] == [1, 1]
    assert second.label == ""
    (by_default,) = explained(run, [test_id])
    assert by_default.fold == 0
    with pytest.raises(KitError, match="a test id has no label"):
        explained(run, [train_id, test_id], of="true")


def test_a_run_of_one_fold_explains_what_that_fold_judged(kit):
    run = trained("histo", only_fold=1)
    fold_of = folds_of_run(run).table.set_index("id")["fold"]
    seen = fold_of.index[fold_of == 0][0]
    with pytest.raises(KitError, match=rf"fold 0 of run {run.id} is not trained: kit train .*, or --fold 1"):
        explained(run, [seen])
    (one,) = explained(run, [seen], fold=1)
    assert one.fold == 1
    document = kit("gradcam", "--worst", 3, "--json").json
    assert [one["fold"] for one in document["images"]] == [1] * 3


@pytest.mark.slow
def test_six_channels_two_images_an_id_and_a_second_input(kit):
    run = trained("recursion", "metadata=true", "loss=0.2*cross_entropy+0.8*arcface")
    index = index_for(run)
    assert index.metadata
    oof = Predictions.load(run.reading("oof.npz"))
    ids = list(oof.ids[:4])
    found = explained(run, ids)
    assert sorted(one.id for one in found) == sorted([*ids, *ids])
    for id_, values in zip(ids, oof.values[:4], strict=True):
        own = explained(run, [id_], of="sirna_816" if "sirna_816" in index.classes else index.classes[0])
        number = index.classes.index(own[0].explained)
        # What is submitted for a well is the mean over its images.
        assert np.mean([one.probability for one in own]) == pytest.approx(values[number], abs=1e-5)
        assert not np.array_equal(own[0].image, own[1].image)
        assert own[0].image.shape == (32, 32, 3)
    keys = [one["key"] for one in kit("gradcam", "--images", ",".join(ids), "--json").json["images"]]
    assert keys == [f"{number:04d}-{id_}{end}" for number, id_ in enumerate(ids, 1) for end in ("", "-2")]
    # The head is linear, but the margin loss has weights of its own.
    assert "the loss of this run has its own" in kit("gradcam", "--method", "cam", code=2).err


@pytest.mark.slow
def test_four_channels_and_many_labels(kit):
    run = trained("protein")
    index = index_for(run)
    oof = Predictions.load(run.reading("oof.npz")).reorder(index.train["id"].to_numpy()[:12])
    predicted, true = ({one.id: one for one in explained(run, list(oof.ids), of=of)} for of in ("predicted", "true"))
    for id_, values, labels in zip(oof.ids, oof.values, index.train["target"], strict=False):
        assert predicted[id_].explained == index.classes[values.argmax()]
        assert predicted[id_].probability == pytest.approx(values.max(), abs=1e-5)
        assert predicted[id_].label == ", ".join(index.classes[number] for number in sorted(labels))
        given = [index.classes[n] for n in np.argsort(-values) if values[n] >= 0.5] or [predicted[id_].explained]
        assert predicted[id_].predicted == ", ".join(given)
        assert true[id_].explained == index.classes[max(labels, key=lambda number: values[number])]
    (cam,) = explained(run, [oof.ids[0]], method="cam")
    assert list(cam.maps) == ["body"]


def test_the_command_writes_a_grid_each_image_and_the_maps(kit, run):
    done = kit("gradcam", "--best", 5, "--layers", "body.24,body.21", "--method", "layercam", "--json")
    folder, document = run.path / "gradcam", done.json
    written = {**json.loads((folder / "gradcam.json").read_text()), "folder": str(folder)}
    assert document == {key: value for key, value in written.items() if key not in ("files", "sha256")}
    assert set(written["files"]) == {path.name for path in folder.iterdir()} - {"gradcam.json"}
    assert (document["run"], document["method"], document["class"]) == (run.id, "layercam", "predicted")
    assert document["layers"] == ["body.24", "body.21"]
    keys = [one["key"] for one in document["images"]]
    assert [key[:5] for key in keys] == [f"000{number}-" for number in range(1, 6)]
    files = {path.name for path in folder.iterdir()}
    assert files == {"grid.png", "maps.npz", "gradcam.json", *(f"{key}.png" for key in keys)}
    with np.load(folder / "maps.npz", allow_pickle=False) as maps:
        assert sorted(maps) == sorted([*keys, "layers"])
        assert maps["layers"].tolist() == ["body.24", "body.21"]
        for one in document["images"]:
            (again,) = explained(run, [one["id"]], layers=["body.24", "body.21"], method="layercam")
            np.testing.assert_allclose(maps[one["key"]], [*again.maps.values()], atol=1e-5)
            picture = cv2.cvtColor(cv2.imread(str(folder / f"{one['key']}.png")), cv2.COLOR_BGR2RGB)
            np.testing.assert_array_equal(picture, tile(again, SIDE))
    assert cv2.imread(str(folder / "grid.png")).shape[1] > 5 * SIDE


def test_a_second_call_replaces_the_first_and_gives_equal_bytes(kit, run):
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (run.path / "gradcam").iterdir()}

    kit("gradcam")
    first = contents()
    assert len(first) == 16 + 3
    kit("gradcam", "--uncertain", 2, run.id)
    assert len(contents()) == 2 + 3
    kit("gradcam", "--worst", 16)
    assert contents() == first
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".gradcam")] == []


def test_a_call_that_fails_leaves_the_earlier_pictures(kit, run):
    kit("gradcam", "--worst", 2)
    before = {path.name for path in (run.path / "gradcam").iterdir()}
    for arguments, message in (
        (("--layers", "body.99"), "no layer 'body.99'"),
        (("--method", "eigencam"), "no method is called 'eigencam': did you mean cam"),
        (("--class", "tumour"), "did you mean tumor?"),
        (("--images", "nobody"), "no training or test image has the id 'nobody'"),
        (("--fold", 5), "fold 5 of run"),
        (("--worst", 2, "--best", 2), "--worst and --best both choose images"),
        (("--best", 2, "--images", "x"), "--best and --images both choose images"),
        (("--images", ","), "there is no image to explain"),
        (("--method", "cam", "--layers", "body.24"), "drop --layers"),
    ):
        done = kit("gradcam", *arguments, code=2)
        assert message in done.err
        assert done.err.count("\n") == 1
    assert {path.name for path in (run.path / "gradcam").iterdir()} == before
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".gradcam")] == []


def test_layers_are_listed(kit, run):
    listed = kit("gradcam", "--layers", "list", "--json").json["layers"]
    assert len(listed) == 25
    assert [layer["name"] for layer in listed if layer["default"]] == ["body.18", "body.24"]
    assert listed[-1] == {"name": "body.24", "stride": 16, "channels": 160, "height": 2, "width": 2, "default": True}
    assert "body.24" in kit("gradcam", "--layers", "list").out
    assert not (run.path / "gradcam").exists()


def test_per_class_shows_typical_images_of_each(kit, run):
    images = kit("gradcam", "--per-class", 3, "--json").json["images"]
    assert [one["label"] for one in images] == ["normal"] * 3 + ["tumor"] * 3


def test_a_blend_has_no_network_to_explain(run):
    run.update(blend={"method": "mean", "members": [{"name": "a"}, {"name": "b"}]}, planned=[])
    with pytest.raises(KitError, match="is a blend of a, b, which has no network of its own"):
        explained(Run.open(run.path), [])


def invented(number: int, id_: str, side: int = 32, layers: int = 2) -> Explained:
    random = np.random.default_rng(number)
    maps = {f"layer.{layer}": random.random((side, side), np.float32) for layer in range(layers)}
    image = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Explained(id_, image, maps, "left", "right", 0.25, "left", 1)


def test_ids_and_class_names_of_any_kind_become_files_inside_the_folder(tmp_path):
    ids = ["../../escape", "a/b c", "é" * 300, "", "a/b c?"]
    hostile = [Explained(**{**vars(invented(n, id_)), "label": "<b>\n" + "w" * 999}) for n, id_ in enumerate(ids)]
    document = write_explained(reversed(hostile), ids, tmp_path / "run" / "gradcam", {})
    assert [one["id"] for one in document["images"]] == ids
    assert len({one["key"] for one in document["images"]}) == len(ids)
    for one in document["images"]:
        path = tmp_path / "run" / "gradcam" / f"{one['key']}.png"
        assert path.resolve().parent == (tmp_path / "run" / "gradcam").resolve()
        assert path.is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_a_tile_has_the_image_then_each_overlay_and_map(tmp_path):
    one = invented(0, "x", side=SIDE)
    picture = tile(one, SIDE)
    parts = [picture[HEADING : HEADING + SIDE, left : left + SIDE] for left in range(0, 5 * (SIDE + GAP), SIDE + GAP)]
    first, second = one.maps.values()
    expected = [one.image, overlay(one.image, first), heat(first), overlay(one.image, second), heat(second)]
    for part, picture_ in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(part, picture_)
    under = picture[HEADING + SIDE :]
    assert under.min() < 100, "words stand under the pictures"
    assert grid([picture] * 3).shape[1] < 2200
    assert grid([picture] * 3).shape[0] > 2 * picture.shape[0]


def test_the_grid_has_64_images_and_every_image_its_file(tmp_path):
    ids = [str(number) for number in range(70)]
    write_explained((invented(n, id_, 8, 1) for n, id_ in enumerate(ids)), ids, tmp_path / "gradcam", {})
    assert len([*Path(tmp_path / "gradcam").glob("0*.png")]) == 70
    height, width = tile(invented(0, "0", 8, 1), SIDE).shape[:2]
    found = cv2.imread(str(tmp_path / "gradcam" / "grid.png"))
    columns = found.shape[1] // (width + MARGIN)
    assert found.shape[0] // (height + MARGIN) == -(-64 // columns)


def resident() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read from /proc")
def test_memory_does_not_grow_over_a_thousand_images():
    """A hoard of their maps alone would take 70 MB, graphs far more."""
    run = trained("histo", "size=96", "folds=2", only_fold=0)
    index = index_for(run)
    ids = [*index.train["id"], *index.test["id"]]
    assert len(ids) == 300

    def once() -> None:
        for one in explain_run(OpenRun(Registry(), run), ids, fold=0, console=SILENT):
            assert one.maps["body.24"].max() <= 1

    once()
    before = resident()
    for _ in range(4):
        once()
    assert resident() - before < 20


def test_every_trained_fold_of_the_run_is_used(run):
    ids = index_for(run).train["id"].tolist()
    assert {one.fold for one in explained(run, ids)} == set(run.trained_folds)
