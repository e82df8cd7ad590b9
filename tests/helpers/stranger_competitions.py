"""Four competitions as strangers write them: the module of each plugin, and the folder that its archive holds.

A csv with AUC, a folder per class with log loss, tags with F2, grades with quadratic kappa. Each has a metric of its
own and gives nothing that it need not give: no loss, no miniature.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

TRAIN, TEST, SIDE = 48, 8, 20
TAGS, GRADES = ("clear", "haze", "road", "water"), ("none", "mild", "moderate", "severe", "worst")
TINY = '{"model": "small_cnn", "pretrained": False, "size": 16, "folds": 2, "epochs": 2, "batch_size": 8}'

CACTUS = f'''
"""Is there a cactus? A csv with 0 and 1; the area under the ROC curve."""
from kit.plugin import Competition, DatasetSpec, MetricSpec, SubmissionSpec, hookimpl


@hookimpl
def kit_competitions():
    return [Competition("cactus", "Cactus", "cactus", "binary", "area", "cactus", "cactus", kaggle="none",
                        classes=("no cactus", "cactus"), defaults={TINY})]


@hookimpl
def kit_datasets():
    return [DatasetSpec("cactus", channels=3, index=index, read=read)]


@hookimpl
def kit_metrics():
    return [MetricSpec("area", True, area)]


@hookimpl
def kit_submissions():
    return [SubmissionSpec("cactus", write=write, check=check)]


def index(root):
    from kit.plugin.data import Index, read_table

    train = read_table(root / "train.csv", ("id", "has_cactus"), "unpack the archive again", numbers=("has_cactus",))
    test = read_table(root / "sample_submission.csv", ("id", "has_cactus"), "unpack the archive again")
    train = train.rename(columns={{"has_cactus": "target"}})
    train["files"] = [(f"train/{{name}}",) for name in train["id"]]
    test["files"] = [(f"test/{{name}}",) for name in test["id"]]
    return Index(root, "binary", ("no cactus", "cactus"), train, test)


def read(files):
    from kit.plugin.images import read_rgb

    return read_rgb(files[0])


def area(target, prediction):
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(target, prediction)


def write(predictions, index, path):
    import pandas as pd

    ordered = predictions.reorder(index.test["id"].tolist())
    pd.DataFrame({{"id": ordered.ids, "has_cactus": ordered.values[:, 0]}}).to_csv(path, index=False)


def check(path, root):
    from kit.plugin.submission import check_table

    return check_table(path, root / "sample_submission.csv", ("has_cactus",))
'''

ANIMALS = f'''
"""Which animal is it? A folder of images for each class; log loss, the lower the better."""
from kit.plugin import Competition, DatasetSpec, MetricSpec, SubmissionSpec, hookimpl


@hookimpl
def kit_competitions():
    return [Competition("animals", "Animals", "animals", "multiclass", "surprise", "animals", "animals",
                        kaggle="none", epoch_metrics=(), defaults={TINY})]


@hookimpl
def kit_datasets():
    return [DatasetSpec("animals", 3, index, read, any_size=True)]


@hookimpl
def kit_metrics():
    return [MetricSpec("surprise", False, surprise, tasks=("multiclass",), label="log loss")]


@hookimpl
def kit_submissions():
    return [SubmissionSpec("animals", write, check)]


def index(root):
    import pandas as pd
    from kit.plugin.data import Index

    classes = tuple(sorted(folder.name for folder in (root / "train").iterdir()))
    rows = [(f"{{name}}/{{path.stem}}", (f"train/{{name}}/{{path.name}}",), number)
            for number, name in enumerate(classes) for path in sorted((root / "train" / name).iterdir())]
    test = [(path.stem, (f"test/{{path.name}}",)) for path in sorted((root / "test").iterdir())]
    return Index(root, "multiclass", classes, pd.DataFrame(rows, columns=["id", "files", "target"]),
                 pd.DataFrame(test, columns=["id", "files"]))


def read(files):
    import numpy as np
    from PIL import Image

    with Image.open(files[0]) as image:
        return np.asarray(image.convert("RGB"))


def surprise(target, prediction):
    import numpy as np

    p = np.clip(prediction, 1e-15, 1 - 1e-15)
    return -np.log((p / p.sum(1, keepdims=True))[np.arange(len(target)), target]).mean()


def write(predictions, index, path):
    import pandas as pd

    table = pd.DataFrame(predictions.values, columns=predictions.classes)
    table.insert(0, "file", predictions.ids)
    table.sort_values("file").to_csv(path, index=False)


def check(path, root):
    import pandas as pd
    from kit.plugin import Finding

    found, wanted = set(pd.read_csv(path, dtype=str)["file"]), {{each.stem for each in (root / "test").iterdir()}}
    return [Finding("error", f"{{len(found ^ wanted)}} files differ")] if found != wanted else []
'''

FOREST = f'''
"""What is in the picture from above? Tags in one column; the mean F2 over the pictures."""
from kit.plugin import Competition, DatasetSpec, MetricSpec, SubmissionSpec, hookimpl

TAGS = {TAGS!r}


@hookimpl
def kit_competitions():
    return [Competition("forest", "Forest", "forest", "multilabel", "mean_f2", "forest", "forest", classes=TAGS,
                        kaggle="none", defaults={TINY})]


@hookimpl
def kit_datasets():
    return [DatasetSpec("forest", 3, index, read)]


@hookimpl
def kit_metrics():
    return [MetricSpec("mean_f2", True, f2, ("multilabel",), decision="thresholds", beta=2)]


@hookimpl
def kit_submissions():
    return [SubmissionSpec("forest", write, lambda path, root: [])]


def index(root):
    import pandas as pd
    from kit.plugin.data import Index

    train = pd.read_csv(root / "train_v2.csv")
    target = [tuple(TAGS.index(tag) for tag in text.split()) for text in train["tags"]]
    train = pd.DataFrame({{"id": train["image_name"], "target": target}})
    test = pd.DataFrame({{"id": pd.read_csv(root / "sample_submission_v2.csv")["image_name"]}})
    for frame, folder in ((train, "train-jpg"), (test, "test-jpg")):
        frame["files"] = [(f"{{folder}}/{{name}}.jpg",) for name in frame["id"]]
    return Index(root, "multilabel", TAGS, train, test)


def read(files):
    from kit.plugin.images import read_rgb

    return read_rgb(files[0])


def f2(target, prediction):
    from sklearn.metrics import fbeta_score

    return fbeta_score(target, prediction >= 0.5, beta=2, average="samples", zero_division=0)


def write(predictions, index, path):
    import pandas as pd

    ordered = predictions.reorder(index.test["id"].tolist())
    tags = [" ".join(tag for tag, yes in zip(TAGS, row) if yes) for row in ordered.predicted()]
    pd.DataFrame({{"image_name": ordered.ids, "tags": tags}}).to_csv(path, index=False)
'''

RETINA = f'''
"""How bad is it? Grades 0 to 4; Cohen's kappa with quadratic weights."""
from kit.plugin import Competition, DatasetSpec, MetricSpec, SubmissionSpec, hookimpl

GRADES = {GRADES!r}


@hookimpl
def kit_competitions():
    return [Competition("retina", "Retina", "retina", "ordinal", "kappa", "retina", "retina", classes=GRADES,
                        kaggle="none", defaults={TINY})]


@hookimpl
def kit_datasets():
    return [DatasetSpec("retina", 3, index, read)]


@hookimpl
def kit_metrics():
    return [MetricSpec("kappa", True, kappa, ("ordinal",), label="quadratic kappa", decision="cuts")]


@hookimpl
def kit_submissions():
    return [SubmissionSpec("retina", write, check)]


def index(root):
    from kit.plugin.data import Index, numbers_of, read_table

    train = read_table(root / "train.csv", ("id_code", "diagnosis"), "unpack it again")
    train["target"] = numbers_of(train, "diagnosis", root / "train.csv", "unpack it again", 0, 4).astype(int)
    test = read_table(root / "test.csv", ("id_code",), "unpack it again")
    train, test = (frame.rename(columns={{"id_code": "id"}}) for frame in (train, test))
    train["files"] = [(f"train_images/{{name}}.png",) for name in train["id"]]
    test["files"] = [(f"test_images/{{name}}.png",) for name in test["id"]]
    return Index(root, "ordinal", GRADES, train[["id", "files", "target"]], test)


def read(files):
    from kit.plugin.images import read_rgb

    return read_rgb(files[0])


def kappa(target, prediction):
    from sklearn.metrics import cohen_kappa_score

    return cohen_kappa_score(target, prediction.argmax(1), weights="quadratic")


def write(predictions, index, path):
    import pandas as pd

    ordered = predictions.reorder(index.test["id"].tolist())
    pd.DataFrame({{"id_code": ordered.ids, "diagnosis": ordered.predicted()}}).to_csv(path, index=False)


def check(path, root):
    from kit.plugin.submission import check_table

    return check_table(path, root / "sample_submission.csv", ("diagnosis",), high=4, whole=True)
'''

CODES = {"cactus": CACTUS, "animals": ANIMALS, "forest": FOREST, "retina": RETINA}


def draw(name: str, root: Path) -> None:
    """Write the folder that the archive of a competition holds."""
    random = np.random.default_rng(0)
    root.mkdir(parents=True)
    {"cactus": _cactus, "animals": _animals, "forest": _forest, "retina": _retina}[name](root, random)


def _image(path: Path, random: np.random.Generator, light: float, red: float = 0) -> None:
    pixels = random.normal(60 + light, 20, (SIDE, SIDE, 3))
    pixels[..., 0] += red
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def _cactus(root: Path, random: np.random.Generator) -> None:
    for folder, count, file in (("train", TRAIN, "train"), ("test", TEST, "sample_submission")):
        names, labels = [f"{folder}{number:03d}.jpg" for number in range(count)], random.integers(0, 2, count)
        for name, label in zip(names, labels, strict=True):
            _image(root / folder / name, random, 40 * label)
        shown = labels if folder == "train" else 0.5
        pd.DataFrame({"id": names, "has_cactus": shown}).to_csv(root / f"{file}.csv", index=False)


def _animals(root: Path, random: np.random.Generator) -> None:
    for number in range(TRAIN):
        kind = number % 3
        _image(root / "train" / ("cat", "dog", "yak")[kind] / f"{number}.png", random, 30 * kind)
    for number in range(TEST):
        _image(root / "test" / f"{number}.png", random, 30 * (number % 3))


def _forest(root: Path, random: np.random.Generator) -> None:
    for folder, count, file in (("train-jpg", TRAIN, "train_v2"), ("test-jpg", TEST, "sample_submission_v2")):
        rows = []
        for number in range(count):
            has = random.random(4) < (0.5, 0.3, 0.3, 0.3)
            has[0] |= not has.any()
            _image(root / folder / f"{folder[:4]}_{number}.jpg", random, 50 * has[0], 60 * has[1])
            rows.append((f"{folder[:4]}_{number}", " ".join(np.array(TAGS)[has])))
        pd.DataFrame(rows, columns=["image_name", "tags"]).to_csv(root / f"{file}.csv", index=False)


def _retina(root: Path, random: np.random.Generator) -> None:
    grades = np.arange(TRAIN) % 5
    for number, grade in enumerate(grades):
        _image(root / "train_images" / f"a{number:04d}.png", random, 25 * grade)
    for number in range(TEST):
        _image(root / "test_images" / f"b{number:04d}.png", random, 25 * (number % 5))
    train = [f"a{number:04d}" for number in range(TRAIN)]
    pd.DataFrame({"id_code": train, "diagnosis": grades}).to_csv(root / "train.csv", index=False)
    test = pd.DataFrame({"id_code": [f"b{number:04d}" for number in range(TEST)]})
    test.to_csv(root / "test.csv", index=False)
    test.assign(diagnosis=0).to_csv(root / "sample_submission.csv", index=False)
