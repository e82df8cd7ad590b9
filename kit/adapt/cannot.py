"""What kit can't do, by its evidence: outlines, boxes, pictures as answers, volumes, sequences, no images at all."""

import re

from kit.adapt.folder import Folder
from kit.adapt.images import Images
from kit.adapt.sample import Sample
from kit.adapt.tables import Table, Tables

OUTLINES = re.compile(
    r"encoded_?pixels|^encodings?$|(^|_)rle(_|$)|rle_?mask|segmentation|polygons?|(^|_)masks?$", re.IGNORECASE
)
BOXES = re.compile(r"bbox(es)?|bounding_?box|prediction_?string|x_?min|x_?center", re.IGNORECASE)
MASKS = re.compile(r"mask|segmentation|annotation", re.IGNORECASE)
ANSWERS = re.compile(r"clean|target|label|truth|output|denoised|sharp|high_?res|(^|[_/])(gt|hr)($|[_/])", re.IGNORECASE)
ONLY = "kit learns one answer for an image (classes or numbers)"
HINTS = {
    "DICOM": "kit reads no DICOM: write each image as png, with the same name, into a folder beside the tables",
    "volumes": "kit reads no volumes (3-D): write slices as png, named like the ids",
    "arrays": "kit reads no arrays of files such as npy or h5: write each image as png, named like its id",
    "records": "kit reads no tfrecords or parquet: write each image as png, named like its id",
    "video": "kit reads no video: write frames as jpg, named like the ids",
    "audio": "kit reads no audio: write spectrograms as png, named like the ids",
}
FRACTION = re.compile(r"[01]?\.\d+")
RUNS = 10  # whole numbers in a text, from which they are the runs of a mask


def without_images(folder: Folder, tables: Tables) -> str | None:
    """Say what a folder without images has instead; None where it has images."""
    if folder.image_count:
        return None
    if tables.pixels:
        return (
            f"{tables.pixels[0]} holds the pixels of images as columns, and there are no image files: write each "
            "row as a png, named like its id, and a table of ids and labels"
        )
    if folder.kinds:
        kind, count = folder.kinds.most_common(1)[0]
        return f"no images, but {count:,} files of {kind}: {HINTS[kind]}"
    what = f"only {folder.count:,} files, {len(folder.tables)} of them tables" if folder.count else "it is empty"
    return f"{folder.path} holds no images ({what}): give the folder that holds images and tables"


def other_kind(
    folder: Folder, images: Images, tables: Tables, sample: Sample | None, table: Table | None
) -> str | None:
    """Say what kind of competition it is, if kit can't do that kind; None where nothing says so.

    Args:
        folder, images, tables: what is there.
        sample: the sample submission.
        table: the table of labels; None without any.
    """
    named = [] if sample is None else [(sample.table.name, name) for name in sample.columns]
    named += [] if table is None else [(table.name, name) for name in table.columns]
    own = () if sample is None else tuple(sample.columns)
    runs = None if table is None else next((name for name in table.columns if _holds_runs(table, name)), None)
    if runs is not None and table is not None and (sample is None or not _is_plain(sample)):
        return f"segmentation: {runs!r} in {table.name} holds masks as runs, and {ONLY}; masks are missing as an output"
    for name, column in named:
        # What the sample submission does not ask for is a help of the table's, as boxes beside classes are.
        if sample is not None and own and column not in own and not _asks(own):
            continue
        if OUTLINES.search(column):
            return f"segmentation: {column!r} in {name} holds outlines, and {ONLY}; masks are missing as an output"
        if BOXES.fullmatch(column) and (sample is None or column in own):
            return f"detection: {column!r} in {name} holds boxes, and {ONLY}; boxes are missing as an output"
    if sample is not None and _holds_scores(sample):
        return (
            f"each row of {sample.columns[0]!r} in {sample.table.name} holds labels, each with how sure it is, and kit "
            "writes labels alone; a submission hook of your own can write that form (docs/plugins.md)"
        )
    boxed = next((each.name for each in tables.tables if each.bbox_only), None)
    if boxed is not None and sample is None and (table is None or table.name == boxed):
        return (
            f"detection: the annotations of {boxed} are boxes or outlines, and {ONLY}; boxes are missing as an output"
        )
    pair = _answers(images)
    is_answer = pair is not None and (sample is not None or MASKS.search(pair[1]) or pair[1].startswith(pair[0]))
    if pair is not None and is_answer and (table is None or (sample is not None and not sample.match.is_good)):
        kind = "segmentation" if MASKS.search(pair[1]) else "image to image"
        return (
            f"{kind}: for each image of {pair[0]} one of {pair[1]} is the answer, and {ONLY}; "
            "images are missing as an output"
        )
    return None


def _holds_runs(table: Table, name: str) -> bool:
    """Return whether most values of a column are many whole numbers, pairs of begin and length."""
    values = [text.split() for text in table.values(name).head(50)]
    long = [row for row in values if len(row) >= RUNS and len(row) % 2 == 0 and all(each.isdigit() for each in row)]
    return bool(values) and len(long) > 0.6 * len(values)


def _holds_scores(sample: Sample) -> bool:
    """Return whether the values of the one column are pairs of a label and a fraction."""
    rows = [text.split() for text in sample.values[:200]] if len(sample.columns) == 1 else []
    return bool(rows) and all(
        len(row) == 2 and not FRACTION.fullmatch(row[0]) and FRACTION.fullmatch(row[1]) for row in rows
    )


def _is_plain(sample: Sample) -> bool:
    """Return whether a sample submission asks for numbers or names, which no mask is."""
    return len(sample.columns) > 1 or any(value for value in sample.values)


def _asks(columns: tuple[str, ...]) -> bool:
    return any(OUTLINES.search(name) or BOXES.fullmatch(name) for name in columns)


def _answers(images: Images) -> tuple[str, str] | None:
    """Return two folders whose images have the same names, if the second one is named as what is to be predicted."""
    places = {
        place.rstrip("/"): {name.rpartition(".")[0] for name in names} for place, names in images.by_place.items()
    }
    for answer, names in places.items():
        if not (ANSWERS.search(answer) or MASKS.search(answer)) or len(names) < 2:
            continue
        for place, others in places.items():
            if place == answer or MASKS.search(place) or ANSWERS.search(place):
                continue
            stems = {re.sub(r"_?(mask|seg|segmentation|gt|clean)$", "", name, flags=re.IGNORECASE) for name in names}
            if len(stems & others) >= 0.9 * len(stems) and "test" not in place.lower():
                return place, answer
    return None
