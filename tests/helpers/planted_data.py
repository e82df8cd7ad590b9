"""Faults that are planted in a package, a competition, its data and its submission."""

from helpers.planted import DRAW, INDEX, MODULE, READ, TEST

# The check that names the fault, and the change that plants it.
FAULTS: list[tuple[str, tuple[str, str]]] = [
    ("package/light-import", (MODULE, f"import torch\n\n{MODULE}")),
    ("package/quick-import", (MODULE, f"import time\ntime.sleep(0.5)\n{MODULE}")),
    ("package/quiet-import", (MODULE, f'print("hello")\n{MODULE}')),
    ("package/import-writes-nothing", (MODULE, f'open("note.txt", "w").close()\n{MODULE}')),
    (
        "package/import-without-network",
        (
            MODULE,
            f"import socket\ntry:\n    socket.getaddrinfo('plants.invalid', 80)\nexcept OSError:\n    pass\n{MODULE}",
        ),
    ),
    ("package/import-starts-nothing", (MODULE, f"import subprocess\nsubprocess.run(['true'])\n{MODULE}")),
    ("package/import-changes-nothing", (MODULE, f"import os\nos.environ['KIT_PLANTED'] = '1'\n{MODULE}")),
    (
        "package/light-hooks",
        ('    return [DatasetSpec("leaves"', '    import pandas\n    return [DatasetSpec("leaves"'),
    ),
    (
        "package/hooks",
        (
            '    return [DatasetSpec("leaves", channels=3, index=index, read=read, miniature=miniature)]',
            '    return DatasetSpec("leaves", channels=3, index=index, read=read, miniature=miniature)',
        ),
    ),
    ("package/free-names", ('LossSpec("smooth"', 'LossSpec("focal"')),
    ("package/free-names", ('name="leaves"', 'name="histopathology"')),
    (
        "package/known-hooks",
        ("@hookimpl\ndef kit_losses()", "def kit_loss():\n    pass\n\n\n@hookimpl\ndef kit_losses()"),
    ),
    (
        "package/lazy-references",
        ("build=build_loss", "build=__import__('kit.plugin').plugin.lazy('kit_leaves:nothing')"),
    ),
    (
        "package/public-surface",
        ("from kit.plugin.data import", "from kit.data.index import Index as _\n    from kit.plugin.data import"),
    ),
    ("package/expected-failures", (MODULE, f'EXPECTED_FAILURES = {{"dataset/indx": "why"}}\n{MODULE}')),
    ("competition/defaults", ('"epochs": 4', '"epoch": 4')),
    ("competition/defaults", ('"epochs": 4', '"epochs": "four"')),
    ("competition/metric", ('metric="accuracy"', 'metric="acuracy"')),
    ("competition/metric-for-task", ('metric="accuracy"', 'metric="rmse"')),
    ("competition/dataset", ('dataset="leaves"', 'dataset="leafs"')),
    ("competition/submission", ('submission="leaves"', 'submission="leafs"')),
    ("competition/model", ('"model": "leaf_net"', '"model": "leafnet"')),
    ("competition/loss", ('"loss": "smooth"', '"loss": "bce"')),
    ("competition/slug", ('slug="leaves"', 'slug="Leaves of trees"')),
    ("competition/class-names", ("classes=TREES", 'classes=("birch", " maple", "oak")')),
    ("competition/classes-of-index", ("classes=TREES", 'classes=("oak", "maple", "birch")')),
    ("competition/task-of-index", ('task="multiclass"', 'task="ordinal"')),
    ("dataset/decodes-no-image", (INDEX, '    read((root / "train" / "train0.png",))\n' + INDEX)),
    (
        "dataset/decodes-no-image",
        (INDEX, "    from PIL import Image\n    Image.open(root / 'train' / 'train0.png').load()\n" + INDEX),
    ),
    (
        "dataset/decodes-no-image",
        (INDEX, "    import cv2\n    cv2.imread(str(root / 'train' / 'train0.png'))\n" + INDEX),
    ),
    ("dataset/unique-ids", (INDEX, "    import pandas as pd\n    train = pd.concat([train, train.head(2)])\n" + INDEX)),
    ("dataset/text-ids", (INDEX, '    train["id"] = range(len(train))\n' + INDEX)),
    ("dataset/targets", ('frames[0]["tree"].map(TREES.index)', 'frames[0]["tree"].map(TREES.index) + 1')),
    ("dataset/every-class", (INDEX, '    train = train[train["target"] > 0]\n' + INDEX)),
    ("dataset/train-test-apart", (TEST, 'train[["id", "files"]]')),
    ("dataset/train-test-apart", (TEST, 'train[["id", "files"]].assign(id=train["id"] + "t")')),
    (
        "dataset/groups-apart",
        (
            INDEX,
            INDEX.replace("train,", "train.assign(group=[f'g{n % 9}' for n in range(len(train))]),").replace(
                TEST, TEST + ".assign(group='g0')"
            )[:-1]
            + ', grouped_by="g")',
        ),
    ),
    ("dataset/grouped-by", (INDEX, INDEX.replace("train,", "train.assign(group='g'),"))),
    ("dataset/test-without-target", (TEST, TEST + ".assign(target=0)")),
    ("dataset/files-exist", ("{id_}.png", "{id_}.jpg")),
    ("dataset/relative-files", ('f"{name}/{id_}.png"', 'str(root / name / f"{id_}.png")')),
    ("dataset/same-again", (INDEX, "    train = train.sample(frac=1)\n" + INDEX)),
    (
        "dataset/any-order-of-folders",
        (
            INDEX,
            '    train = train.set_index("id").loc[[p.stem for p in (root / "train").iterdir()]].reset_index()\n'
            + INDEX,
        ),
    ),
    (
        "dataset/any-place",
        (INDEX, "    global _kept\n    _kept = globals().get('_kept') or root\n    root = _kept\n" + INDEX),
    ),
    ("dataset/writes-nothing", (INDEX, '    (root / "cache.csv").write_text("x")\n' + INDEX)),
    ("dataset/folds", (INDEX, INDEX.replace("train,", "train.assign(group='g'),")[:-1] + ', grouped_by="g")')),
    ("dataset/reads-uint8", (READ, "    return read_rgb(files[0]).astype('float32') / 255")),
    ("dataset/reads-uint8", (READ, "    return read_rgb(files[0]).transpose(2, 0, 1)")),
    (
        "dataset/reads-the-same",
        (READ, "    import numpy as np\n    return read_rgb(files[0])[::np.random.choice((-1, 1))].copy()"),
    ),
    (
        "dataset/reads-the-same",
        (
            READ,
            "    seen = globals().setdefault('_seen', {})\n    return seen.setdefault(files, read_rgb(files[0]))",
        ),
    ),
    ("dataset/reads-rgb", (READ, "    return read_rgb(files[0])[..., ::-1].copy()")),
    ("miniature/same-seed-same-bytes", (DRAW, "    rng = np.random.default_rng()\n")),
    ("miniature/other-seed-other-bytes", (DRAW, "    rng = np.random.default_rng(0)\n")),
    ("miniature/inside", (DRAW, DRAW + "    (root.parent / 'leaf.txt').touch()\n")),
    (
        "miniature/inside",
        (
            DRAW,
            DRAW + "    (root.parents[1] / 'leaf.txt').touch()\n",
        ),
    ),
    ("miniature/leaves-random-state", (DRAW, "    np.random.seed(seed)\n" + DRAW)),
    ("miniature/draws", (DRAW, DRAW + "    raise ValueError('no leaf')\n")),
    (
        "miniature/passes-check",
        ("        header = ", "        (root / name / f'{name}0.png').write_bytes(b'no image')\n        header = "),
    ),
    ("submission/writes", ("    table.to_csv(path", "    table.nothing\n    table.to_csv(path")),
    ("submission/check-passes-own", ("    return check_table(", "    check_table(")),
    ("submission/row-order", ("    table.to_csv(path", "    table = table.sort_values('id')\n    table.to_csv(path")),
    ("submission/any-order-of-predictions", ('predictions.reorder(index.test["id"].tolist())', "predictions")),
    ("submission/digits", ("table.to_csv(path, index=False)", "table.to_csv(path, index=False, float_format='%.2f')")),
    ("submission/no-extra-column", ("table.to_csv(path, index=False)", "table.to_csv(path)")),
    (
        "submission/same-bytes",
        (
            "table.to_csv(path, index=False)",
            "table.assign(birch=__import__('numpy').random.rand(len(table))).to_csv(path, index=False)",
        ),
    ),
    (
        "submission/leaves-predictions",
        (
            "    ordered = predictions",
            "    predictions.values[:] = predictions.values.round(1)\n    ordered = predictions",
        ),
    ),
    ("submission/check-passes-own", ("index=False)", "index=False, columns=['id', 'oak', 'maple', 'birch'])")),
    *(
        (f"submission/check-finds-{name}", ('    return check_table(path, root / "test.csv", TREES)', "    return []"))
        for name in (
            "missing-row",
            "extra-row",
            "repeated-row",
            "unknown-id",
            "header",
            "lost-column",
            "no-rows",
            "nan",
            "text",
            "no-csv",
        )
    ),
    (
        "submission/check-finds-nan",
        (
            '    return check_table(path, root / "test.csv", TREES)',
            "    from kit.plugin.submission import check_rows\n\n    return check_rows(path, root / 'test.csv')[1]",
        ),
    ),
]
