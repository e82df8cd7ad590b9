"""Trackers and the log file: what they hold is what history.csv and the console say."""

import csv
import io
import json
import os
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kit.console import Console
from kit.data.open_run import OpenRun
from kit.files import read_json, write_json
from kit.inference.forward import Forward
from kit.model.checkpoint import Checkpoints
from kit.pixels.samples import Samples
from kit.plugin import DatasetSpec, ImageTracker, Preview, TrackerSpec, hookimpl
from kit.task import TASKS
from kit.training.interrupt import Interrupt
from kit.training.previews import previews
from kit_tensorboard.tracker import TensorBoard, filters

QUICK = ("--size", 32, "--epochs", 2, "--folds", 2, "--fold", 0, "--batch-size", 16)
TRACKED = (*QUICK, "--set", "trackers=tensorboard", "--set", "validate_every=5")


@pytest.fixture
def sample(kit):
    kit("download", "histo", "--miniature")


def events(run: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(
        str(run / "tensorboard/fold-0"), size_guidance={"images": 0, "tensors": 0, "histograms": 0}
    ).Reload()


def history(run: Path) -> list[dict[str, str]]:
    with (run / "fold-0/history.csv").open() as file:
        return list(csv.DictReader(file))


def held(found) -> dict[str, list[tuple[int, float]]]:
    """All scalars by tag: (step, value)."""
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def expected(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What history.csv says, with eight steps an epoch."""
    rows = history(run)
    return {
        tag: [(round(8 * float(row["epoch"])), pytest.approx(float(row[tag]), rel=1e-6)) for row in rows]
        for tag in rows[0]
    }


def test_tensorboard_holds_what_history_csv_says(kit, sample):
    run = Path(kit("train", "histo", *TRACKED, "--set", "note=a|b", "--json").json["path"])
    found = events(run)
    assert held(found) == expected(run)
    assert [step for step, _ in held(found)["lr"]] == [5, 8, 10, 15, 16]
    assert {"AUC", "train loss", "valid loss"} <= set(found.Tags()["scalars"])

    config = read_json(run / "run.json")["config"]
    (text,) = found.Tensors("configuration/text_summary")
    assert json.loads(text.tensor_proto.string_val[0]) == config
    session = found.SummaryMetadata("_hparams_/session_start_info")
    assert session.plugin_data.plugin_name == "hparams"
    assert all(value in session.plugin_data.content for value in (b"coord_cnn", b"a|b", b"weight_decay"))

    pictures = found.Images("validation")
    assert [picture.step for picture in pictures] == [5, 8, 10, 15, 16]
    grids = [np.asarray(Image.open(io.BytesIO(picture.encoded_image_string))) for picture in pictures]
    assert all(grid.shape == (960, 800, 3) for grid in grids)
    # The same images with other captions: most pixels stay as they are, some don't.
    assert 0 < (grids[0] != grids[-1]).mean() < 0.1


def test_tensorboard_shows_the_network_if_asked(kit, sample, tmp_path):
    """Read back with tensorboard's own reader; what is learned is the same without."""
    shape = (
        "--size",
        32,
        "--epochs",
        2,
        "--folds",
        2,
        "--fold",
        0,
        "--batch-size",
        16,
        "--set",
        "trackers=tensorboard",
    )
    plain = Path(kit("train", "histo", *shape, "--json").json["path"])
    run = Path(kit("train", "histo", *shape, "--set", "track_network=true", "--json").json["path"])
    found, without = events(run), events(plain)
    assert without.Tags()["histograms"] == []
    assert not without.Tags()["graph"]
    weights = Checkpoints(run / "fold-0").weights("last")
    assert all(torch.equal(weights[key], other) for key, other in Checkpoints(plain / "fold-0").weights("last").items())

    histograms = {tag.removeprefix("weights/"): found.Histograms(tag) for tag in found.Tags()["histograms"]}
    learned = {key.removeprefix("network."): w.double() for key, w in weights.items() if key.startswith("network.")}
    statistics = {key for key in learned if key.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert histograms.keys() == learned.keys() - statistics
    for name, series in histograms.items():
        assert [each.step for each in series] == [8, 16]
        last = series[-1].histogram_value
        assert last.num == learned[name].numel()
        assert (last.min, last.max) == (learned[name].min(), learned[name].max())
        assert last.sum == pytest.approx(float(learned[name].sum()), abs=1e-4)

    graph = tf_graph(found)
    assert any("_convolution" in node.op for node in graph.node)
    assert any("head/" in node.name or "head" in node.name for node in graph.node)

    (tag,) = [tag for tag in found.Tags()["images"] if tag.startswith("filters/")]
    pictures = [np.asarray(Image.open(io.BytesIO(each.encoded_image_string))) for each in found.Images(tag)]
    first = learned[tag.removeprefix("filters/") + ".weight"].float().numpy()
    assert len(pictures) == 2
    assert (pictures[-1] == filters(first)).all()


def tf_graph(found):
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    return GraphDef.FromString(found.Graph().SerializeToString())


def test_filters_are_drawn_one_beside_another():
    colours = np.zeros((5, 3, 2, 2), np.float32)
    colours[4, 0] = 1
    colours[1, 2] = -0.5
    picture = filters(colours)
    side = 28 // 2 * 2
    assert picture.shape == (2 * (side + 1), 3 * (side + 1), 3)
    assert picture[0, 0].tolist() == [128, 128, 128]
    assert picture[0, side + 1].tolist() == [128, 128, 64]
    assert picture[side + 1, side + 1].tolist() == [255, 128, 128]
    assert picture[side, 0].tolist() == picture[0, side].tolist() == [200, 200, 200]
    grey = np.zeros((2, 6, 4, 4), np.float32)
    grey[1, 5] = -2
    picture = filters(grey)
    assert picture.shape == (2 * 29, 6 * 29, 3)
    assert picture[29, 5 * 29].tolist() == [0, 0, 0]
    assert picture[0, 0].tolist() == [128, 128, 128]
    assert (filters(np.zeros((1, 1, 3, 3), np.float32))[:27, :27] == 128).all()


def test_a_network_that_can_not_be_traced_is_trained_all_the_same(tmp_path):
    class Stubborn(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

        def forward(self, images, metadata):
            raise RuntimeError("no")

    write_json(tmp_path / "run.json", {"config": {"model": "x"}})
    tracker, network = TensorBoard(tmp_path, 0), Stubborn().train()
    tracker.log(1, {"loss": 0.5})
    for step in (1, 2):
        tracker.network(step, network, torch.zeros(1, 3, 8, 8), torch.zeros(1, 0))
    tracker.close()
    assert network.training
    found = events(tmp_path)
    (text,) = found.Tensors("graph/text_summary")
    assert b"no graph (RuntimeError: no" in text.tensor_proto.string_val[0]
    assert set(found.Tags()["histograms"]) == {"weights/layer.weight", "weights/layer.bias"}


def test_a_resumed_fold_holds_each_step_once(kit, sample, monkeypatch):
    """The process ends between the tracker's numbers and the checkpoint, so the next one does those steps again."""
    write, count = Checkpoints.write, [0]

    def failing(self, *arguments, **options):
        count[0] += 1
        if count[0] == 4:
            raise RuntimeError("cut off")
        write(self, *arguments, **options)

    monkeypatch.setattr(Checkpoints, "write", failing)
    with pytest.raises(RuntimeError, match="cut off"):
        kit("train", "histo", *TRACKED)
    (run,) = Path(os.environ["KIT_RUNS"]).iterdir()
    assert [step for step, _ in held(events(run))["AUC"]] == [5, 8, 10, 15]
    kit("train", "--resume", run.name)
    found = events(run)
    assert held(found) == expected(run)
    assert [picture.step for picture in found.Images("validation")] == [5, 8, 10, 15, 16]
    assert len(found.Tensors("configuration/text_summary")) == 1
    assert len(list((run / "tensorboard/fold-0").iterdir())) == 2


def test_without_the_package_one_line_names_it_and_no_run_is_begun(kit, sample, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    said = kit("train", "histo", *TRACKED, code=2).err
    assert "pip install 'tensorboard>=2.15'" in said
    assert said.count("\n") == 1
    assert not list((tmp_path / "runs").glob("*"))


class Numbers:
    """A tracker of the first contract: log and close alone."""

    def __init__(self):
        self.received: list[object] = []

    def log(self, step, values):
        self.received.append(step)

    def close(self):
        self.received.append("closed")


class Images(Numbers):
    def images(self, step, previews):
        self.received.append(previews)


def test_images_go_to_those_that_take_them(sample):
    from kit.data.store import Store
    from kit.hooks.manager import load_plugins
    from kit.hooks.registry import Registry
    from kit.resolve import resolve
    from kit.training.start import start_run
    from kit.training.train import train

    opened = {"numbers": Numbers(), "images": Images()}

    class Plugin:
        @hookimpl
        def kit_trackers(self):
            return [TrackerSpec(name, lambda run, fold, tracker=tracker: tracker) for name, tracker in opened.items()]

    plugins = load_plugins()
    plugins.add(Plugin(), "memory", "test", "1")
    registry = Registry(plugins)
    store = Store.of(registry, "histo")
    settings = ["size=32", "epochs=2", "folds=2", "batch_size=16", "trackers=numbers,images"]
    config, sources = resolve(store.competition, True, settings=settings)
    run = start_run(registry, store, config, sources, 0, Console(json=True))
    train(OpenRun(registry, run), None, Console(json=True))
    assert not isinstance(opened["numbers"], ImageTracker)
    assert opened["numbers"].received == [8, 16, "closed"]
    first, early, last, late, closed = opened["images"].received
    assert (first, last, closed) == (8, 16, "closed")
    assert len(early) == len(late) == 16
    assert all(isinstance(preview, Preview) and preview.image.shape == (32, 32, 3) for preview in early)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(early, late, strict=True))
    assert [p.caption.splitlines()[0] for p in early] == [p.caption.splitlines()[0] for p in late]
    index = store.index()
    valid = index.train[(index.train["id"].map(_folds(run)) == 0)].head(16)
    labels = [f"label {index.classes[target]}" for target in valid["target"]]
    assert [preview.caption.splitlines()[0] for preview in early] == labels


def _folds(run) -> dict[str, int]:
    from kit.data.folds import folds_of_run

    table = folds_of_run(run).table
    return dict(zip(table["id"], table["fold"], strict=True))


CLASSES = ("ash", "elm", "oak")


@pytest.mark.parametrize(
    ("task", "targets", "probabilities", "captions"),
    [
        ("binary", [[1.0], [0.0]], [[0.25], [0.125]], ["label elm|predicted ash 0.75", "label ash|predicted ash 0.88"]),
        (
            "multiclass",
            [2, 0],
            [[0.1, 0.2, 0.7], [0.2, 0.5, 0.3]],
            ["label oak|predicted oak 0.70", "label ash|predicted elm 0.50"],
        ),
        (
            "multilabel",
            [[1, 0, 1], [0, 0, 0]],
            [[0.5, 0.1, 0.9], [0.1, 0.2, 0.3]],
            ["label ash, oak|predicted oak 0.90, ash 0.50", "label none|predicted oak 0.30"],
        ),
        (
            "ordinal",
            [2, 0],
            [[0.1, 0.2, 0.7], [0.5, 0.1, 0.4]],
            ["label oak|predicted oak 0.70", "label ash|predicted elm 0.10"],
        ),
        (
            "regression",
            [[1.5, 20.0, -3.0], [0.0, 1e6, 2.25]],
            [[1.25, 19.0, 0.5], [0.0, 123456.0, 2.0]],
            [
                "label ash 1.5, elm 20, oak -3|predicted ash 1.25, elm 19, oak 0.5",
                "label ash 0, elm 1e+06, oak 2.25|predicted ash 0, elm 1.235e+05, oak 2",
            ],
        ),
    ],
)
def test_captions_and_colours_of_previews(task, targets, probabilities, captions):
    pixels = np.arange(2 * 2 * 4, dtype=np.uint8).reshape(2, 2, 4)
    dataset = DatasetSpec(
        "x", 4, index=lambda root: None, read=lambda files: pixels, composite=lambda array: array[..., 1:]
    )
    files = np.array([("a",), ("b",)])
    samples = Samples(Path(), files, np.array(targets), np.zeros((2, 0)), dataset, 2)
    shown = previews(samples, Forward(np.array(probabilities), np.array(targets), 0.0), TASKS[task], CLASSES)
    assert [preview.caption.replace("\n", "|") for preview in shown] == captions
    assert all(np.array_equal(preview.image, pixels[..., 1:]) for preview in shown)


def test_a_picture_without_composite_is_rgb():
    def picture(channels: int) -> np.ndarray:
        spec = DatasetSpec("x", channels, index=lambda root: None, read=lambda files: None)
        return spec.picture(np.arange(channels, dtype=np.uint8).reshape(1, 1, channels))

    assert [picture(channels).ravel().tolist() for channels in (1, 2, 3, 6)] == [
        [0, 0, 0],
        [0, 0, 0],
        [0, 1, 2],
        [0, 1, 2],
    ]


def lines(path: Path) -> list[str]:
    """The lines of a log file without their times, each of which must be one."""
    result = []
    for line in path.read_text(encoding="utf-8").splitlines():
        assert datetime.fromisoformat(line[:25]).utcoffset().total_seconds() == 0
        result.append(line[26:])
    return result


def test_a_console_logs_what_it_says_and_what_ends_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kit.console.Progress.interval", -1.0)
    console, path = Console(), tmp_path / "log.txt"
    console.say("before")
    with console.log_to(path):
        console.say("one\ntwo")
        console.say()
        console.warn("three")
        with console.progress("reading", 10) as bar:
            bar.advance(5)
        console.result({"not": "logged"})
    console.say("between")
    with pytest.raises(KeyError), Console(json=True).log_to(path):
        raise KeyError("gone")
    printed = capsys.readouterr()
    *said, ended = lines(path)
    assert said[:4] == ["one", "two", "", "warning: three"]
    assert said[4].startswith("reading: 5 of 10 images")
    assert len(said) == 5
    assert ended == "ended by KeyError: 'gone'"
    assert printed.out == "before\none\ntwo\n\nbetween\n"
    assert printed.err.splitlines() == said[3:]


def test_a_run_keeps_what_training_said_and_goes_on_with_it_when_resumed(kit, sample, monkeypatch):
    looks, check = [0], Interrupt.check

    def stop_after_twenty(self):
        looks[0] += 1
        self.requested = self.requested or looks[0] == 20  # after 5 steps and a validation
        check(self)

    monkeypatch.setattr(Interrupt, "check", stop_after_twenty)
    said = kit("train", "histo", *QUICK, "--set", "validate_every=5", code=130)
    (run,) = Path(os.environ["KIT_RUNS"]).iterdir()
    *first, ended = lines(run / "log.txt")
    assert ended.startswith("ended by Interrupted: interrupted; everything so far is saved")
    assert "fold 0 of 2" in first
    assert "\n".join(first) in said.out
    resumed = kit("train", "--resume", run.name)
    second = lines(run / "log.txt")[len(first) + 1 :]
    assert "\n".join(second) in resumed.out
    # Both processes have printed the head of the table, and together all its rows.
    assert sum("train loss" in line for line in [*first, *second]) == 2
    rows = [line.split()[1] for line in [*first, *second] if line.lstrip()[:1] in "012" and "." in line]
    assert rows == [f"{float(row['train loss']):.4f}" for row in history(run)]
