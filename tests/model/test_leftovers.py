"""What another program or another machine left: the variables of torchrun, and a run that was compiled."""

import pytest
import torch

from kit.errors import KitError
from kit.model import build, distributed

PLACE = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29517"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "4"},
        {"WORLD_SIZE": ""},
        {"WORLD_SIZE": "one"},
        {"WORLD_SIZE": "0"},
        {"WORLD_SIZE": "-3"},
        {"WORLD_SIZE": "2.0"},
        {"WORLD_SIZE": "9" * 5000},
        {"WORLD_SIZE": "\u0662"},
        {"WORLD_SIZE": "2", "RANK": "0"},
        {"WORLD_SIZE": "2", "RANK": "", **PLACE},
        {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost"},
    ],
    ids=lambda given: str(given)[:60],
)
def test_left_over_variables_mean_one_process_with_a_warning(monkeypatch, capsys, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with distributed.joined():
        assert distributed.world_size() == 1
    err = capsys.readouterr().err
    assert "left over from another program: going on with one process" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "variables", [{}, {"WORLD_SIZE": "1"}, {"RANK": "x"}, {"WORLD_SIZE": "1", "RANK": "0", **PLACE}]
)
def test_one_process_needs_no_warning(monkeypatch, capsys, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with distributed.joined():
        assert distributed.world_size() == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "x"},
        {"RANK": "2"},
        {"RANK": "-1"},
        {"RANK": "0", "LOCAL_RANK": "x"},
        {"RANK": "0", "LOCAL_RANK": ""},
        {"RANK": "0", "LOCAL_RANK": "7"},
        {"RANK": "0", "MASTER_PORT": "many"},
        {"RANK": "0", "MASTER_PORT": "70000"},
    ],
    ids=str,
)
def test_impossible_values_are_one_line(monkeypatch, variables):
    for name, value in {"WORLD_SIZE": "2", **PLACE, **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KitError, match="torchrun, or unset WORLD_SIZE") as caught, distributed.joined():
        pass
    assert caught.value.code == 2


def test_without_a_compiler_it_goes_on_with_one_warning(monkeypatch, capsys):
    def broken(function):
        raise RuntimeError("No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1")

    monkeypatch.setattr(torch, "compile", broken)
    build._compiles.cache_clear()
    assert [build._compiles("cpu") for _ in range(3)] == [False] * 3
    build._compiles.cache_clear()
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "can't compile here (No working C++ compiler found): going on without compiling" in err


QUICK = ("--folds", 2, "--model", "small_cnn", "--epochs", 1, "--size", 32, "--no-pretrained", "--batch-size", 16)


@pytest.fixture
def no_compiler(monkeypatch):
    """As on a machine without a compiler; `kit.model.build._compiles` asks once a process, here once a command."""
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", (None, "/nowhere/g++"))
    forget = build._compiles.cache_clear
    forget()
    yield forget
    forget()


def test_a_run_to_compile_goes_on_where_there_is_no_compiler(kit, store, no_compiler, monkeypatch):
    """Training warns once; prediction compiles only if asked, so it has nothing to warn of."""
    trained = kit("train", "histo", *QUICK, "--fold", 0, "--set", "compile=true")
    run = trained.out.split("next: kit predict ")[1].strip()
    no_compiler()
    resumed = kit("train", "--resume", run, "--fold", 1)
    for done in (trained, resumed):
        assert done.err.count("warning: torch can't compile here") == 1
    no_compiler()
    asked = kit("predict", run, "--set", "compile=true")
    assert asked.err.count("warning: torch can't compile here") == 1
    monkeypatch.setattr(build, "_compiles", lambda device: pytest.fail("prediction compiles"))
    for command in (("predict", run), ("evaluate", run, "--set", "workers=0"), ("gradcam", run, "--worst", 1)):
        assert "compil" not in kit(*command).err


def test_a_batch_of_one_is_told_of_batch_norm(kit, store):
    err = kit(
        "train", "histo", "--folds", "2", "--model", "small_cnn", "--no-pretrained", "--batch-size", "1", code=2
    ).err
    assert "batch norm can't learn from a batch of 1 image: --batch-size 2 or more" in err
    assert "process" not in err
