"""The code of a plugin for a proposal: constants, specs, and the functions that read tables and images."""

import json
from collections.abc import Iterable

from kit.adapt.images import Match
from kit.adapt.proposal import Labels, Proposal, Submission

WIDTH = 116
MOST_CLASSES = 200  # that stand in the code; more are read from the table
TINY = {"model": "small_cnn", "pretrained": False, "size": 32, "folds": 2, "epochs": 2, "batch_size": 8, "tta": 1}


def text(value: str) -> str:
    """Return a text as Python writes it, in double quotes."""
    # JSON's escapes are Python's too, but for signs beyond 16 bits; and some that it leaves can't be seen in code.
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in json.dumps(value, ensure_ascii=False))


def texts(values: Iterable[str], indent: str = "") -> str:
    """Return a tuple of texts as Python writes it, in several lines where it is long."""
    items = [text(value) for value in values]
    line = f"({', '.join(items)}{',' * (len(items) == 1)})"
    if len(line) + len(indent) < WIDTH - 20:
        return line
    lines, current = [], ""
    for item in items:
        if current and len(indent) + len(current) + len(item) + 7 > WIDTH:
            lines.append(current)
            current = ""
        current = f"{current} {item}," if current else f"{item},"
    body = "".join(f"{indent}    {each}\n" for each in [*lines, current])
    return f"(\n{body}{indent})"


def named_classes(found: Proposal) -> bool:
    """Return whether the classes stand in the code."""
    return len(found.classes) <= MOST_CLASSES


def constants(found: Proposal) -> str:
    """Return the names at the top."""
    labels, form = found.labels, found.submission
    lines = []
    if named_classes(found):
        lines.append(f"CLASSES = {texts(found.classes)}")
    if labels is not None and labels.kind == "table":
        lines.append(f"TABLE = {text(labels.table)}")
        if labels.names:
            lines.append(f"NAMES = {texts(labels.names)}  # its first line is a row")
    if form is not None and form.file is not None:
        lines.append(f"SAMPLE = {text(form.file)}")
    if labels is not None and labels.kind == "name":
        lines.append(f"LABEL = {text(labels.pattern)}  # in the name of a file")
    if found.metadata:
        lines.append(f"METADATA = {texts(found.metadata)}")
    suffixes = labels.match.suffixes if labels is not None and labels.match is not None else ("",)
    if suffixes != ("",):
        lines.append(f"SUFFIXES = {texts(suffixes)}")
    return "\n".join(lines)


def specs(found: Proposal) -> str:
    """Return the hooks."""
    name = text(found.name)
    classes = "CLASSES" if named_classes(found) else "()"
    # The accuracy that each validation computes otherwise is none of numbers.
    tiny = "".join(f"\n                {text(key)}: {value!r}," for key, value in TINY.items())
    tiny = tiny.replace("'small_cnn'", '"small_cnn"') + "\n            "
    epochs = '\n            epoch_metrics=("mae",),' if found.task == "regression" else ""
    read = ", read=read" if stacked(found.labels) else ""
    channels = len(found.labels.match.suffixes) if stacked(found.labels) and found.labels and found.labels.match else 3
    return f"""

@hookimpl
def kit_competitions():
    return [
        Competition(
            name={name},
            title={text(title(found.name))},
            slug={name},
            task={text(found.task)},
            classes={classes},
            metric={text(found.metric)},
            dataset={name},
            submission={name},
            kaggle="none",{epochs}
            defaults={{"size": {found.side}}},
            miniature_defaults={{{tiny}}},
        )
    ]


@hookimpl
def kit_datasets():
    return [
        DatasetSpec({name}, channels={channels}, index=index{read}, miniature=miniature, any_size=True, any_bands=True)
    ]


@hookimpl
def kit_submissions():
{_submission(found)}
"""


def title(name: str) -> str:
    """Return a name as a title."""
    words = name.replace("_", "-").split("-")
    return " ".join([words[0].capitalize(), *words[1:]])


def stacked(labels: Labels | None) -> bool:
    """Return whether several files of an id are its channels."""
    match = labels.match if labels is not None else None
    return match is not None and len(match.suffixes) > 1 and not match.views


def index_code(found: Proposal) -> str:
    """Return the function `index`, and `read` where several files are one image."""
    labels, test = found.labels, found.test_images
    if labels is None or test is None:
        raise ValueError("the proposal is not complete")
    table = labels.kind == "table"
    lines = ["", "", "def index(root):"]
    lines.append(f'    """{_told(labels)}"""')
    used = {"target_of", *(("read_labels", "with_images") if table or test.table else ())}
    used |= {"images_below"} if not table or not test.table else set()
    used |= {"wide"} if labels.long else set()
    used |= {"with_metadata"} if found.metadata else set()
    data = ["Index", "base_of", *(["without_ending"] if _strips(labels.match) or _strips(test.match) else [])]
    if table or test.table:
        lines.append("    import pandas as pd")
        lines.append("")
    lines += [
        f"    from kit.plugin.data import {', '.join(data)}",
        f"    from kit.plugin.layouts import {', '.join(sorted(used))}",
        "",
    ]
    lines.append(f"    base = base_of(root, {_anchor(found)})")
    lines += _train_rows(found, labels) if table else _train_names(found, labels)
    lines += _test_rows(found) if test.table else _test_names(found)
    lines += _joined(found, labels)
    return "\n".join(lines) + "\n" + _read(labels)


def _told(labels: Labels) -> str:
    return {
        "table": "Read the table of labels, and find the images that it names.",
        "folder": "Find the training images, in a folder for each class, and the test images.",
        "name": "Find the training images, whose names hold their labels, and the test images.",
    }[labels.kind]


def _anchor(found: Proposal) -> str:
    labels, form = found.labels, found.submission
    if labels is not None and labels.kind == "table":
        return "TABLE"
    if form is not None and form.file is not None:
        return "SAMPLE"
    folder = labels.folder if labels is not None else ""
    return text(folder.partition("/")[0]) if folder else "CLASSES[0]"


def _train_rows(found: Proposal, labels: Labels) -> list[str]:
    """Return the lines that make `train` of a table's rows."""
    match, ids = labels.match, labels.ids
    if match is None:
        raise ValueError("a table without a match")
    target = found.target if isinstance(found.target, str) else tuple(found.target)
    needed = dict.fromkeys([match.column, *ids.columns, *([target] if isinstance(target, str) else [])])
    names = ", names=NAMES" if labels.names else ""
    lines = [f"    rows = read_labels(base / TABLE, {texts(needed, '    ')}{names})"]
    if labels.long is not None:
        lines += _long(labels, ids.join)
        of = "CLASSES"
    else:
        of = text(target) if isinstance(target, str) else "CLASSES"
    if labels.unlabelled:
        lines.append(f'    rows = rows[rows[{of}] != ""].reset_index(drop=True)')
    if isinstance(target, tuple) and labels.long is None and tuple(found.classes) != target:
        of = texts(target, "    ")
    if not named_classes(found):
        key = ", key=float" if all(_is_number(name) for name in found.classes) else ""
        lines.append(f"    classes = tuple(sorted(set(rows[{of}]){key}))")
    row = 'rows["row_id"]' if ids.names and match.column == ids.columns[0] else ""
    lines.append(f'    train = pd.DataFrame({{"id": {_apart(labels)}{_ids(labels)}, "image": {_image(match, row)}}})')
    separator = f", {text(found.separator)}" if found.separator not in ("", " ") else ""
    classes = "CLASSES" if named_classes(found) else "classes"
    if found.task == "regression" and isinstance(target, str) and labels.long is None:
        of = text(target)
    lines.append(f'    train["target"] = target_of(rows, {of}, {text(found.task)}, {classes}, base / TABLE{separator})')
    if found.group is not None:
        group = f"rows[{text(found.group)}]"
        lines.append(f'    train["group"] = {group}.where({group} != "", None)')
    if not found.metadata:
        lines.append(f'    train, no_image = with_images(train, "image", base{_where(match)})')
    return lines


def _long(labels: Labels, join: str) -> list[str]:
    name, value = labels.long or ("", "")
    ids = f"rows[{text(labels.ids.columns[0])}]"
    lines = []
    if labels.ids.names:
        # A name of a class may hold what stands between, unless that is a single sign.
        cut = "rpartition" if join == "_" else "partition"
        lines.append(f"    parts = {ids}.str.{cut}({text(join)})")
        more = "" if name else ", name=parts[2]"
        lines.append(f"    rows = rows.assign(row_id=parts[0]{more})")
        return [*lines, f'    rows = wide(rows, "row_id", {text(name or "name")}, {text(value)})']
    return [f"    rows = wide(rows, {text(labels.ids.columns[0])}, {text(name)}, {text(value)})"]


def _apart(labels: Labels) -> str:
    """Return what goes before the ids of training images where test images have the same ones."""
    return '"train/" + ' if labels.apart else ""


def _ids(labels: Labels) -> str:
    ids = labels.ids
    if labels.long is not None and ids.names:
        return 'rows["row_id"]'
    columns = [f"rows[{text(column)}]" for column in ids.columns]
    if labels.long is not None and labels.match is not None:
        return f'{columns[0]}.str.rpartition("/")[2].str.rpartition(".")[0]'
    between = f" + {text(ids.join)} + " if ids.join else " + "
    return between.join(columns)


def _image(match: Match, long: str = "") -> str:
    column = long or f"rows[{text(match.column)}]"
    if _strips(match):
        column = f"without_ending({column})"
        column += f".str.zfill({match.width})" if match.width else ""
        return f"{text(match.prefix)} + {column}" if match.prefix else column
    return column


def _strips(match: Match | None) -> bool:
    return match is not None and bool(match.prefix or match.width)


def _where(match: Match) -> str:
    """Return the arguments that say where the images of rows are."""
    folder = f", {text(match.folder)}" if match.folder or match.suffixes != ("",) else ""
    suffixes = ", suffixes=SUFFIXES" if match.suffixes != ("",) else ""
    return f"{folder}{suffixes}{', views=True' if match.views else ''}"


def _train_names(found: Proposal, labels: Labels) -> list[str]:
    """Return the lines that make `train` of the names of files and folders."""
    among = ", CLASSES" if labels.kind == "folder" else ""
    lines = [f"    train = images_below(base, {text(labels.folder)}{among})"]
    column = "folder"
    if labels.kind == "name":
        column = "label"
        lines.append('    train["label"] = train["id"].str.extract(LABEL)[0]')
    if labels.apart:
        lines.append('    train["id"] = "train/" + train["id"]  # test images have the same names')
    task = text(found.task)
    lines.append(
        f'    train["target"] = target_of(train, {text(column)}, {task}, CLASSES, base / {text(labels.folder)})'
    )
    return lines


def _test_rows(found: Proposal) -> list[str]:
    test, form = found.test_images, found.submission
    if test is None or test.match is None:
        raise ValueError("test rows without a match")
    name = "SAMPLE" if form is not None and test.table == form.file else text(test.table)
    rows = "test_rows" if found.metadata else "rows"
    needed = dict.fromkeys([test.id, test.match.column])
    lines = [f"    {rows} = read_labels(base / {name}, {texts(needed, '    ')})"]
    if test.join:
        cut = "rpartition" if test.join == "_" else "partition"
        lines.append(f"    ids = {rows}[{text(test.id)}].str.{cut}({text(test.join)})[0].drop_duplicates()")
        lines.append(f'    test = pd.DataFrame({{"id": ids, "image": {_image(test.match, "ids")}}})')
    else:
        image = _image(test.match).replace("rows[", f"{rows}[")
        lines.append(f'    test = pd.DataFrame({{"id": {rows}[{text(test.id)}], "image": {image}}})')
    if not found.metadata:
        lines.append(f'    test, no_test_image = with_images(test, "image", base{_where(test.match)})')
    return lines


def _test_names(found: Proposal) -> list[str]:
    test = found.test_images
    folder = test.folder if test is not None else None
    if folder is None:
        return [
            "    # There is no test set yet: images in a folder `test` are one.",
            '    test = images_below(base, "test") if (base / "test").is_dir() else train.head(0)[["id", "files"]]',
        ]
    return [f"    test = images_below(base, {text(folder)})"]


def _joined(found: Proposal, labels: Labels) -> list[str]:
    """Return the lines that join both frames in an index."""
    test = found.test_images
    lines, missing = [], []
    if found.metadata and test is not None and labels.match is not None and test.match is not None:
        lines += [
            "    rows, test_rows, names = with_metadata(rows, test_rows, METADATA)",
            "    train, test = train.join(rows[list(names)]), test.join(test_rows[list(names)])",
            f'    train, no_image = with_images(train, "image", base{_where(labels.match)})',
            f'    test, no_test_image = with_images(test, "image", base{_where(test.match)})',
        ]
    if labels.kind == "table":
        missing.append('"labels without an image": no_image')
    if test is not None and test.table:
        missing.append('"test ids without an image": no_test_image')
    if missing:
        lines.append(f"    missing = {{{', '.join(missing)}}}")
    more = ", metadata=names" if found.metadata else ""
    more += f", grouped_by={text(found.group)}" if found.group is not None else ""
    more += ", missing=missing" if missing else ""
    classes = "CLASSES" if named_classes(found) else "classes"
    return [*lines, f"    return Index(base, {text(found.task)}, {classes}, train, test{more})"]


def _read(labels: Labels) -> str:
    if stacked(labels):
        return '''

def read(files):
    """Read the files of an id, the channels of one image, as HxWxC uint8."""
    import numpy as np

    from kit.plugin.images import read_grey

    return np.stack([read_grey(file) for file in files], axis=2)
'''
    return ""


def _submission(found: Proposal) -> str:
    """Return the line that says what the csv holds."""
    form = found.submission
    if form is None:
        raise ValueError("the proposal has no form")
    classes = "CLASSES" if named_classes(found) else "()"
    arguments = [text(found.name), text(found.task), classes, text(form.holds)]
    arguments += ["SAMPLE" if form.file is not None else "None", *_more(form)]
    if form.file is None or not named_classes(found):
        arguments.append("index=index")
    if form.file is None:
        arguments.append(f"header={texts(form.header, '    ')}")
    line = f"    return [SubmissionSpec.like_sample({', '.join(arguments)})]"
    if len(line) <= WIDTH:
        return line
    inner = "".join(f"            {each},\n" for each in arguments)
    return f"    return [\n        SubmissionSpec.like_sample(\n{inner}        )\n    ]"


def _more(form: Submission) -> list[str]:
    more = []
    if form.columns:
        pairs = ", ".join(f"{text(column)}: {text(name)}" for column, name in form.columns.items())
        more.append(f"columns={{{pairs}}}")
    if form.holds == "labels":
        more.append(f"count={form.count}")
    if form.separator != " ":
        more.append(f"separator={text(form.separator)}")
    if form.join:
        more.append(f"join={text(form.join)}")
    if form.id:
        more.append(f"id={text(form.id)}")
    return more


def _is_number(name: str) -> bool:
    return name.lstrip("-").isdigit()
