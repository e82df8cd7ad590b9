"""Training by the path of a GPU, on the CPU: the same run, wherever pixels lie, stopped and resumed too."""

import pytest

from helpers.training_runs import begin, go, learned
from kit.pixels import resident
from kit.pixels.batches import Loader
from kit.run import Run


@pytest.fixture
def on_device(monkeypatch):
    monkeypatch.setattr(Loader, "on_device", property(lambda loader: True, lambda loader, value: None), raising=False)
    monkeypatch.setattr(resident, "free_memory", lambda device: 10**9)
    monkeypatch.setattr(resident, "_full", set())


def test_a_run_is_the_same_wherever_its_pixels_lie(store, on_device, monkeypatch):
    runs, log = {}, {}
    read = 0
    stored = resident.held

    def held(pack, device):
        nonlocal read
        found = stored(pack, device)
        read += found is not None
        return found

    monkeypatch.setattr("kit.pixels.on_device.held", held)
    for pixels in ("auto", "host"):
        read = 0
        run = begin(store, f"pixels={pixels}", "mixup=0.4", "ema=0.9")
        go(store, run)
        assert (read > 0) == (pixels == "auto")
        runs[pixels], log[pixels] = learned(run), (run.path / "log.txt").read_text()
    assert runs["auto"] == runs["host"]
    assert log["auto"].count("stay on the GPU") == 1, "the second fold finds them there"
    assert "the pixels at 32 px" in log["auto"]
    assert "GPU" not in log["host"]
    assert not resident._held, "the memory is given back"


def test_a_stopped_run_ends_as_one_that_was_not(store, on_device, monkeypatch):
    whole = begin(store)
    go(store, whole)
    part = begin(store, "save_every=3")
    steps = []

    def stop(watch, *given, **named):
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return check(watch, *given, **named)

    from kit.training.finite import LossWatch

    check = LossWatch.check
    monkeypatch.setattr(LossWatch, "check", stop)
    with pytest.raises(KeyboardInterrupt):
        go(store, part)
    monkeypatch.setattr(LossWatch, "check", check)
    go(store, Run.open(part.path))
    assert {name: digest for name, digest in learned(part).items() if name.endswith(".npz")} == {
        name: digest for name, digest in learned(whole).items() if name.endswith(".npz")
    }
