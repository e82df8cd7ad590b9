"""What a command may set for a run that exists: how it uses this machine, nothing that changes a result."""

import pytest

from helpers.training_runs import begin, go, learned
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.resolve import on_this_machine
from kit.run import Run
from kit.training.interrupt import Interrupt
from kit.training.train import train

SHORT = ("epochs=1", "size=24", "batch_size=40")


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ((), ["pack=false", "workers=2"]),
        (("pack=false", "workers=2"), ["pack=true", "workers=0"]),
        (("trackers=tensorboard",), ["trackers=[]"]),
    ],
    ids=["files instead of packs", "packs instead of files", "no tracker"],
)
def test_a_run_goes_on_with_other_settings_of_the_machine_to_the_same_bytes(store, monkeypatch, there, here):
    whole, stopped = begin(store, *SHORT, only_fold=0), begin(store, *SHORT, *there, only_fold=0)
    go(store, whole)
    check = Interrupt.check
    looks = []

    def stop_at_second(self: Interrupt) -> None:
        looks.append(1)
        self.requested = len(looks) == 2
        check(self)

    with monkeypatch.context() as patched:
        patched.setattr(Interrupt, "check", stop_at_second)
        with pytest.raises(KitError, match="--resume"):
            go(store, stopped)
    again = Run.open(stopped.path)
    train(OpenRun(Registry(), again, on_this_machine(again, here)), None, Console(json=True))
    assert learned(stopped) == learned(whole)
    assert Run.open(stopped.path).config == stopped.config  # for that command alone


def test_a_tracker_that_is_missing_here_is_named_with_the_way_to_go_on(store, kit, monkeypatch):
    run = begin(store, *SHORT, "trackers=tensorboard", only_fold=0)
    monkeypatch.setattr("kit_tensorboard.find_spec", lambda name: None)
    assert f"kit train --resume {run.id} --set trackers=[]" in kit("train", "--resume", run.id, code=2).err
    kit("train", "--resume", run.id, "--set", "trackers=[]")


def test_other_commands_take_them_too(store, kit):
    run = begin(store, *SHORT, only_fold=0)
    go(store, run)
    kit("predict", run.id)
    first = learned(run)
    for words in (("predict", run.id), ("evaluate", run.id), ("gradcam", run.id, "--worst", "2")):
        kit(*words, "--set", "pack=false", "--set", "workers=1")
    now = learned(run)
    assert {name: now[name] for name in first} == first


SETTINGS = ["size=64", "lr=1", "amp=off", "dataset=other", "wrokers=2", "workers=many", "pack"]


@pytest.mark.parametrize("command", ["train --resume", "predict", "evaluate", "gradcam"])
def test_nothing_else_can_be_set(store, kit, command):
    run = begin(store, *SHORT, only_fold=0)
    for setting in SETTINGS:
        said = kit(*command.split(), run.id, "--set", setting, code=2).err
        assert setting.split("=")[0] in said
