"""`kit bench`: it runs anywhere, leaves nothing behind, and its advice follows from the numbers alone."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from kit.config import TrainConfig
from kit.training.advice import COUNTING, STAGES, Bench, advise, in_words
from kit.training.bench import synthetic, timed

RATES = {
    "decode_one": 1000.0,
    "decode_all": 4000.0,
    "pack": 3500.0,
    "gather": 90_000.0,
    "augment": 9000.0,
    "copy": 50_000.0,
    "forward": 6000.0,
    "train": 2000.0,
    "train_double": 2050.0,
    "epoch": 1600.0,
}
CONFIG = TrainConfig(competition="c", dataset="d", loss="bce", folds=5, epochs=2, compile=True)
GPU = Bench(RATES, CONFIG, "cuda", True, 4, 4, False, 10_000, False, 10**8, 10**9)


def bench(change: dict | None = None, config: dict | None = None, **fields) -> Bench:
    made = replace(GPU, rates=RATES | (change or {}), config=CONFIG.model_copy(update=config or {}), **fields)
    # What the stages allow together, so that the last piece of advice is not given unless it is asked for.
    return made if "epoch" in (change or {}) else replace(made, rates=made.rates | {"epoch": made.together})


def on_cpu(change: dict | None = None, config: dict | None = None, **fields) -> Bench:
    without = {"copy": None, "train_double": None}
    return bench(without | (change or {}), config, **{"device": "cpu", "mixed": False} | fields)


ADVICE = [
    (bench(), "packing is limited by decoding (4,000 images/s on 4 cores)"),
    (bench({"pack": 1500.0}), "packing is limited by the steps after decoding (1,500 of 4,000 images/s)"),
    (bench({"decode_all": 1100.0}), "4 cores decode 1.1 times as fast as one"),
    (bench(), "training is limited by 'forward, backward, step' (2,000 images/s)"),
    (bench({"gather": 500.0}), "packed pixels held in memory"),
    (bench({"copy": 500.0}), "a smaller --size moves fewer bytes"),
    (bench({"augment": 500.0}), "flips and right-angle turns alone only copy pixels"),
    (bench({"augment": 500.0}, own=True), "--set workers=4"),
    (bench({"augment": 500.0, "gather": None}, {"pack": False}), "--set pack=true"),
    (bench(mixed=False), "--set amp=auto"),
    (bench({"train_double": 2500.0}), "--batch-size 64 gives 2,500 images/s"),
    (bench(config={"compile": False}), "--set compile=true"),
    (bench({"epoch": 400.0}), "a larger --batch-size"),
    (bench(pack_bytes=2 * 10**9), "the pack takes 2.0 GB, this machine has 1.0 GB of memory"),
    (on_cpu(), "no GPU here: the network runs on 4 CPU threads"),
    (on_cpu(threads=2), "OMP_NUM_THREADS=4"),
    (on_cpu({"augment": 500.0}), "fewer of the steps"),
]


@pytest.mark.parametrize(("made", "words"), ADVICE, ids=[words[:40] for _, words in ADVICE])
def test_each_piece_of_advice_has_its_numbers(made, words):
    assert words in "\n".join(advise(made))


def test_no_advice_without_its_reason():
    said = "\n".join(advise(bench()))
    for words in ("something else", "amp=auto", "--batch-size", "no GPU", "OMP_NUM_THREADS", "memory", "pack=true"):
        assert words not in said
    assert "pack" not in "\n".join(advise(bench({"gather": None}, {"pack": False}))[:1])


@pytest.mark.parametrize("stage", COUNTING)
def test_the_limit_is_the_slowest_stage_that_counts(stage):
    assert bench({stage: 10.0, "forward": 1.0, "decode_one": 1.0}).limits["training"] == stage


def test_the_estimate_is_arithmetic():
    made = bench({"epoch": 1600.0})
    assert made.seconds()["packing"] == pytest.approx(10_000 / 3500)
    assert made.seconds()["epoch"] == pytest.approx(8000 / 1600 + 2000 / 6000)
    assert made.seconds()["run"] == pytest.approx(10_000 / 3500 + 5 * 2 * (8000 / 1600 + 2000 / 6000))
    assert in_words(made) == "10,000 images: packing 3 s once, one epoch of one fold 5 s, 5 folds of 2 epochs 56 s"
    assert replace(made, is_packed=True).seconds()["packing"] == 0
    # On a CPU the stages take turns; beside a GPU the host works ahead.
    assert on_cpu().together == pytest.approx(1 / (1 / 9000 + 1 / 2000))
    assert bench({"gather": 100.0}).together == 100
    assert bench({"augment": 2000.0}, own=True).together == 2000


def test_the_clock_counts_what_was_done():
    calls = []
    rate = timed(lambda: calls.append(1) or 10, 0.02, lambda: None)
    assert rate <= 10 * len(calls) / 0.02
    assert timed(lambda: 1, 0, lambda: None) > 0


def check(document: dict) -> None:
    stages = document["stages"]
    assert list(stages) == list(STAGES)
    without = ("copy", "train_double")  # of a GPU
    assert all(stages[name] is None for name in without)
    assert all(rate > 0 for name, rate in stages.items() if name not in without and rate is not None)
    assert min((stages[name], name) for name in COUNTING if stages[name])[1] == document["limits"]["training"]
    assert document["limits"]["packing"] in ("decode_all", "pack")
    assert document["advice"]
    assert all(value >= 0 for value in document["estimate"]["seconds"].values())


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders go."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.glob("kit-bench-*")) == []


QUICK = ("--seconds", 0.02, "--model", "small_cnn", "--size", 32)


def test_before_any_download(kit, scratch, tmp_path):
    document = kit("bench", *QUICK, "--batch-size", 8, "--json").json
    check(document)
    assert (document["competition"], document["size"], document["batch_size"]) == (None, 32, 8)
    assert document["device"] == "cpu"
    assert not (tmp_path / "data").exists()


def test_the_data_of_a_competition(kit, store, scratch):
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}

    kit("pack", "histo", "--split", "train", "--size", 32)
    before = files()
    document = kit("bench", "histo", *QUICK, "--set", "rotate=20", "--json").json
    check(document)
    assert files() == before
    assert document["competition"] == "histopathology"
    assert document["estimate"]["images"] == 240
    assert document["estimate"]["seconds"]["packing"] == 0, "it is packed already"
    shown = kit("bench", "histo", *QUICK, "--set", "pack=false").out
    assert "limits training" in shown
    assert "no GPU" in shown


def test_data_that_is_not_there_is_said(kit):
    assert "kit download" in kit("bench", "histo", code=2).err


def test_what_is_wrong_is_said_in_a_line(kit, store, scratch):
    assert "unknown" in kit("bench", "--set", "nonsense=1", code=2).err
    (store.root / store.index().train["files"].iloc[0][0]).write_bytes(b"no image")
    assert "kit check" in kit("bench", "histo", *QUICK, code=2).err


def test_the_synthetic_store_is_read_like_any_other(tmp_path):
    store = synthetic(tmp_path, 40)
    index = store.dataset.index(store.root)
    image = store.dataset.read(tuple(index.paths(index.train)[3]))
    assert image.shape == (40, 40, 3)
