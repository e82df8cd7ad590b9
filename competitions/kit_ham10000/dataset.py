"""Read the raw folder: `ISIC_*.jpg` anywhere below it, and `HAM10000_metadata.csv` with one row per image.

A lesion may have several rows. Images in a folder with `test` in its name are the official test set of ISIC 2018 task
3; all others belong to the metadata: in two folders as published, in one folder, beside the csv, full-size or resized.
"""

import re
import reprlib
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError, nearest
from kit.plugin.data import MULTICLASS, Index, numbers_of, read_table, table_of
from kit.plugin.files import walk
from kit.plugin.images import read_rgb

# In the order of the columns of the challenge's csv, which have these names in capitals.
CLASSES = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata")
COLUMNS = ("lesion_id", "image_id", "dx", "age", "sex", "localization")
FACTS = ("age", "sex", "localization")
SITES = (
    "abdomen",
    "acral",
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "lower extremity",
    "neck",
    "scalp",
    "trunk",
    "upper extremity",
)
IMAGE = re.compile(r"(ISIC_\d+)\.(?:jpg|jpeg|png)", re.IGNORECASE)
AGE_MEAN, AGE_STD = 50.0, 20.0  # years, rounded
OLDEST = 150
UNKNOWN = ("", "unknown", "nan", "NaN", "NA")
MEND = "kit download ham10000 --from ARCHIVE.zip provides it"


def index(root: Path) -> Index:
    """Read the index: training rows in the order of the metadata, test rows in that of their ids.

    Metadata columns are the age (minus 50 years, in units of 20; 0 if unknown), whether it is known, sex and site. Test
    images have metadata if a csv with `test` in its name has the columns image_id, age, sex and localization.

    Raises:
        KitError: the metadata csv is missing or malformed, or a dx is not one of the seven.
    """
    images, tests, tables = _found(root)
    metadata = next((root / table for name in METADATA for table in tables if table.rsplit("/", 1)[-1] == name), None)
    table = read_table(metadata or root / METADATA[0], COLUMNS, MEND)
    _check_ages(table, metadata or root / METADATA[0])
    wrong = table[~table["dx"].isin(CLASSES)]
    if len(wrong):
        known = ", ".join(CLASSES)
        raise KitError(
            f"{METADATA[0]}: the dx {reprlib.repr(wrong['dx'].iloc[0])} of {wrong['image_id'].iloc[0]} is not one of "
            f"{known} ({len(wrong)} such rows): {MEND}"
        )
    listed = table["image_id"]
    doubled, absent = listed.duplicated(), ~listed.isin(images)
    rows = table[~doubled & ~absent].reset_index(drop=True)
    target = rows["dx"].map({name: number for number, name in enumerate(CLASSES)}).astype(np.int64)
    train = pd.DataFrame({"id": rows["image_id"], "files": _files(rows["image_id"], images), "target": target})
    train["group"] = rows["lesion_id"].where(rows["lesion_id"] != "", None).astype(object)
    test_ids = pd.Series(sorted(tests), dtype=object)
    test = pd.DataFrame({"id": test_ids, "files": _files(test_ids, tests)})
    inputs = _inputs(rows)
    strangers = sorted(set(images) - set(listed))
    return Index(
        root=root,
        task=MULTICLASS,
        classes=CLASSES,
        train=pd.concat([train, _facts(rows), inputs], axis=1),
        test=pd.concat([test, _inputs(_test_facts(root, tables, test_ids))], axis=1),
        metadata=tuple(inputs.columns),
        grouped_by="lesion",
        missing={
            f"ids of {METADATA[0]} without an image": tuple(listed[absent & ~doubled]),
            f"images that {METADATA[0]} lacks": tuple(strangers),
            f"duplicate ids in {METADATA[0]}": tuple(listed[doubled]),
        },
    )


# Path of each id's image, relative to the root.
Images = dict[str, str]


def _found(root: Path) -> tuple[Images, Images, list[str]]:
    """Return training images, test images, and the names of csv files; kit's own folders are skipped.

    Kaggle's copy of the data holds each folder twice, under names that differ in capitals: the first one counts.
    """
    images: Images = {}
    tests: Images = {}
    tables = []
    for folder, folders, names in walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "explore"]
        below = Path(folder).relative_to(root).as_posix()
        into = tests if "test" in below.lower() else images
        prefix = "" if below == "." else f"{below}/"
        for name in names:
            if image := IMAGE.fullmatch(name):
                into.setdefault(image[1], prefix + name)
            elif name.endswith(".csv") or name in METADATA:
                tables.append(prefix + name)
    return images, tests, tables


def _files(ids: pd.Series, images: Images) -> np.ndarray:
    files = np.empty(len(ids), object)
    files[:] = [(images[id_],) for id_ in ids]
    return files


def _check_ages(table: pd.DataFrame, path: Path) -> None:
    if "age" in table:
        numbers_of(table, "age", path, MEND, 0, OLDEST, UNKNOWN)


def _facts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return age in years (NaN if unknown), sex and site as in the metadata, and how the dx was confirmed."""
    return pd.DataFrame(
        {
            "age": pd.to_numeric(rows["age"], errors="coerce").astype(np.float64),
            "sex": rows["sex"],
            "localization": rows["localization"],
            "dx_type": rows.get("dx_type", ""),
        }
    )


def _inputs(rows: pd.DataFrame) -> pd.DataFrame:
    """Encode `FACTS`, given as text, as float32 metadata columns."""
    age = pd.to_numeric(rows["age"], errors="coerce")
    columns = {"input_age": ((age - AGE_MEAN) / AGE_STD).fillna(0), "input_age_known": age.notna()}
    columns |= {f"input_{sex}": rows["sex"] == sex for sex in ("female", "male")}
    columns |= {f"input_{site.replace(' ', '_')}": rows["localization"] == site for site in SITES}
    return pd.DataFrame({name: column.astype(np.float32) for name, column in columns.items()})


def _test_facts(root: Path, tables: list[str], ids: pd.Series) -> pd.DataFrame:
    """Return `FACTS` of the test images as text, empty if no csv has them."""
    for name in tables:
        if "test" not in name.lower():
            continue
        table = read_table(root / name, (), MEND)
        if {"image_id", *FACTS} <= set(table):
            _check_ages(table, root / name)
            known = table.drop_duplicates("image_id").set_index("image_id")
            return known[list(FACTS)].reindex(ids).fillna("").reset_index(drop=True)
    return pd.DataFrame("", index=range(len(ids)), columns=list(FACTS))


def test_ids(root: Path) -> list[str]:
    """Return the ids of the test images, sorted."""
    return sorted(_found(root)[1])


def read(files: tuple[Path, ...]) -> np.ndarray:
    """Read the one file of a sample as HxWx3 uint8, RGB."""
    return read_rgb(files[0])


def labels_of(table: pd.DataFrame, path: Path) -> pd.Series:
    """Return the class number of each image from a table in one of the published forms.

    One row per image, with either `image_id` and `dx`, or `image` and one column of confidences per class (`MEL`,
    `NV`, ...), of which the largest counts.

    Args:
        table: the csv, every column as text.
        path: of the csv, for messages.

    Returns:
        Class numbers, indexed by image id.

    Raises:
        KitError: the table has neither form, an unknown dx, or an image without a single largest confidence.
    """
    columns = [name.upper() for name in CLASSES]
    if {"image_id", "dx"} <= set(table):
        wrong = table["dx"][~table["dx"].isin(CLASSES)]
        if len(wrong):
            raise KitError(f"{path}: dx {reprlib.repr(wrong.iloc[0])}: {nearest(wrong.iloc[0], list(CLASSES))}")
        return pd.Series(table["dx"].map(CLASSES.index).to_numpy(np.int64), index=table["image_id"].to_numpy(object))
    if {"image", *columns} <= set(table):
        values = np.column_stack([numbers_of(table, name, path, "correct it", 0, 1) for name in columns])
        undecided = (values == values.max(1, keepdims=True)).sum(1) != 1
        if undecided.any():
            raise KitError(
                f"{path}: {table['image'][undecided].iloc[0]} has no single largest column "
                f"({int(undecided.sum())} such rows): correct it"
            )
        return pd.Series(values.argmax(1), index=table["image"].str.removesuffix(".jpg").to_numpy(object))
    raise KitError(
        f"{path} has the columns {', '.join(table.columns)}: give a csv with image_id and dx, or with image "
        f"and {', '.join(columns)}"
    )


def external(path: Path, index: Index) -> pd.DataFrame:
    """Return further training rows from a csv in a form that `labels_of` reads, or from a folder with one such csv.

    The images are beside the csv or in a folder there. Ids of the competition's own images, as in pseudo-labels, need
    none.

    Raises:
        KitError: the folder holds no csv or several, an id appears twice, or an image is missing.
    """
    table_path = table_of(path, "image_id and dx")
    table = read_table(table_path, (), "give --external a csv with image_id and dx")
    _check_ages(table, table_path)
    labels = labels_of(table, table_path)
    if labels.index.has_duplicates:
        raise KitError(f"{table_path}: {labels.index[labels.index.duplicated()][0]} appears twice: remove one")
    known = {
        id_: files
        for frame in (index.train, index.test)
        for id_, files in zip(frame["id"], frame["files"], strict=True)
    }
    folder = table_path.parent.absolute()
    for place in (folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())):
        known |= {image[1]: (str(file),) for file in place.iterdir() if (image := IMAGE.fullmatch(file.name))}
    absent = [id_ for id_ in labels.index if id_ not in known]
    if absent:
        raise KitError(
            f"{table_path}: {len(absent)} of {len(labels)} ids have no image beside it or in the "
            f"competition, the first is {absent[0]}: put them there as ID.jpg"
        )
    rows = table if {*FACTS} <= set(table) else pd.DataFrame("", index=range(len(table)), columns=list(FACTS))
    frame = pd.DataFrame({"id": labels.index, "target": labels.to_numpy()})
    frame["files"] = _files(frame["id"], {id_: files[0] for id_, files in known.items()})
    return pd.concat([frame, _inputs(rows)], axis=1)
