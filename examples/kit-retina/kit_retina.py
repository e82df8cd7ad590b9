"""How far has diabetic retinopathy gone? Grades 0 to 4, scored by quadratic weighted kappa."""

from kit.plugin import Competition, DatasetSpec, SubmissionSpec, hookimpl

GRADES = ("none", "mild", "moderate", "severe", "proliferative")
SIMPLE = {"model": "small_cnn", "pretrained": False, "size": 32, "folds": 3, "epochs": 8, "batch_size": 16, "lr": 5e-3}


@hookimpl
def kit_competitions():
    facts = {"task": "ordinal", "classes": GRADES, "metric": "quadratic_kappa", "kaggle": "none", "defaults": SIMPLE}
    return [Competition("retina", "Retinopathy", "retina", dataset="retina", submission="retina", **facts)]


@hookimpl
def kit_datasets():
    return [DatasetSpec("retina", channels=3, index=index, miniature=miniature, any_size=True)]


@hookimpl
def kit_submissions():
    return [SubmissionSpec("retina", write, check)]


def index(root):
    from kit.plugin.data import Index, read_table

    frames = []
    for split, file in (("train", "train.csv"), ("test", "sample_submission.csv")):
        table = read_table(root / file, ("id_code", "diagnosis"), "unpack the archive again", numbers=("diagnosis",))
        table = table.rename(columns={"id_code": "id", "diagnosis": "target"}).astype({"target": int})
        frames.append(table.assign(files=[(f"{split}_images/{name}.png",) for name in table["id"]]))
    return Index(root, "ordinal", GRADES, frames[0], frames[1].drop(columns="target"))


def write(predictions, index, path):
    import pandas as pd

    ordered = predictions.reorder(index.test["id"].tolist())
    pd.DataFrame({"id_code": ordered.ids, "diagnosis": ordered.predicted()}).to_csv(path, index=False)


def check(path, root):
    from kit.plugin.submission import check_table

    return check_table(path, root / "sample_submission.csv", ("diagnosis",), high=4, whole=True)


def miniature(root, seed):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    for split, count, file in (("train", 150, "train"), ("test", 24, "sample_submission")):
        (root / f"{split}_images").mkdir()
        grades = random.choice(5, count, p=(0.4, 0.15, 0.2, 0.15, 0.1))
        for number, grade in enumerate(grades):
            pixels = random.normal((150, 80, 40), 12, (40, 40, 3))
            for y, x in random.integers(0, 37, (random.poisson(4 * grade), 2)):
                pixels[y : y + 3, x : x + 3] = 250  # lesions: the further it has gone, the more of them
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(root / f"{split}_images/{split}{number}.png")
        rows = [f"{split}{number},{grade if split == 'train' else 0}" for number, grade in enumerate(grades)]
        (root / f"{file}.csv").write_text("\n".join(["id_code,diagnosis", *rows]) + "\n")
