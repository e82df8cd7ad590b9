"""How much grows on a pasture? Grams of clover and of grass in a photo, scored by R2 over both."""

from kit.plugin import Competition, DatasetSpec, SubmissionSpec, hookimpl

PLANTS = ("clover", "grass")
SIMPLE = {"model": "small_cnn", "pretrained": False, "size": 32, "folds": 3, "epochs": 8, "batch_size": 16, "lr": 5e-3}


@hookimpl
def kit_competitions():
    facts = {"task": "regression", "classes": PLANTS, "metric": "weighted_r2", "kaggle": "none", "defaults": SIMPLE}
    return [Competition("biomass", "Biomass", "biomass", dataset="biomass", submission="biomass", **facts)]


@hookimpl
def kit_datasets():
    return [DatasetSpec("biomass", channels=3, index=index, miniature=miniature)]


@hookimpl
def kit_submissions():
    return [SubmissionSpec("biomass", write, check)]


def index(root):
    from kit.plugin.data import Index, read_table

    frames = []
    for split, file in (("train", "train.csv"), ("test", "sample_submission.csv")):
        table = read_table(root / file, ("id", *PLANTS), "unpack the archive again", numbers=PLANTS)
        grams = list(zip(table["clover"], table["grass"], strict=True))
        frames.append(table.assign(files=[(f"{split}/{name}.jpg",) for name in table["id"]], target=grams))
    return Index(root, "regression", PLANTS, frames[0], frames[1].drop(columns="target"))


def write(predictions, index, path):
    import pandas as pd

    ordered = predictions.reorder(index.test["id"].tolist())
    pd.DataFrame(ordered.values.clip(0), ordered.ids, PLANTS).to_csv(path, index_label="id")


def check(path, root):
    from kit.plugin.submission import check_table

    return check_table(path, root / "sample_submission.csv", PLANTS, high=None)


def miniature(root, seed):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    for split, count, name in (("train", 120, "train"), ("test", 15, "sample_submission")):
        (root / split).mkdir()
        grams = random.gamma(2, 40, (count, 2)).round(1)
        for number, (clover, grass) in enumerate(grams):
            pixels = random.normal((90 + clover / 2, 70 + grass / 2, 50), 10, (40, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(root / split / f"{split}{number}.jpg")
        shown = grams if split == "train" else 0 * grams
        rows = [f"{split}{number},{clover},{grass}" for number, (clover, grass) in enumerate(shown)]
        (root / f"{name}.csv").write_text("\n".join(["id,clover,grass", *rows]) + "\n")
