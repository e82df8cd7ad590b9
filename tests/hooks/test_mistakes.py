"""A stranger's mistakes are named: the plugin, its file and line, what is wrong; whatever command meets them."""

import errno
import multiprocessing
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.strangers import leaves, line_of, registry_of, use
from kit.data.images import read_sample
from kit.errors import Ended, KitError, PluginError
from kit.hooks.foreign import Foreign, guarded
from kit.hooks.hookspecs import hookimpl
from kit.hooks.learning import LossSpec, ModelSpec
from kit.hooks.manager import Plugins, load_plugins
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, DatasetSpec, Finding, MetricSpec, Picture, SubmissionSpec
from kit.hooks.trackers import ImageTracker, TrackerSpec
from kit.resolve import resolve

TARGET_OF = 'frames[0].assign(target=frames[0]["tree"].map(TREES.index))'
QUICK = ("--folds", 2, "--fold", 0, "--epochs", 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaves")
    (folder / "data").mkdir()
    registry_of(folder, leaves()).datasets.get("leaves").miniature(folder / "data", 0)
    return folder / "data"


def fails():
    raise ZeroDivisionError("by none")


SPECS = {
    "DatasetSpec": lambda **does: DatasetSpec("x", 3, **{"index": print, "read": print, **does}),
    "ModelSpec": lambda **does: ModelSpec("x", **{"build": print, **does}),
    "LossSpec": lambda **does: LossSpec("x", **{"build": print, **does}),
    "SubmissionSpec": lambda **does: SubmissionSpec("x", **{"write": print, "check": print, **does}),
    "MetricSpec": lambda **does: MetricSpec("x", True, **{"compute": print, **does}),
    "TrackerSpec": lambda **does: TrackerSpec("x", **{"open": print, **does}),
}
FIELDS = [
    *(("DatasetSpec", each) for each in ("index", "read", "composite", "groups", "figures", "miniature", "likeness")),
    *(("DatasetSpec", each) for each in ("external", "statistics")),
    *(("ModelSpec", each) for each in ("build", "statistics", "offline", "names")),
    ("LossSpec", "build"),
    *(("SubmissionSpec", each) for each in ("write", "check", "postprocess", "grade")),
    ("MetricSpec", "compute"),
    *(("TrackerSpec", each) for each in ("open", "check")),
]


def made(kind, field, does):
    """A spec with this function, as a plugin that gives it is registered."""
    hook = {"MetricSpec": "kit_metrics", "LossSpec": "kit_losses"}.get(kind, f"kit_{kind[:-4].lower()}s")
    spec = SPECS[kind](**{field: does})
    plugins = Plugins()
    plugins.add(SimpleNamespace(__name__=__name__, **{hook: hookimpl(lambda: [spec])}), "odd", "kit-odd", "1")
    return getattr(Registry(plugins)._of("thing", hook, type(spec)).get("x"), field)


@pytest.mark.parametrize(("kind", "field"), FIELDS)
@pytest.mark.parametrize(
    "error", [ZeroDivisionError("by none"), KeyError("x"), SystemExit(0), FileNotFoundError(2, "no", "x")]
)
def test_whatever_a_function_raises_is_one_line_with_plugin_file_and_line(kind, field, error):
    def does(*arguments):
        raise error

    with pytest.raises(PluginError) as found:
        made(kind, field, does)(Path("/data/a.png"))
    line = does.__code__.co_firstlineno + 1
    kind = kind.removesuffix("Spec").lower()
    assert f"{field} of {kind} x (plugin odd of kit-odd) given /data/a.png failed at {__file__}:{line} (" in str(
        found.value
    )
    assert type(error).__name__ in str(found.value)
    assert found.value.__cause__ is error, "--debug shows it"


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_function_that_takes_other_arguments_is_named_by_its_own_place(kind, field):
    def does():
        pass

    with pytest.raises(PluginError) as found:
        made(kind, field, does)(Path("/data/a.png"))
    assert f" failed at {__file__}:{does.__code__.co_firstlineno} (TypeError: " in str(found.value)


@pytest.mark.parametrize(("kind", "field"), FIELDS)
@pytest.mark.parametrize(
    "error",
    [
        KitError("no such table: put it there", 3),
        MemoryError(),
        OSError(errno.ENOSPC, "full"),
        PermissionError(errno.EACCES, "no"),
        Ended(15),
        KeyboardInterrupt(),
        torch.OutOfMemoryError("CUDA"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_kit_of_the_machine_and_of_the_person_keep_their_meaning(kind, field, error):
    def does(*arguments):
        raise error

    with pytest.raises(type(error)) as found:
        made(kind, field, does)()
    assert found.value is error


ARRAY = np.zeros((4, 5, 3), np.uint8)
WRONG = [
    ("DatasetSpec", "index", None, "returned None, not a kit.plugin.data.Index"),
    ("DatasetSpec", "index", pd.DataFrame(), "returned .*0x0|DataFrame"),
    ("DatasetSpec", "read", None, "returned None, not uint8 of HxWx3"),
    ("DatasetSpec", "read", ARRAY / 255, "returned float64 of 4x5x3, not uint8 of HxWx3"),
    ("DatasetSpec", "read", ARRAY[..., 0], "returned uint8 of 4x5, not"),
    ("DatasetSpec", "read", ARRAY[..., :2], "returned uint8 of 4x5x2, not"),
    ("DatasetSpec", "read", ARRAY.transpose(2, 0, 1), "returned uint8 of 3x4x5, not"),
    ("DatasetSpec", "read", ARRAY[:0], "returned uint8 of 0x5x3, not"),
    ("DatasetSpec", "read", ARRAY.tolist(), "returned list, not"),
    ("DatasetSpec", "composite", ARRAY[..., 0], "returned uint8 of 4x5, not uint8 of HxWx3"),
    ("DatasetSpec", "likeness", ARRAY, "returned uint8 of 4x5x3, not uint8 of HxW"),
    ("DatasetSpec", "groups", [("a", "b")], "returned list, not a mapping of ids to groups"),
    ("DatasetSpec", "groups", {1: "b"}, "the group of 1 is 'b'"),
    ("DatasetSpec", "figures", None, "returned None, not pictures"),
    ("DatasetSpec", "external", None, "returned None, not a pandas.DataFrame"),
    ("DatasetSpec", "external", pd.DataFrame({"id": ["a"]}), "the column 'files'"),
    ("DatasetSpec", "statistics", np.zeros((4, 3)), "not None, or a mean and a standard deviation of n x 3 each"),
    ("DatasetSpec", "statistics", (np.zeros(3), np.ones(3)), "returned float64 of 3, not None"),
    ("ModelSpec", "build", None, "returned None, not a torch.nn.Module"),
    ("ModelSpec", "build", torch.nn.ReLU, "returned type, not a torch.nn.Module"),
    ("ModelSpec", "statistics", ((0.5,), (0.0,)), "standard deviations above 0"),
    ("ModelSpec", "statistics", 0.5, "returned 0.5, not a mean"),
    ("ModelSpec", "offline", "yes", "returned 'yes', not True, False or None"),
    ("ModelSpec", "names", "resnet", "returned 'resnet', not a list of names"),
    ("LossSpec", "build", torch.nn.functional.cross_entropy, "returned function, not a torch.nn.Module"),
    ("SubmissionSpec", "check", None, "returned None, not a list of findings"),
    ("SubmissionSpec", "check", ["bad"], "returned 'bad', not a kit.plugin.Finding"),
    ("SubmissionSpec", "check", [Finding("fatal", "bad")], "returned Finding, not a kit.plugin.Finding of level"),
    ("SubmissionSpec", "postprocess", ARRAY, "not a kit.plugin.predictions.Predictions"),
    ("SubmissionSpec", "grade", 0.5, "returned 0.5, not scores by name"),
    ("SubmissionSpec", "grade", {"auc": "high"}, "returned 'high', not a number"),
    ("MetricSpec", "compute", None, "returned None, not a number"),
    ("MetricSpec", "compute", "0.5", "returned '0.5', not a number"),
    ("MetricSpec", "compute", np.zeros(3), "returned float64 of 3, not a number"),
    ("MetricSpec", "compute", {"f2": 0.5}, "returned dict, not a number"),
    ("TrackerSpec", "open", None, "returned None, not a tracker: it has no log"),
    ("TrackerSpec", "open", SimpleNamespace(log=print), "it has no close"),
]


@pytest.mark.parametrize(("kind", "field", "value", "said"), WRONG)
def test_what_a_function_may_not_return_is_named(kind, field, value, said):
    def does(*arguments):
        return value

    with pytest.raises(PluginError, match=said) as found:
        made(kind, field, does)()
    assert f"correct it at {__file__}:{does.__code__.co_firstlineno}" in str(found.value)


@pytest.mark.parametrize(
    ("kind", "field", "value", "taken"),
    [
        ("MetricSpec", "compute", np.float32(0.5), 0.5),
        ("MetricSpec", "compute", torch.tensor(0.5), 0.5),
        ("MetricSpec", "compute", 1, 1.0),
        ("SubmissionSpec", "check", (), []),
        ("SubmissionSpec", "grade", {"auc": np.float64(0.25)}, {"auc": 0.25}),
        ("ModelSpec", "names", ("a",), ["a"]),
        ("ModelSpec", "statistics", ([0.5], [1]), ((0.5,), (1.0,))),
        ("DatasetSpec", "statistics", None, None),
        ("DatasetSpec", "groups", {"a": None, "b": "c"}, {"a": None, "b": "c"}),
    ],
)
def test_what_a_function_may_return_is_taken_in_one_form(kind, field, value, taken):
    found = made(kind, field, lambda *arguments: value)()
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("second", "said"), [(fails, "ZeroDivisionError: by none"), (dict, "returned dict, not a kit.p")]
)
def test_pictures_are_judged_as_they_are_made(second, said):
    def figures(index):
        yield Picture("one", "a picture", None)
        yield second()

    pictures = made("DatasetSpec", "figures", figures)(None)
    assert next(pictures).name == "one"
    with pytest.raises(PluginError, match=f"figures of dataset x .*{said}"):
        next(pictures)


class Prints:
    """A tracker that has every right method, or one that does not fit."""

    def log(self, step, values):
        assert values

    def close(self):
        pass


class Shows(Prints):
    def images(self, step, previews):
        raise KeyError("no such board")


class Takes(Prints):
    def log(self, step):
        pass


def test_the_methods_of_a_tracker_are_behind_the_boundary_too():
    plain, shows, takes = (
        made("TrackerSpec", "open", lambda *_, kind=kind: kind())(Path(), 0) for kind in (Prints, Shows, Takes)
    )
    plain.log(1, {"loss": 0.5})
    plain.close()
    assert isinstance(shows, ImageTracker)
    assert not isinstance(plain, ImageTracker)
    with pytest.raises(PluginError, match=r"log of tracker x \(plugin odd of kit-odd\) failed at .*AssertionError"):
        plain.log(1, {})
    with pytest.raises(PluginError, match=r"images of tracker x .*KeyError"):
        shows.images(1, [])
    with pytest.raises(PluginError, match=r"log of tracker x .*takes 2 positional arguments"):
        takes.log(1, {"loss": 0.5})


def test_specs_still_travel_to_other_processes_and_cost_little():
    spec = guarded(SPECS["DatasetSpec"](read=np.asarray), "plugin odd of kit-odd", "odd")
    pipe = multiprocessing.get_context("spawn").SimpleQueue()
    pipe.put(spec)
    again = pipe.get()
    assert isinstance(again.read, Foreign)
    assert np.array_equal(again.read(ARRAY), ARRAY)
    assert again == spec


BROKEN = {
    "import": (("from pathlib", "import nothing_at_all\nfrom pathlib"), "No module named 'nothing_at_all'"),
    "syntax": (("def read(files):", "def read(files)"), r"SyntaxError: .* at .*kit_leaves.py:\d+"),
    "task": (('task="multiclass"', 'task="multi"'), r"task 'multi' of competition 'leaves' .* at .*kit_leaves.py:\d+"),
    "hook with an argument": (
        ("def kit_datasets():", "def kit_datasets(app, root=None):"),
        r"kit_datasets takes 'app', which kit does not give: nothing at .*kit_leaves.py:\d+$",
    ),
    "hook without its mark": (
        ("@hookimpl\ndef kit_datasets", "def kit_datasets"),
        r"no @hookimpl .* at .*kit_leaves.py:\d+$",
    ),
    "no list": (
        ("    return [\n        Competition(", "    return (\n        Competition("),
        ("        )\n    ]", "        )\n    )"),
        r"kit_competitions: returned Competition, not a list of Competition at .*kit_leaves.py:\d+$",
    ),
    "hook": (
        ("return [DatasetSpec(", "return [Dataset("),
        r"kit_datasets: NameError: name 'Dataset' .*kit_leaves.py:\d+",
    ),
    "classes": (('"birch", "maple", "oak"', '"oak", "maple", "oak"'), r"has 'oak' twice at .*kit_leaves.py:\d+$"),
    "channels": (("channels=3", 'channels="3"'), "channels of DatasetSpec 'leaves' is '3', not a number of channels"),
    "defaults": (
        ("defaults={", "facts=3, defaults={"),
        "facts .* not a mapping",
    ),
    "tasks": (
        ('tasks=("multiclass",)', 'tasks="multiclass"'),
        "tasks of LossSpec 'smooth' is 'multiclass', not a tuple",
    ),
    "std": (("std=(0.25,)", "std=(0,)"), "std of ModelSpec 'leaf_net' is .*, not a tuple of numbers above 0"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_the_competition_of_a_broken_plugin_is_broken_and_says_why(kit, tmp_path, monkeypatch, data, mistake):
    *changes, said = BROKEN[mistake]
    monkeypatch.setenv("KIT_DATA", str(data.parent / "nothing"))
    use(monkeypatch, tmp_path / "plugin", leaves(*changes))
    found = kit("train", "leaves", "--json", code=2).json["error"]
    listed = kit("list", "--json").json
    assert "plugin leaves of kit-leaves" in listed["broken"]
    assert re.search(said, listed["broken"]["plugin leaves of kit-leaves"])
    if mistake not in ("tasks", "std"):
        assert re.search(r"^(competition|dataset) 'leaves' is broken, as its plugin leaves of kit-leaves is: ", found)
        assert re.search(said, found)
    if mistake not in ("tasks", "std", "hook", "channels", "hook with an argument", "hook without its mark"):
        typed = kit("info", "histop", code=2).err
        assert re.search("'histop': did you mean .*; or it is of the plugin leaves of .*, which is broken: ", typed)


def test_a_default_that_no_run_knows_names_the_competition():
    competition = Competition("x", "X", "x", "binary", "roc_auc", "x", "x", defaults={"sise": 32})
    with pytest.raises(KitError, match=r"^defaults of competition x: unknown key 'sise': did you mean size"):
        resolve(competition, False)


@pytest.mark.parametrize(("task", "loss"), [("binary", "bce"), ("multiclass", "cross_entropy"), ("multilabel", "bce")])
def test_a_competition_without_defaults_has_sensible_ones(task, loss):
    competition = Competition("x", "X", "x", task, "roc_auc", "x", "x")
    config, sources = resolve(competition, False)
    assert (config.loss, sources["loss"]) == (loss, "default")
    registry = Registry(load_plugins())
    assert task in registry.losses.get(config.loss).tasks
    assert registry.models.get(config.model).offline is not None


@pytest.mark.parametrize("options", [(), ("--set", "pack=false"), ("--set", "pack=false", "--set", "workers=1")])
def test_a_read_that_fails_is_named_in_every_process_with_its_traceback(kit, tmp_path, monkeypatch, options):
    code = leaves(("return read_rgb(files[0])", "return files[0].nothing"))
    use(monkeypatch, tmp_path / "plugin", code)
    kit("download", "leaves", "--miniature")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    said = (
        rf"read of dataset leaves .* given .*\.png failed at .*kit_leaves.py:{line_of(code, 'files[0].nothing')} \(Attr"
    )
    assert re.search(said, kit("train", "leaves", *QUICK, *options, "--json", code=2).json["error"])
    checked = kit("check", "leaves", "--json", code=2).json["checks"]
    assert re.search(said, next(each["offenders"][0] for each in checked if each["offenders"]))


def test_a_miniature_that_its_own_index_refuses_is_no_wrong_archive(kit, tmp_path, monkeypatch):
    use(monkeypatch, tmp_path / "plugin", leaves((TARGET_OF, "(1 / 0)")))
    said = kit("download", "leaves", "--miniature", code=2).err
    assert "error: index of dataset leaves (plugin leaves of kit-leaves)" in said
    assert "archive" not in said


def test_what_a_command_raises_is_its_plugins_and_the_cause_is_kept(kit, tmp_path, monkeypatch):
    code = (
        leaves()
        + '\n\n@hookimpl\ndef kit_commands(app):\n    app.command("boom")(boom)\n\n\ndef boom():\n    {}["x"]\n'
    )
    use(monkeypatch, tmp_path / "plugin", code)
    said = f"the plugin leaves of kit-leaves failed at {tmp_path}/plugin/kit_leaves.py:{line_of(code, '{}[')} (KeyError"
    assert said in kit("boom", code=2).err
    use(monkeypatch, tmp_path / "plugin", leaves((TARGET_OF, "(1 / 0)")))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(PluginError) as found:
        kit("download", "leaves", "--miniature", "--debug")
    assert isinstance(found.value.__cause__, ZeroDivisionError), "--debug shows where"


def test_pixels_of_a_wrong_type_name_the_plugin(tmp_path, data):
    dataset = registry_of(tmp_path, leaves(("read_rgb(files[0])", "read_rgb(files[0]) / 255"))).datasets.get("leaves")
    with pytest.raises(PluginError, match=r"given .*train0.png returned float64 of 40x40x3, not uint8 of HxWx3"):
        read_sample(dataset, data, ("train/train0.png",))


def test_a_csv_that_is_not_written_is_no_csv(kit, tmp_path, monkeypatch):
    code = leaves(("table.to_csv(path", 'table.to_csv(path.parent / "mine.csv"'))
    use(monkeypatch, tmp_path / "plugin", code)
    kit("download", "leaves", "--miniature")
    kit("train", "leaves", *QUICK)
    kit("predict")
    said = kit("submit", "--dry-run", code=2).err
    assert "write of submission leaves (plugin leaves of kit-leaves) wrote nothing to the path that it is given" in said
    assert f"kit_leaves.py:{line_of(code, 'def write(')}," in said
