"""A plugin with a competition of 24 small images and several labels each, as quick as a competition can be."""

from pathlib import Path

from kit.plugin import Competition, DatasetSpec, Finding, SubmissionSpec, hookimpl

CLASSES = ("green", "red", "torn")
TRAIN, TEST, SIDE = 24, 6, 12


def write_miniature(root: Path, seed: int) -> None:
    import cv2
    import numpy as np

    random = np.random.default_rng(seed)
    lines = ["id,labels"]
    for split, count in (("train", TRAIN), ("test", TEST)):
        (root / split).mkdir(parents=True)
        for number in range(count):
            labels = np.flatnonzero(random.random(len(CLASSES)) < 0.5).tolist() or [number % len(CLASSES)]
            pixels = random.integers(0, 100, (SIDE, SIDE, 3), np.uint8)
            pixels[:, :, labels] += 100
            (root / split / f"{split}{number:02d}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
            lines += [f"{split}{number:02d},{' '.join(map(str, labels))}"] if split == "train" else []
    (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def index(root: Path):
    import pandas as pd

    from kit.plugin.data import Index, read_table

    table = read_table(root / "train.csv", ("id", "labels"), "kit download tiny --miniature")
    train = pd.DataFrame({"id": table["id"], "files": [(f"train/{id_}.png",) for id_ in table["id"]]})
    train["target"] = [labels_of(text) for text in table["labels"]]
    names = sorted(path.stem for path in (root / "test").glob("*.png"))
    test = pd.DataFrame({"id": pd.Series(names, dtype=object), "files": [(f"test/{name}.png",) for name in names]})
    for frame in (train, test):
        frame["side"] = ["left" if id_[-1:] in tuple("13579") else "right" for id_ in frame["id"]]
    return Index(root, "multilabel", CLASSES, train, test)


def external(path: Path, index):
    """Test images with labels, as `kit pseudo-label` writes them."""
    import pandas as pd

    from kit.plugin.data import read_table

    table = read_table(path, ("id", "labels"), "kit pseudo-label writes one")
    files = [(str(index.root.absolute() / f"test/{id_}.png"),) for id_ in table["id"]]
    labels = [labels_of(text) for text in table["labels"]]
    return pd.DataFrame({"id": table["id"], "files": files, "target": labels, "side": "left"})


def labels_of(text: str) -> tuple[int, ...]:
    from kit.errors import KitError

    words = text.split()
    if not words or not set(words) <= set("012"):
        raise KitError(f"a label of train.csv is {text[:20]!r}: give class numbers 0 to 2")
    return tuple(map(int, words))


def read(files):
    from kit.plugin.images import read_rgb

    return read_rgb(files[0])


def write(predictions, index, path: Path) -> None:
    from kit.plugin.files import atomic

    ordered = predictions.mean_by_id().reorder(index.test["id"].to_numpy(object))
    rows = [
        f"{id_},{' '.join(str(number) for number, yes in enumerate(row) if yes)}"
        for id_, row in zip(ordered.ids, ordered.predicted(), strict=True)
    ]
    with atomic(path) as temporary:
        temporary.write_text("id,labels\n" + "\n".join(rows) + "\n", encoding="utf-8")


def check(path: Path, root: Path) -> list[Finding]:
    return []


@hookimpl
def kit_competitions():
    defaults = {"model": "small_cnn", "loss": "bce", "size": 16, "folds": 2, "epochs": 1, "pretrained": False}
    return [
        Competition(
            "tiny",
            "Tiny leaves",
            "tiny",
            "multilabel",
            "macro_f1",
            "tiny",
            "tiny",
            (),
            CLASSES,
            "none",
            "",
            {},
            defaults,
        )
    ]


@hookimpl
def kit_datasets():
    return [DatasetSpec("tiny", 3, index, read, miniature=write_miniature, external=external)]


@hookimpl
def kit_submissions():
    return [SubmissionSpec("tiny", write, check)]
