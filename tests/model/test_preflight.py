"""A GPU that can't compute is named in one line, with its own cause, before anything else is done."""

import subprocess
import sys
import warnings
from types import FunctionType

import pytest
import torch

from helpers.faked_cards import CU126, CU128, CU130, P100, SCRIPT, fake
from helpers.training_runs import begin
from kit.errors import KitError
from kit.model import distributed, preflight
from kit.model.device import Runtime
from kit.training import on_ray

T4, V100, A100 = ("Tesla T4", (7, 5)), ("Tesla V100-SXM2-16GB", (7, 0)), ("NVIDIA A100-SXM4-40GB", (8, 0))
H100, L4, K80 = ("NVIDIA H100 80GB HBM3", (9, 0)), ("NVIDIA L4", (8, 9)), ("Tesla K80", (3, 7))
RTX5090, B300, GB10 = ("NVIDIA GeForce RTX 5090", (12, 0)), ("NVIDIA B300", (10, 3)), ("NVIDIA GB10", (12, 1))
OLD = "torch 2.7 serves it: pip install 'torch==2.7.*' 'torchvision==0.22.*'"
NEW = "a newer torch serves it: pip install -U torch torchvision"
RUN_A_NETWORK = ("train histo", "predict", "evaluate", "lr-find histo", "bench", "bench histo", "gradcam")


def build(archs: str) -> tuple[str, str, str]:
    return ("12.8", "2.9.0+cu128", archs)


@pytest.fixture(autouse=True)
def afresh():
    """Each test is a process of its own to the check that is done once per process."""
    preflight._compute.cache_clear()
    yield
    preflight._compute.cache_clear()


@pytest.mark.parametrize(
    ("card", "torch_build", "serves"),
    [
        (P100, CU128, OLD),
        (P100, CU130, OLD),
        (P100, CU126, None),
        (V100, CU130, OLD),
        (V100, CU128, None),
        (K80, CU126, "no torch that kit works with is built for it"),
        (T4, CU130, None),
        (A100, CU130, None),
        (H100, CU130, None),
        (H100, build("sm_90a"), None),
        (B300, build("sm_90a"), NEW),
        (L4, build("sm_86"), None),
        (A100, build("sm_86"), NEW),
        (RTX5090, CU126, NEW),
        (RTX5090, CU130, None),
        (GB10, CU130, None),
        (B300, build("sm_100a"), NEW),
        (B300, build("sm_100f"), None),
        (H100, build("compute_80"), None),
        (A100, build("compute_90"), NEW),
        (RTX5090, build("compute_90a"), NEW),
        (RTX5090, build("sm_90 compute_120"), None),
        (P100, ("12.8", "2.7.1+cu128", "sm_75 sm_80"), "pip install --force-reinstall 'torch==2.7.*'"),
    ],
)
def test_a_card_is_held_against_what_torch_was_built_for(monkeypatch, card, torch_build, serves):
    cuda, version, archs = torch_build
    waited = fake(monkeypatch.setattr, card, torch_build)
    if serves is None:
        preflight.need_card(["train", "histo"])
        preflight.need_card(["train", "histo"])
        assert waited == ["waited"], "one operation a process"
        return
    with pytest.raises(KitError) as caught:
        preflight.need_card(["train", "histo", "--set", "size_of=a b"])
    said, (name, (major, minor)) = str(caught.value), card
    assert said.startswith(f"{name} (compute capability {major}.{minor}, sm_{major}{minor}) can't compute with torch ")
    assert f"torch {version} (CUDA {cuda}), built for {archs}: " in said
    assert serves in said
    assert said.endswith("; on the CPU meanwhile: CUDA_VISIBLE_DEVICES= kit train histo --set 'size_of=a b'")
    assert caught.value.code == 2
    assert waited == []


CARDS = [(5, 0), (5, 2), (6, 0), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0)]


@pytest.mark.skipif(not hasattr(torch.cuda, "_code_compatible_with_device"), reason="this torch has no such table")
@pytest.mark.parametrize("built", [50, 60, 70, 75, 80, 86, 89, 90, 100, 120])
def test_machine_code_runs_where_torch_itself_says_it_does(monkeypatch, built):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    for major, minor in [*CARDS, (12, 1)]:
        expected = torch.cuda._code_compatible_with_device(10 * major + minor, built)
        assert preflight.runs_on(f"sm_{built}", (major, minor)) == expected, (built, major, minor)


OTHER = "CUDA kernel errors might be asynchronously reported at some other API call"


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB."), "has no free memory (CUDA out of"),
        (RuntimeError(f"CUDA error: out of memory\n{OTHER}"), "has no free memory (CUDA error: out of memory): "),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "has no free memory"),
        (RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "is held by another process"),
        (RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."), "needs a newer driver"),
        (RuntimeError("CUDA error: CUDA driver version is insufficient for CUDA runtime"), "needs a newer driver"),
        (RuntimeError("CUDA error: the provided PTX was compiled with an unsupported toolchain."), "a newer driver"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "can't compute with torch 2.11.0+cu130"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "(cuDNN error: CUDNN_STATUS_NOT_INITIALIZED)"),
        (AssertionError("Torch not compiled with CUDA enabled"), "(Torch not compiled with CUDA enabled)"),
        (OSError("libcudnn_ops.so.9: cannot open shared object file"), "(libcudnn_ops.so.9: cannot open shared"),
        (ValueError(), "(ValueError)"),
    ],
)
def test_an_operation_that_fails_has_its_own_cause(monkeypatch, failure, told):
    fake(monkeypatch.setattr, T4, CU130, failure)
    with pytest.raises(KitError) as caught:
        preflight.need_card()
    said = str(caught.value)
    assert said.startswith("Tesla T4 (compute capability 7.5, sm_75) ")
    assert told in said
    assert OTHER not in said
    assert "serves it" not in said, "no other torch would help"
    assert said.endswith("; on the CPU meanwhile: CUDA_VISIBLE_DEVICES= before the command")
    assert caught.value.code == (5 if "nvidia-smi shows what holds it" in said else 2)
    assert (caught.value.code == 5) == ("memory" in told or "held" in told)


@pytest.mark.parametrize("said", ["CUDA error: no kernel image is available", "cuDNN error: STATUS_ARCH_MISMATCH"])
def test_a_card_for_which_code_lacks_after_all(monkeypatch, said):
    """The list of a library inside of torch may be shorter than torch's own."""
    fake(monkeypatch.setattr, P100, CU126, RuntimeError(f"{said}\n{OTHER}"))
    with pytest.raises(KitError, match=r"can't compute with torch 2\.7\.1.* --force-reinstall 'torch==2\.7") as caught:
        preflight.need_card()
    assert f" ({said}): torch 2.7 serves it" in str(caught.value)


def test_what_fails_before_the_card_is_known(monkeypatch):
    fake(monkeypatch.setattr, P100, CU130)
    no_driver = RuntimeError("Found no NVIDIA driver on your system.\nPlease check that you have one")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: (_ for _ in ()).throw(no_driver))
    with pytest.raises(KitError, match=r"^the GPU can't compute .* \(Found no NVIDIA driver on your system\.\): "):
        preflight.need_card()


def test_other_makers_cards_are_only_tried(monkeypatch):
    waited = fake(monkeypatch.setattr, ("AMD Instinct MI250X", (9, 0)), (None, "2.11.0+rocm6.4", "gfx90a gfx942"))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    preflight.need_card()
    assert waited == ["waited"]


def test_without_a_card_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("get_device_capability", "get_arch_list", "get_device_name", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, None)
    preflight.need_card()
    assert Runtime.choose("auto").device.type == "cpu"


def test_the_runtime_asks_too(monkeypatch):
    fake(monkeypatch.setattr, P100, CU130)
    with pytest.raises(KitError, match="Tesla P100"):
        Runtime.choose("auto")


def test_on_kaggle_the_other_accelerator_is_named(monkeypatch, tmp_path):
    fake(monkeypatch.setattr, P100, CU130)
    (tmp_path / "kaggle" / "input").mkdir(parents=True)
    with pytest.raises(KitError, match=r"or switch the notebook's accelerator to GPU T4 x2; on the CPU"):
        preflight.need_card()


@pytest.mark.parametrize("command", RUN_A_NETWORK)
def test_the_card_is_named_before_data_and_runs_are_looked_for(kit, monkeypatch, command):
    fake(monkeypatch.setattr, P100, CU130)
    done = kit(*command.split(), code=2)
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("error: Tesla P100-PCIE-16GB (compute capability 6.0, sm_60) can't compute with torch 2.11")
    assert line.endswith(f"CUDA_VISIBLE_DEVICES= kit {command}")


def test_nothing_heavy_is_imported_before():
    words = " + ".join(RUN_A_NETWORK).split()
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == len(RUN_A_NETWORK)
    loaded = set(done.stdout.split())
    assert {"loaded", "torch", "kit"} <= loaded
    assert (
        loaded & {"pandas", "cv2", "sklearn", "scipy", "matplotlib", "timm", "torchvision", "albumentations"} == set()
    )


FROM_TORCH = {
    "the card": "\n    Found GPU0 Tesla P100-PCIE-16GB which is of cuda capability 6.0.\n    Minimum and Maximum cuda",
    "newer": "Found GPU1 Tesla P100-PCIE-16GB which is of compute capability (CC) 6.0.\nThe following list shows",
    "the build": "\n    Please install PyTorch with a following CUDA\n    configurations:  12.6 following instructions",
    "the code": "\nTesla P100-PCIE-16GB with CUDA capability sm_60 is not compatible with the current PyTorch\n",
}


def name_of_card(device=None):
    warnings.warn(SAID, stacklevel=1)
    return "Tesla P100"


SAID = ""  # by the function above, in the name of torch.cuda


@pytest.mark.parametrize("text", [*FROM_TORCH.values(), "something else of CUDA's"], ids=[*FROM_TORCH, "else"])
def test_what_torch_says_of_such_cards_is_not_said_twice(monkeypatch, text):
    fake(monkeypatch.setattr, P100, CU130)
    module = {"__name__": "torch.cuda", "warnings": warnings, "SAID": text}
    monkeypatch.setattr(torch.cuda, "get_device_name", FunctionType(name_of_card.__code__, module, None, (None,)))
    with warnings.catch_warnings(record=True, action="always") as caught, pytest.raises(KitError, match="Tesla P100"):
        preflight.need_card()
    assert [str(each.message) for each in caught] == ([] if text in FROM_TORCH.values() else [text])


TOO_OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: ... Alternatively, go to: ... to install a "
    "PyTorch version that has been compiled with your version of the CUDA driver. (Triggered internally at ...)"
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (TOO_OLD, "(The NVIDIA driver on your system is too old (found version 11040)): update the driver, or install"),
        ("CUDA initialization: CUDA unknown error - this may be due to an environment.\nMore", "nvidia-smi shows what"),
    ],
)
def test_a_card_that_torch_does_not_see_is_named_in_one_line(kit, monkeypatch, said, told):
    def is_available():
        warnings.warn(said, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with warnings.catch_warnings(record=True) as caught:
        done = kit("predict", code=2)
    assert caught == []
    first, last = done.err.splitlines()
    assert first.startswith("warning: torch can't use the GPU, so the CPU computes (")
    assert told in first
    assert "no run" in last


@pytest.mark.slow
def test_two_processes_say_one_line_in_total():
    """Each looks at its own card; here both are P100."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*command, SCRIPT, "train", "histo"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.count("error: Tesla P100-PCIE-16GB (") == 1, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")][1:] == []


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize(
    ("codes", "first"), [((None, None, None), None), ((2, 2, 2), 0), ((None, 2, 5), 1), ((None, None, 5), 2)]
)
def test_of_several_processes_the_first_that_fails_reports(monkeypatch, rank, codes, first):
    def gather(found: list, own: int | None) -> None:
        assert own == codes[rank]
        found[:] = codes

    def look():
        if codes[rank] is not None:
            raise KitError("the card", codes[rank])

    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "GRACE", 0)
    monkeypatch.setattr(distributed.dist, "all_gather_object", gather)
    if first is None:
        distributed.on_each(look)
        return
    with pytest.raises(KitError if rank == first else SystemExit) as caught:
        distributed.on_each(look)
    assert caught.value.code == codes[first]


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_more_processes_than_cards(monkeypatch, number):
    taken = []
    fake(monkeypatch.setattr, T4, CU130, count=2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(distributed, "GRACE", 0)
    if number < 2:
        distributed._take_card(number)
        assert taken == [number]
        return
    with pytest.raises(KitError if number == 2 else SystemExit) as caught:
        distributed._take_card(number)
    if number == 2:
        assert str(caught.value) == "this machine has fewer GPUs (2) than processes: torchrun --nproc-per-node 2"
    assert caught.value.code == 2


def test_on_ray_the_workers_look(kit, store, monkeypatch):
    monkeypatch.setattr(on_ray, "need_ray", lambda: None)
    monkeypatch.setattr(on_ray, "train_on_ray", lambda *inputs, **options: _refuse())
    fake(monkeypatch.setattr, P100, CU130)
    quick = ("--folds", 2, "--size", 32, "--model", "small_cnn", "--no-pretrained")
    assert "no Ray in this test" in kit("train", "histo", *quick, "--on", "ray", code=2).err
    run = begin(store)
    words = ["kit", "train", "histo", "--on", "ray"]
    document = on_ray._task(str(run.path), 0, 1, 1.0, on_ray._versions(), words, run.config)
    assert document is not None
    assert document["code"] == 2
    assert document["text"].startswith("Tesla P100-PCIE-16GB (")
    assert document["text"].endswith("CUDA_VISIBLE_DEVICES= kit train histo --on ray")


def _refuse():
    raise KitError("no Ray in this test")


@pytest.mark.parametrize(("count", "options"), [(0, ()), (1, ()), (2, ()), (4, ("--json",)), (2, ("--on", "ray"))])
def test_further_cards_are_named_once(kit, monkeypatch, count, options):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(on_ray, "need_ray", lambda: None)
    done = kit("train", "histo", "--folds", 2, *options, code=2)
    words = " ".join(["train histo --folds 2", *options])
    line = (
        f"this trains on one of {count} GPUs; on all of them: torchrun --nproc-per-node {count} -m kit {words}, or "
        f"kit {words} --on ray (folds side by side)\n"
    )
    named = count > 1 and "ray" not in options
    assert (done.out + done.err).count("GPUs") == named
    assert ((done.err if "--json" in options else done.out).count(line)) == named


def test_further_cards_are_not_named_where_processes_share_the_work(kit, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "on_each", lambda work: work())
    monkeypatch.setattr(distributed, "on_main", lambda work: work())
    done = kit("train", "histo", code=2)
    assert "GPUs" not in done.out + done.err
