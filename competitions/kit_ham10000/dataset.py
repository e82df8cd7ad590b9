"""Read the raw folder: `ISIC_*.jpg` anywhere below it, and `HAM10000_metadata.csv` with one row per image.

A lesion may have several rows. Images in a folder with the word `test` in its name are the official test set of ISIC
2018 task 3; all others belong to the metadata: in two folders as published, in one folder, beside the csv, full-size or
resized.
"""

import re
import reprlib
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError, nearest
from kit.plugin.data import (
    MULTICLASS,
    Index,
    data_files,
    external_files,
    image_files,
    numbers_of,
    read_table,
    refuse_repeated,
    repeated,
    table_of,
    without_ending,
)
from kit.plugin.images import read_rgb

# In the order of the columns of the challenge's csv, which have these names in capitals.
CLASSES = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
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
# What the ISIC archive calls these columns and, as far as they are sites of HAM10000, the sites ("": of several).
ISIC_NAMES = {
    "image_id": ("isic_id", "image", "image_name"),
    "age": ("age_approx",),
    "sex": (),
    "localization": ("anatom_site_general", "anatom_site_general_challenge"),
}
ISIC_SITES = {
    "anterior torso": "trunk",
    "lateral torso": "trunk",
    "posterior torso": "back",
    "palms/soles": "acral",
    "oral/genital": "genital",
    "head/neck": "",
}
STEM = re.compile(r"ISIC_\d+")
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
TEST = {"test", "tests", "testing", "testset"}
TABLES = (".csv", ".tsv", ".tab")
AGE_MEAN, AGE_STD = 50.0, 20.0  # years, rounded
OLDEST = 150
UNKNOWN = ("", "unknown", "nan", "NaN", "NA")
MEND = "kit download ham10000 --from ARCHIVE.zip provides it"


def index(root: Path) -> Index:
    """Read the index: training rows in the order of the metadata, test rows in that of their ids.

    Metadata columns are the age (minus 50 years, in units of 20; 0 if unknown), whether it is known, sex and site. Test
    images have metadata if a csv with the word `test` in its name, or in a folder's, has the columns image_id, age, sex
    and localization, or those of the ISIC archive (`ISIC_NAMES`).

    Raises:
        KitError: the metadata csv is missing or malformed, or a dx is not one of the seven.
    """
    images, tests, tables, metadata = _found(root)
    table = read_table(root / metadata, COLUMNS, MEND)
    table = table.assign(image_id=without_ending(table["image_id"]))
    _check_ages(table, root / metadata)
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
    facts, unfit = _test_facts(root, tables, test_ids, set(images))
    strangers = sorted(set(images) - set(listed))
    return Index(
        root=root,
        task=MULTICLASS,
        classes=CLASSES,
        train=pd.concat([train, _facts(rows), inputs], axis=1),
        test=pd.concat([test, _inputs(facts)], axis=1),
        metadata=tuple(inputs.columns),
        grouped_by="lesion",
        missing={
            f"ids of {METADATA[0]} without an image": tuple(listed[absent & ~doubled]),
            f"images that {METADATA[0]} lacks": tuple(strangers),
            f"duplicate ids in {METADATA[0]}": repeated(listed, table["dx"]),
            **unfit,
        },
    )


# Path of each id's image, relative to the root.
Images = dict[str, str]


def _found(root: Path) -> tuple[Images, Images, list[str], str]:
    """Return training images, test images, the names of csv files about the test, and that of the metadata.

    Kaggle's copy of the data holds each folder twice, under names that differ in capitals: the first one counts.
    """
    files = sorted(place + name for place, name in data_files(root))
    metadata = next((path for name in METADATA for path in files if path.rsplit("/", 1)[-1] == name), METADATA[0])
    # Folders around the metadata hold the training images too, whatever their names.
    top = metadata[: metadata.rfind("/") + 1]
    tables = [path for path in files if path.lower().endswith(TABLES) and _is_test(path.removeprefix(top))]
    images: Images = {}
    tests: Images = {}
    for place, stem, ending in sorted(image_files(root)):
        if STEM.fullmatch(stem):
            into = tests if _is_test(place.removeprefix(top)) else images
            into.setdefault(stem, f"{place}{stem}{ending}")
    return images, tests, tables, metadata


def _is_test(path: str) -> bool:
    """Return whether a path has the word `test`: `Test_Input`, `test2018` and `HAM10000Test`, not `contest`."""
    return not TEST.isdisjoint(word.lower() for word in WORD.findall(path))


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


def _test_facts(
    root: Path, tables: list[str], ids: pd.Series, others: set[str]
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Return `FACTS` of the test images as text, empty if no csv has them; and what of a csv fits nothing."""
    for name in tables:
        table = _with_facts(read_table(root / name, (), MEND))
        if not {"image_id", *FACTS} <= set(table):
            continue
        _check_ages(table, root / name)
        listed = table["image_id"]
        strange = listed[~listed.isin(ids) & ~listed.isin(others)]
        known = table.drop_duplicates("image_id").set_index("image_id")
        sites = table["localization"][~table["localization"].isin((*SITES, *UNKNOWN))]
        return known[list(FACTS)].reindex(ids).fillna("").reset_index(drop=True), {
            f"ids of {name} without an image": tuple(strange),
            f"duplicate ids in {name}": repeated(listed, table[list(FACTS)].agg(", ".join, axis=1)),
            f"sites in {name} that HAM10000 lacks": tuple(sites.unique()),
        }
    return pd.DataFrame("", index=range(len(ids)), columns=list(FACTS)), {}


def _with_facts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns, ids and sites of HAM10000 where it has those of the ISIC archive."""
    for name, others in ISIC_NAMES.items():
        other = next((other for other in others if other in table), None)
        if name not in table and other is not None:
            table = table.rename(columns={other: name})
    if "image_id" in table:
        table = table.assign(image_id=without_ending(table["image_id"]))
    return table.assign(localization=table["localization"].replace(ISIC_SITES)) if "localization" in table else table


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
        ids = without_ending(table["image_id"]).to_numpy(object)
        return pd.Series(table["dx"].map(CLASSES.index).to_numpy(np.int64), index=ids)
    if {"image", *columns} <= set(table):
        values = np.column_stack([numbers_of(table, name, path, "correct it", 0, 1) for name in columns])
        undecided = (values == values.max(1, keepdims=True)).sum(1) != 1
        if undecided.any():
            raise KitError(
                f"{path}: {table['image'][undecided].iloc[0]} has no single largest column "
                f"({int(undecided.sum())} such rows): correct it"
            )
        return pd.Series(values.argmax(1), index=without_ending(table["image"]).to_numpy(object))
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
    labels, table = labels_of(table, table_path), _with_facts(table)
    _check_ages(table, table_path)
    ids = pd.Series(labels.index, dtype=object)
    refuse_repeated(ids, table_path)
    files = external_files(table_path, ids, index)
    rows = table if {*FACTS} <= set(table) else pd.DataFrame("", index=range(len(table)), columns=list(FACTS))
    return pd.concat([pd.DataFrame({"id": ids, "files": files, "target": labels.to_numpy()}), _inputs(rows)], axis=1)
