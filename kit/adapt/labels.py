"""What a target is: the kind of task and its classes, each with the evidence."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pandas as pd

from kit.adapt.sample import Sample
from kit.adapt.tables import NUMBER, Table
from kit.errors import KitError

IN_ORDER = re.compile(
    r"(^|_| )(diagnosis|grades?|levels?|severity|stages?|scores?|ratings?|rank|degree|isup\w*|kl|"
    r"birads?|bi-rads|ordinal|quality|density|retinopathy\w*)($|_| |\d)",
    re.IGNORECASE,
)
LIKE_CLASS = re.compile(
    r"label|class|categ|species|breed|type|kind|(^|_)id$|variety|character|digit|tag", re.IGNORECASE
)
NEGATIVE = (
    "0",
    "false",
    "no",
    "n",
    "negative",
    "neg",
    "normal",
    "benign",
    "healthy",
    "none",
    "absent",
    "real",
    "good",
    "ok",
)
POSITIVE = (
    "1",
    "true",
    "yes",
    "y",
    "positive",
    "pos",
    "abnormal",
    "malignant",
    "sick",
    "present",
    "fake",
    "bad",
    "defect",
)
SEVERAL = re.compile(r"tags|labels|attributes|attribute_ids|annotations|targets|findings|categories", re.IGNORECASE)
TAG_SEPARATORS = ("|", ";", ",", " ")  # names may have blanks, hardly the others
MOST_GRADES = 10
FEW = 20  # values that are no labels if each row has another one
NEAR_ONE_EACH = 0.5  # the share of the rows: of more different labels nothing can be learned


@dataclass(frozen=True)
class Labels:
    """The target.

    Args:
        target: the column, or one for each class or number.
        task: name of the task.
        classes: as they stand in the table; names of the numbers of a regression.
        separator: between several labels of one column.
        reasons: why, by key of the proposal.
        could_be: what else it could be, by key.
    """

    target: str | tuple[str, ...]
    task: str
    classes: tuple[str, ...]
    separator: str = ""
    reasons: dict[str, str] = field(default_factory=dict)
    could_be: dict[str, list[str]] = field(default_factory=dict)


def judge_target(
    table: Table,
    target: str | tuple[str, ...],
    sample: Sample | None,
    class_names: dict[str, str],
    wanted: dict[str, str],
) -> Labels:
    """Return what kind of task a target is, and its classes.

    Raises:
        KitError: nothing can be learned from it: one value, or one per image.
    """
    if isinstance(target, tuple):
        return _of_columns(table, target, wanted)
    values = table.values(target)
    counts = values.value_counts()
    if len(counts) < 2:
        raise KitError(
            f"{target} in {table.name} has {'one value' if len(counts) else 'no values'}: there is nothing "
            "to tell apart: give --set target=COLUMN"
        )
    numeric = bool(values.map(lambda value: NUMBER.fullmatch(value) is not None).all())
    lists = sample is not None and list_length(sample, {*counts.index}) > 1
    found = _of_numbers(target, values, counts, sample, class_names) if numeric else None
    found = found or _of_texts(target, counts, lists, sample)
    task, why, other, separator = found
    if "task" in wanted:
        task, why, other = wanted["task"], "given with --set", []
        separator = (_tags(counts)[0] or " ") if task == "multilabel" else ""
    if task == "regression":
        return Labels(target, task, (target,), "", {"task": why}, {"task": other})
    classes = _ordered([*counts.index], separator, sample)
    if task == "binary" and len(classes) != 2:
        raise KitError(
            f"{target} in {table.name} has {len(classes)} values, so the task is not binary: drop --set task"
        )
    asked = sample is not None and (lists or len(sample.columns) > 1)
    if not asked and len(classes) > FEW and len(classes) > NEAR_ONE_EACH * len(values):
        raise KitError(
            f"{target} in {table.name} has {len(classes):,} different values in {len(values):,} rows, near one per "
            "image, so it is no label: give --set target=COLUMN, or --set task=regression if they are numbers"
        )
    if "classes" in wanted:
        given = tuple(each.strip() for each in wanted["classes"].split(","))
        if {*given} != {*classes}:
            raise KitError(f"--set classes has other values than {target} in {table.name} ({', '.join(classes[:8])})")
        classes = given
    reasons = {"task": why, "classes": f"the {len(classes):,} values of {target}"}
    if class_names and {*classes} <= {*class_names}:
        reasons["classes"] += ", named in a json: " + ", ".join(class_names[name] for name in classes[:3]) + " ..."
    return Labels(target, task, classes, separator, reasons, {"task": other})


def _of_columns(table: Table, target: tuple[str, ...], wanted: dict[str, str]) -> Labels:
    numbers = table.frame[list(target)].apply(pd.to_numeric, errors="coerce")
    if numbers.isna().to_numpy().any():
        bad = next(name for name in target if numbers[name].isna().any())
        raise KitError(f"{bad} in {table.name} holds what is no number: give --set target=COLUMN")
    is_hot = bool(numbers.isin([0, 1]).to_numpy().all())
    alone = bool((numbers.sum(axis=1) == 1).all())
    if not is_hot:
        task, why, other = "regression", f"{len(target)} columns of numbers", []
    elif alone and len(target) > 2:
        task, why, other = "multiclass", "in every row exactly one of the columns is 1", ["multilabel"]
    elif alone:
        task, why, other = "multiclass", "in every row one of the two columns is 1", ["multilabel"]
    else:
        task, why, other = "multilabel", "columns of 0 and 1, in a row none or several can be 1", ["regression"]
    task = wanted.get("task", task)
    reasons = {"task": why if "task" not in wanted else "given with --set", "classes": "the names of these columns"}
    return Labels(target, task, target, "", reasons, {"task": other})


def _of_numbers(
    target: str, values: pd.Series, counts: pd.Series, sample: Sample | None, class_names: dict[str, str]
) -> tuple[str, str, list[str], str]:
    numbers = sorted(float(value) for value in counts.index)
    whole = all(number == int(number) for number in numbers)
    in_row = whole and numbers == list(range(int(numbers[0]), int(numbers[0]) + len(numbers))) and numbers[0] in (0, 1)
    if len(numbers) == 2 and whole:
        return "binary", f"two values: {', '.join(sorted(counts.index))}", [], ""
    if not whole or any("." in value for value in counts.index):
        return "regression", "numbers with fractions", ["multiclass"], ""
    if class_names and {*counts.index} <= {*class_names}:
        return "multiclass", "whole numbers that a json gives names of classes", ["ordinal"], ""
    if sample is not None and len(sample.columns) > 1:
        return "multiclass", "whole numbers, and the sample submission has a column for each", ["ordinal"], ""
    like_class = LIKE_CLASS.search(target) is not None
    fractions = sample is not None and sample.has_fractions and not (like_class and len(numbers) <= MOST_GRADES)
    if len(numbers) <= MOST_GRADES and in_row and not like_class and IN_ORDER.search(target) and not fractions:
        return "ordinal", f"{len(numbers)} whole numbers in a row, and {target!r} names grades", ["multiclass"], ""
    if len(numbers) <= MOST_GRADES and not fractions:
        return (
            "multiclass",
            f"{len(numbers)} whole numbers, which nothing says are grades",
            ["ordinal", "regression"],
            "",
        )
    if like_class and not fractions:
        return "multiclass", f"whole numbers, and {target!r} names classes", ["regression"], ""
    return "regression", f"{len(numbers):,} different whole numbers", ["multiclass"], ""


def _of_texts(target: str, counts: pd.Series, lists: bool, sample: Sample | None) -> tuple[str, str, list[str], str]:
    given = () if sample is None or len(sample.columns) != 1 else tuple(sample.values)
    separator, tags = ("", 0) if lists else _tags(counts, SEVERAL.search(target) is not None, given)
    if separator:
        shown = {" ": "blanks", ",": "commas"}.get(separator, repr(separator))
        return "multilabel", f"{tags} labels, several in a row with {shown} between", ["multiclass"], separator
    if len(counts) == 2:
        return "binary", f"two values: {', '.join(sorted(counts.index))}", ["multiclass"], ""
    return "multiclass", f"one of {len(counts):,} texts in each row", [], ""


def _tags(counts: pd.Series, is_plural: bool = False, given: Sequence[str] = ()) -> tuple[str, int]:
    """Return what separates several labels in one text, and how many labels there are; the empty text for none.

    Names of classes may have blanks too. Labels stand alone in other rows, or in other company; a column may be named
    as one of several, or the sample submission have other company for them (`given`).
    """
    texts = list(counts.index)
    for separator in TAG_SEPARATORS:
        parts = [[tag.strip() for tag in text.split(separator) if tag.strip()] for text in texts]
        several = [row for row in parts if len(row) > 1]
        if not several:
            continue
        tags = {tag for row in parts for tag in row}
        rows = Counter(tag for row in parts for tag in set(row))
        again = sum(all(rows[tag] > 1 for tag in row) for row in several)
        new = [value for value in given if separator in value and value not in counts.index]
        asked = bool(new) and all(tag in tags for value in new for tag in value.split(separator))
        numbers = all(tag.isdigit() for tag in tags)
        if is_plural or asked or numbers or (len(tags) < len(texts) + 2 and again >= max(1, len(several) // 3)):
            return separator, len(tags)
    return "", 0


def _ordered(names: list[str], separator: str, sample: Sample | None) -> tuple[str, ...]:
    """Return the classes in order: with those that only the columns of the sample submission name."""
    if separator:
        names = list(dict.fromkeys(tag.strip() for text in names for tag in text.split(separator) if tag.strip()))
    if sample is not None and len(sample.columns) >= len(names) and {*names} <= {*sample.columns}:
        names = sample.columns
    if all(NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=float))
    if len(names) == 2:
        # The second one is the positive class.
        return tuple(sorted(names, key=lambda name: (name.lower() not in NEGATIVE, name.lower() in POSITIVE, name)))
    return tuple(sorted(names))


def list_length(sample: Sample, classes: Collection[str]) -> int:
    """Return how many labels a sample submission lists in each row of its one column; 1 where it does not."""
    if len(sample.columns) != 1 or any(" " in name for name in classes):
        return 1
    rows = [text.split() for text in sample.table.values(sample.columns[0]).head(2000)]
    lengths = {len(row) for row in rows}
    # A fraction beside a label says how sure it is.
    has_fractions = any("." in word and NUMBER.fullmatch(word) for row in rows for word in row)
    return lengths.pop() if len(lengths) == 1 and not has_fractions else 1


def is_positive(classes: Sequence[str]) -> bool:
    """Return whether the names of two classes say that the second one is the positive one."""
    return classes[0].lower() in NEGATIVE or classes[1].lower() in POSITIVE
