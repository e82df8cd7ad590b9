"""The code that draws a miniature in the layout of a proposal."""

from pathlib import PurePosixPath

from kit.adapt.code import named_classes, text
from kit.adapt.images import Match
from kit.adapt.proposal import Labels, Proposal, Submission, TestImages
from kit.image_files import RANK

PER_CLASS, LEAST, TESTS = 4, 24, 8  # images
LINE = 96
NO_FOLDER = "test"  # where test images are looked for that were not there
TEST_NUMBERS = 500  # from which test images are numbered
FEW_CLASSES = 6  # of those that are read from the table
WRITABLE = ".png"


def miniature_code(found: Proposal) -> str:
    """Return the function `miniature`."""
    labels, test = found.labels, found.test_images
    if labels is None or test is None:
        raise ValueError("the proposal is not complete")
    body = [*_begin(found)]
    body += _table(found, labels) if labels.kind == "table" else _files(found, labels)
    body += _tests(found, labels, test)
    lines = "\n".join(f"    {line}" for each in body for line in each.split("\n"))
    pandas = "\n    import pandas as pd" if "pd." in lines else ""
    return f'''

def miniature(root, seed):
    """Draw a miniature in the layout of the real data; where the blob of a picture is tells its label."""
    import numpy as np{pandas}

    from kit.plugin.layouts import draw_image

{lines}
'''


def _begin(found: Proposal) -> list[str]:
    lines = ["random = np.random.default_rng(seed)"]
    classes = "CLASSES" if named_classes(found) else "classes"
    if not named_classes(found):
        start = "" if all(name.isdigit() for name in found.classes) else "k"
        lines.append(f'classes = [f"{start}{{number}}" for number in range({FEW_CLASSES})]')
    if found.task == "regression":
        lines.append(f"kinds = random.random({LEAST})")
    else:
        count = f"max({LEAST}, {PER_CLASS} * len({classes}))"
        lines.append(f"kinds = np.arange({count}) % len({classes})")
    return lines


def _ending(found: Proposal) -> str:
    return text(found.ending if found.ending.lower() in RANK and found.ending.lower() != ".gif" else WRITABLE)


def _path(folder: str, name: str, ending: str) -> str:
    """Return the code of a path: `root / "train" / (name + ".png")`."""
    return f"root / {text(folder)} / ({name} + {ending})" if folder else f"root / ({name} + {ending})"


def _scale(found: Proposal) -> str:
    classes = "CLASSES" if named_classes(found) else "classes"
    return "kind" if found.task == "regression" else f"kind / len({classes})"


def _draw(found: Proposal, match: Match | None, folder: str, name: str, kind: str) -> list[str]:
    ending = _ending(found)
    if match is not None and match.suffixes != ("",):
        path = _path(folder, f"{name} + suffix", ending)
        return ["    for suffix in SUFFIXES:", f"        draw_image({path}, {kind}, random)"]
    return [f"    draw_image({_path(folder, name, ending)}, {kind}, random)"]


def _names(match: Match, word: str, start: int = 0) -> tuple[str, str]:
    """Return the code of the value that names an image, and that of the name of its file."""
    if match.width:
        number = f"number + {start}" if start else "number"
        return f'f"{{{number}}}"', f'{text(match.prefix)} + f"{{{number}:0{match.width}d}}"'
    value = f'f"{word}{{number}}"'
    return value, f"{text(match.prefix)} + {value}" if match.prefix else value


def _table(found: Proposal, labels: Labels) -> list[str]:
    match, ids = labels.match, labels.ids
    if match is None:
        raise ValueError("a table without a match")
    value, name = _names(match, "a")
    lines = ["rows = []", "for number, kind in enumerate(kinds):"]
    lines += _draw(found, match, labels.folder, name, _scale(found))
    row = dict.fromkeys(ids.columns[:1], 'f"i{number // 2}"') if len(ids.columns) > 1 else {}
    row |= dict.fromkeys(ids.columns[1:], 'f"{number % 2}"')
    row |= {column: value for column in ids.columns if len(ids.columns) == 1 and column != match.column}
    row[match.column] = value
    if found.group is not None and found.group not in row:
        row[found.group] = 'f"g{number // 2}"'
    row |= {column: "int(random.integers(9))" for column in found.metadata if column not in row}
    if labels.long is not None:
        return [*lines, *_long_rows(labels, row, found), *_write(labels)]
    row |= _targets(found)
    lines.append(f"    rows.append({_dict(row)})")
    return [*lines, *_write(labels)]


def _targets(found: Proposal) -> dict[str, str]:
    classes = "CLASSES" if named_classes(found) else "classes"
    if not isinstance(found.target, str):
        value = {"regression": "round(10 * kind + {at}, 3)", "multilabel": "int({at} in (kind, 3 * kind % 5))"}
        form = value.get(found.task, "int(kind == {at})")
        return {name: form.format(at=at) for at, name in enumerate(found.target)}
    if found.task == "regression":
        return {found.target: "round(100 * kind, 2)"}
    if found.task == "multilabel":
        more = f"{text(found.separator or ' ')}.join(sorted({{CLASSES[kind], CLASSES[3 * kind % len(CLASSES)]}}))"
        return {found.target: more}
    return {found.target: f"{classes}[kind]"}


def _long_rows(labels: Labels, row: dict[str, str], found: Proposal) -> list[str]:
    name, value = labels.long or ("", "")
    number = "round(10 * kind + at, 3)" if found.task == "regression" else "int(at in (kind, 3 * kind % 5))"
    if labels.ids.names:
        column = labels.ids.columns[0]
        row[column] = f"{row.get(column, 'str(number)')} + {text(labels.ids.join)} + name"
    row |= {name: "name"} if name else {}
    row[value] = number
    return ["    for at, name in enumerate(CLASSES):", f"        rows.append({_dict(row, 3)})"]


def _dict(row: dict[str, str], depth: int = 2) -> str:
    """Return the code of a row, in several lines where it is long."""
    items = [f"{text(column)}: {code}" for column, code in row.items()]
    line = "{" + ", ".join(items) + "}"
    if len(line) < LINE - 4 * depth:
        return line
    indent = "    " * depth
    return "{\n" + "".join(f"{indent}{item},\n" for item in items) + "    " * (depth - 1) + "}"


def _write(labels: Labels) -> list[str]:
    lines = []
    if "/" in labels.table:
        lines.append("(root / TABLE).parent.mkdir(parents=True, exist_ok=True)")
    return [*lines, _written("pd.DataFrame(rows)", "TABLE", labels.table, labels.names)]


def _written(frame: str, name: str, table: str, names: tuple[str, ...] | None = None) -> str:
    if table.lower().endswith(".json"):
        return f'{frame}.to_json(root / {name}, orient="records")'
    more = ', sep="\\t"' if PurePosixPath(table).suffix.lower() in (".tsv", ".tab") else ""
    return f"{frame}.to_csv(root / {name}, index=False{', header=False' if names else ''}{more})"


def _files(found: Proposal, labels: Labels) -> list[str]:
    lines = ["for number, kind in enumerate(kinds):"]
    if labels.kind == "folder":
        path = f"root / {text(labels.folder)}" if labels.folder else "root"
        place = f'{path} / CLASSES[kind] / (f"a{{number}}" + {_ending(found)})'
    else:
        name = 'CLASSES[kind] + f".{number}"' if labels.pattern.startswith("^([") else 'f"{number}." + CLASSES[kind]'
        place = _path(labels.folder, name, _ending(found))
    return [*lines, f"    draw_image({place}, {_scale(found)}, random)"]


def _tests(found: Proposal, labels: Labels, test: TestImages) -> list[str]:
    form = found.submission
    if form is None:
        return []
    folder = test.folder if test.folder is not None else NO_FOLDER
    lines = ["rows, sample = [], []" if test.table else "sample = []", f"for number in range({TESTS}):"]
    match = test.match or Match("", folder, 0, 0)
    value, name = _names(match, "b", TEST_NUMBERS)
    lines += _draw(found, test.match, folder, name, "number / 8")
    row = {match.column: value} if test.table else {}
    id_ = value
    joined = len(labels.ids.columns) > 1
    if joined:
        row |= {labels.ids.columns[0]: 'f"j{number // 2}"', labels.ids.columns[1]: 'f"{number % 2}"'}
        id_ = f'f"j{{number // 2}}" + {text(labels.ids.join)} + f"{{number % 2}}"'
    row[test.id] = id_
    row |= dict.fromkeys(found.metadata, "int(random.integers(9))")
    own_table = test.table and test.table != form.file
    if own_table:
        lines.append(f"    rows.append({_dict(row)})")
    if form.file is not None:
        lines += _sample_rows(found, form, id_)
    if own_table:
        lines.append(_written("pd.DataFrame(rows)", text(test.table), test.table, test.names))
    if form.file is not None:
        if "/" in form.file:
            lines.append("(root / SAMPLE).parent.mkdir(parents=True, exist_ok=True)")
        lines.append(_written("pd.DataFrame(sample)", "SAMPLE", form.file))
    if not any("sample" in line for line in lines[1:]):
        lines[0] = lines[0].replace("rows, sample = [], []", "rows = []").replace("sample = []", "")
    if not any("rows" in line for line in lines[1:]):
        lines[0] = lines[0].replace("rows, sample = [], []", "sample = []")
    return [line for line in lines if line]


def _sample_rows(found: Proposal, form: Submission, id_: str) -> list[str]:
    classes = "CLASSES" if named_classes(found) else "classes"
    value = {
        "probabilities": "0.5",
        "numbers": "0.0",
        "classes": f"{classes}[0]",
        "tags": f"{classes}[0]",
        "labels": f'" ".join({classes}[:{form.count}])',
    }[form.holds]
    id_name, *columns = form.header
    if form.join:
        row = {id_name: f"{id_} + {text(form.join)} + name", columns[0]: value}
        return ["    for name in CLASSES:", f"        sample.append({_dict(row)})"]
    if len(columns) > 12 and set(columns) <= {*found.classes}:
        return [f"    sample.append({{{text(id_name)}: {id_}, **dict.fromkeys(CLASSES, {value})}})"]
    return [f"    sample.append({_dict({id_name: id_} | dict.fromkeys(columns, value))})"]
