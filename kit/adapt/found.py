"""Where the labels are: in which table, in the names of folders, or in those of files."""

import re
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from pathlib import PurePosixPath

from kit.adapt.images import TEST_WORDS, TRAIN_WORDS, Images, Match
from kit.adapt.sample import Sample, starts_of
from kit.adapt.tables import Table, Tables
from kit.adapt.target import label_names
from kit.errors import KitError, nearest
from kit.image_files import bare

# Folders that stand for a part of the data or a kind of file, not for a class.
ROLES = re.compile(
    r"(^|[_\W])(train\w*|test\w*|val|valid\w*|eval\w*|images?|imgs?|jpe?gs?|pngs?|tiff?s?|data|masks?|annotations?|"
    r"part|unlabell?ed|extra|labels?)($|[_\W\d])",
    re.IGNORECASE,
)
IMAGE_NAME = re.compile(r"image|img|file|path|photo|picture|(^|_)id($|_)|(?<=[a-z])Id$|^Id$|uid|name", re.IGNORECASE)
# A label before a number, or behind one.
PATTERNS = (r"^([A-Za-z][A-Za-z_ -]*?)[._ -]*\d+$", r"^\d+[._ -]+([A-Za-z][A-Za-z_ -]*)$")
VALIDATION = re.compile(r"^(val|valid|validation|dev)(?![a-z])", re.IGNORECASE)
LEAST = 2  # images of each label in names of files
LOOKED = 400
LONE = 0.2  # the share of rows that must have a number of their own, if numbers are to name images


def match_of(
    table: Table, images: Images, words: tuple[str, ...], others: tuple[str, ...], sample: Sample | None = None
) -> Match:
    """Return how a table names images: by the column of which most values do, an id before a path."""
    found = [images.match(name, table.frame[name], words, others) for name in table.columns]
    # Class numbers would name images too, with zeros before them.
    good = [match for match in found if match.is_good and not (match.width and match.of < LONE * len(table.frame))]
    if not good and sample is not None and sample.join and sample.id in table.columns:
        return images.match(sample.id, starts_of(table.frame[sample.id], sample.join), words, others)
    if not good:
        return max(found, key=lambda match: match.count / max(1, match.of), default=Match("", "", 0, 0))
    most = max(match.count for match in good)
    near = [match for match in good if match.count >= 0.9 * most]
    # Whole names say more than parts of them; the column named as an id comes before the others.
    return min(
        near,
        key=lambda match: (
            match.by_folder,
            bool(match.prefix),
            len(match.suffixes) > 1,
            match.suffixes != ("",),
            bool(match.width),
            IMAGE_NAME.search(match.column) is None,
        ),
    )


def is_test(table: Table, match: Match, sample: Sample | None) -> bool:
    """Return whether a table is one of test images: by its name, or since the sample submission has its ids."""
    name = PurePosixPath(table.name).name.lower()
    if "train" in name:
        return False
    if any(word in name for word in TEST_WORDS):
        return True
    if sample is None or not match.is_good:
        return False
    ids = set(sample.ids)
    values = table.values(match.column)
    return len(values) > 0 and values.isin(ids).mean() > 0.9


def is_part(table: Table, match: Match, labels: Table) -> bool:
    """Return whether a table has fewer columns than a table of labels, and other images, as one of test images has."""
    column = match.column
    is_less = match.is_good and column in labels.columns and {*table.columns} < {*labels.columns}
    return is_less and not table.frame[column].isin(labels.frame[column]).any()


def only_names(table: Table, images: Images) -> bool:
    """Return whether each of several columns holds names of images alone, as in lists of the images of each class."""
    return len(table.columns) > 1 and all(
        table.frame[name].is_unique
        and all(bare(value.rpartition("/")[2]) in images.places for value in table.frame[name])
        for name in table.columns
    )


def find_table(
    tables: Tables, images: Images, sample: Sample | None, wanted: str | None
) -> tuple[Table, Match, str] | None:
    """Return the table of labels, how it names images, and why it is that one; None if no table names images.

    Raises:
        KitError: two tables can be it, or there is none of the `wanted` name.
    """
    known = [table.name for table in tables.tables]
    if wanted is not None and wanted not in known:
        raise KitError(f"there is no table {wanted!r}: give --set table=FILE; {nearest(wanted, known)}")
    matched = [
        (table, match_of(table, images, TRAIN_WORDS, TEST_WORDS, sample))
        for table in tables.tables
        if (table.name == wanted if wanted else not table.is_sample)
    ]
    if wanted is not None:
        table, match = matched[0]
        if not match.is_good:
            raise no_match(images, [(table, match)])
        return table, match, "given with --set"
    good = [
        (table, match)
        for table, match in matched
        if match.is_good and not is_test(table, match, sample) and len(table.columns) > 1
    ]
    good = [each for each in good if sample is None or each[0].name != sample.table.name]
    good = [each for each in good if not any(is_part(*each, other) for other, _ in good)]
    if not good:
        return None
    ranked = sorted(good, key=lambda each: _rank(each, sample), reverse=True)
    table, match = ranked[0]
    if len(ranked) == 1:
        return table, match, "the only table whose rows name images"
    first, second = _rank(ranked[0], sample), _rank(ranked[1], sample)
    if first[:-1] == second[:-1] and second[-1] > NEAR * first[-1]:
        names = ", ".join(each.name for each, _ in ranked[:4])
        raise KitError(
            f"the labels can be in {names}: each of them names the images: give --set table={table.name} or another"
        )
    mark = next(mark for own, other, mark in zip(first, second, MARKS, strict=True) if own != other)
    return table, match, f"of several tables that name images, the one {mark}"


MARKS = (
    "that is not one of validation images",
    "with the columns of the sample submission",
    "with a column named as a label",
    "with one row per image",
    "whose name says so",
    "with most images",
)
NEAR = 0.5  # the share of the images of one table that make another one as likely


def _rank(found: tuple[Table, Match], sample: Sample | None) -> tuple[bool, bool, bool, bool, bool, int]:
    """Return what speaks for a table of labels, in the order of `MARKS`."""
    table, match = found
    columns = [name for name in table.columns if name != match.column]
    has_columns = sample is not None and (
        {*sample.columns} <= {*columns}
        or (len(sample.columns) > 1 and any({*sample.columns} <= {*table.values(name)} for name in columns))
        or (bool(sample.names) and any({*sample.names} <= {*table.values(name)} for name in columns))
    )
    values = table.values(match.column)
    unique = bool(values.nunique() == len(values)) or bool(sample is not None and sample.names)
    hot = [name for name in columns if {*table.values(name)} in ({"0", "1"}, {"0.0", "1.0"})]
    labelled = len(hot) > 1 or bool(label_names(columns))
    is_named = re.search(r"train|label", table.name, re.IGNORECASE) is not None
    is_val = VALIDATION.search(PurePosixPath(table.name).name) is not None
    return not is_val, has_columns, labelled, unique, is_named, match.count


def find_folders(images: Images, sample: Sample | None) -> tuple[str, list[str]] | None:
    """Return the folder in which each class has a folder, and these, if there is one."""
    children: dict[str, Counter[str]] = defaultdict(Counter)  # images in a folder, or below it
    for place, inside in images.by_place.items():
        parts = place.rstrip("/").split("/") if place else []
        for at, name in enumerate(parts):
            children["/".join(parts[:at])][name] += len(inside)
    wanted = set() if sample is None else {*sample.columns, *sample.values}
    best = None
    for parent, names in children.items():
        classes = sorted(name for name in names if not ROLES.search(name) or name in wanted)
        if len(classes) < 2 or len(classes) < len(names) - 1:
            continue
        count = sum(names[name] for name in classes)
        if count < LEAST * len(classes):
            continue
        lower = parent.lower()
        rank = (
            len(wanted & {*classes}),
            not any(word in lower for word in (*TEST_WORDS, "val")),
            "train" in lower,
            count,
        )
        if best is None or rank > best[0]:
            best = rank, parent, classes
    return None if best is None else (best[1], best[2])


def find_names(images: Images, sample: Sample | None) -> tuple[str, str, list[str]] | None:
    """Return folder, pattern and labels, if the names of training images hold them: `cat.0.jpg`."""
    skip = set() if sample is None else {sample.match.folder}
    places = sorted(
        (
            place
            for place in images.by_place
            if place.rstrip("/") not in skip and not any(word in place.lower() for word in TEST_WORDS)
        ),
        key=lambda place: ("train" not in place.lower(), -len(images.by_place[place])),
    )
    for place in places:
        stems = [name.rpartition(".")[0] for name in images.by_place[place]]
        for pattern in PATTERNS:
            found = [re.match(pattern, stem) for stem in stems]
            if not all(found):
                continue
            counts = Counter(each[1] for each in found if each is not None)
            if 2 <= len(counts) <= len(stems) // LEAST and min(counts.values()) >= LEAST:
                return place.rstrip("/"), pattern, sorted(counts)
    return None


def no_match(images: Images, matched: list[tuple[Table, Match]]) -> KitError:
    """Return the error for tables whose ids name no image: it says which part of an id would, with which ending."""
    if not matched:
        return KitError(
            "no table names the images, and neither their folders nor their names are labels: add a csv with the name "
            "of each image and its label, or give folders named like classes"
        )
    table, match = max(matched, key=lambda each: (each[1].count, len(each[0].frame)))
    column = match.column or table.columns[0]
    ids = [bare(value.rpartition("/")[2]) for value in table.values(column).head(LOOKED)]
    stems = images.sorted[:: max(1, len(images.sorted) // LOOKED)]
    best, pair = 0, ("", "", "")
    for id_ in ids[:5]:
        for stem in stems:
            common = SequenceMatcher(None, id_.lower(), stem.lower(), autojunk=False).find_longest_match()
            if common.size > best:
                best, pair = common.size, (id_, stem, id_[common.a : common.a + common.size])
    count = f"{match.count:,} of {match.of:,} values of {column!r} in {table.name} name an image file"
    if best < 2:
        example = f"such as {ids[0]!r}; files are such as {stems[0]!r}" if ids and stems else ""
        return KitError(f"{count} ({example}): correct the ids, or give --set table=FILE --set id=COLUMN")
    id_, stem, part = pair
    place, ending = images.places[stem][0]
    file = f"{place}{stem}{ending}"
    if part == stem:
        said = f"of {id_!r} the part {part!r} would, with {ending}: {file}"
    elif part.lower() == stem.lower():
        said = f"{id_!r} has other capitals than {file}"
    else:
        said = f"the name nearest to {id_!r} is {file}, with {part!r} in both"
    return KitError(f"{count}: {said}: correct the ids, or give --set id=COLUMN")
