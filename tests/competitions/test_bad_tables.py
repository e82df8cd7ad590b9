"""Damaged csv files, and wrong values in good ones: one line that names the file, for every competition."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from helpers.recursion_data import write as write_recursion
from kit.data.index import read_groups, read_table
from kit.errors import KitError
from kit.hooks.registry import Registry

LONG = "9" * 5000


def histopathology(root: Path) -> None:
    for split, name in (("train", "train_labels"), ("test", "sample_submission")):
        (root / split).mkdir(parents=True)
        ids = [f"{split}{number}" for number in range(8)]
        for id_ in ids:
            (root / split / f"{id_}.tif").touch()
        (root / f"{name}.csv").write_text("id,label\n" + "".join(f"{id_},{n % 2}\n" for n, id_ in enumerate(ids)))


def protein(root: Path) -> None:
    for split, name, column in (("train", "train", "Target"), ("test", "sample_submission", "Predicted")):
        (root / split).mkdir(parents=True)
        ids = [f"{split}{number}" for number in range(8)]
        for id_ in ids:
            for colour in ("red", "green", "blue", "yellow"):
                (root / split / f"{id_}_{colour}.png").touch()
        (root / f"{name}.csv").write_text(f"Id,{column}\n" + "".join(f"{id_},{n % 3} 7\n" for n, id_ in enumerate(ids)))


def ham10000(root: Path) -> None:
    (root / "images").mkdir(parents=True)
    (root / "test").mkdir()
    rows = [f"L{number},ISIC_000{number},nv,histo,{40 + number}.0,male,back" for number in range(8)]
    for number in range(8):
        (root / "images" / f"ISIC_000{number}.jpg").touch()
        (root / "test" / f"ISIC_001{number}.jpg").touch()
    head = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    (root / "HAM10000_metadata.csv").write_text("\n".join([head, *rows]) + "\n")
    tests = [f"ISIC_001{number},{40 + number}.0,male,back" for number in range(8)]
    (root / "test_metadata.csv").write_text("\n".join(["image_id,age,sex,localization", *tests]) + "\n")


def recursion(root: Path) -> None:
    write_recursion(root)


MAKE = {"histopathology": histopathology, "protein": protein, "ham10000": ham10000, "recursion": recursion}
TABLES = [
    ("histopathology", "train_labels.csv"),
    ("histopathology", "sample_submission.csv"),
    ("protein", "train.csv"),
    ("protein", "sample_submission.csv"),
    ("ham10000", "HAM10000_metadata.csv"),
    ("recursion", "train.csv"),
    ("recursion", "test.csv"),
    ("recursion", "train_controls.csv"),
]


def rows(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Change every line but the first."""

    def changed(content: bytes) -> bytes:
        first, *rest = content.splitlines()
        return b"\n".join([first, *map(change, rest)]) + b"\n"

    return changed


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "blank lines": lambda content: b"\n\n  \n",
    "zeros": lambda content: bytes(100),
    "binary": lambda content: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "a NUL byte": lambda content: content.replace(b"\n", b"\n\0", 3),
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "Latin-1": lambda content: content.replace(b",", b"\xe9,", 3),
    "a quote that never closes": lambda content: content[:60] + b'"' + content[60:].replace(b",", b',"', 1),
    "more fields than the header": rows(lambda row: row + b",x"),
    "a field more in one row": lambda content: content.replace(b"\n", b",x\n", 4).replace(b",x\n", b"\n", 3),
    "a column twice": lambda content: re.sub(rb"^(\w+),(\w+)", rb"\1,\1", content),
    "another header": lambda content: b"a,b\n1,2\n",
    "a page": lambda content: b"<!DOCTYPE html>\n<html><body>sign in, please</body></html>\n",
    "a pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
}

# What is read as it is meant.
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "commas at the end": rows(lambda row: row + b","),
    "a comma at the end of one row": lambda content: content.replace(b"\n", b",\n", 4).replace(b",\n", b"\n", 3),
    "commas at the end of all lines": lambda content: content.replace(b"\n", b",\n"),
    "semicolons": lambda content: content.replace(b",", b";"),
    "tabs": lambda content: content.replace(b",", b"\t"),
    "blanks": lambda content: content.replace(b",", b" , "),
    "a quoted header": lambda content: b'"' + content.replace(b"\n", b'"\n', 1).replace(b",", b'","', head(content)),
    "a byte-order mark": lambda content: b"\xef\xbb\xbf" + content,
    "carriage returns": lambda content: content.replace(b"\n", b"\r\n"),
    "blank lines around": lambda content: b"\n" + content + b"\n  \n",
    "empty rows at the end": lambda content: content + 2 * (b"," * head(content) + b"\n"),
    "numbered rows": lambda content: b"\n".join(
        b"%s,%s" % (b"%d" % number if number else b"", line) for number, line in enumerate(content.splitlines())
    ),
}


def head(content: bytes) -> int:
    """The number of commas of the header."""
    return content.split(b"\n")[0].count(b",")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MAKE)
def test_tables_as_people_have_them_give_the_same_index(tmp_path, name, form):
    MAKE[name](tmp_path)
    dataset = Registry().datasets.get(name)
    good = dataset.index(tmp_path)
    for table in (table for own, table in TABLES if own == name):
        (tmp_path / table).write_bytes(FORMS[form]((tmp_path / table).read_bytes()))
    found = dataset.index(tmp_path)
    for split in ("train", "test", "controls"):
        pd.testing.assert_frame_equal(getattr(found, split), getattr(good, split))
    assert dict(found.missing) == dict(good.missing)


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_a_damaged_table_is_one_line_that_names_it(tmp_path, name, table):
    MAKE[name](tmp_path)
    dataset = Registry().datasets.get(name)
    good = (tmp_path / table).read_bytes()
    for what, damage in DAMAGE.items():
        (tmp_path / table).write_bytes(damage(good))
        with pytest.raises(KitError) as refused:  # noqa: PT012
            dataset.index(tmp_path)
            pytest.fail(f"{what} was read")
        assert table in str(refused.value), what
        assert len(str(refused.value)) < 700, what
        assert refused.value.code == 2


@pytest.mark.parametrize(("name", "table"), TABLES)
@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content.replace(b",", b", "),
        lambda content: re.sub(rb"^(\w+),(\w+)", rb" \1 ,\t\2 ", content),
        lambda content: b"\n" + content.replace(b"\n", b"\n\n"),
        lambda content: re.sub(rb"([^,\n]+)", rb'"\1"', content),
    ],
    ids=["mark", "windows", "blanks", "header", "lines", "quotes"],
)
def test_what_means_the_same_is_read_the_same(tmp_path, name, table, change):
    MAKE[name](tmp_path)
    dataset = Registry().datasets.get(name)
    index = dataset.index(tmp_path)
    (tmp_path / table).write_bytes(change((tmp_path / table).read_bytes()))
    again = dataset.index(tmp_path)
    for old, new in ((index.train, again.train), (index.test, again.test)):
        assert old["id"].tolist() == new["id"].tolist()
        assert old.get("target", old["id"]).tolist() == new.get("target", new["id"]).tolist()


@pytest.mark.parametrize(
    ("name", "table", "old", "new", "said"),
    [
        *(
            ("histopathology", "train_labels.csv", "train3,1", f"train3,{value}", r"neither 0 nor 1, .*train3")
            for value in ("", "2", "-1", "1.0", "nan", "inf", "1e0", LONG, "tumour", "٠")
        ),
        *(
            (
                "protein",
                "train.csv",
                "train3,0 7",
                f"train3,{value}",
                r"train.csv: the label .* of train3 is not a list",
            )
            for value in ("", "28", "-1", "1.0", "nan", "inf", LONG, "٠", "³", f"0 {LONG}")
        ),
        *(
            ("ham10000", "HAM10000_metadata.csv", "nv,histo,43.0", f"{value},histo,43.0", r"the dx .* of ISIC_0003")
            for value in ("", "NV", "0", LONG, "unknown")
        ),
        *(
            ("ham10000", table, "43.0", value, rf"{table}: the age of '.*' is .*, not a finite number from 0 to 150")
            for value in ("inf", "-inf", "-1", "151", "young", LONG, "1e400")
            for table in ("HAM10000_metadata.csv", "test_metadata.csv")
        ),
        *(
            ("recursion", "train.csv", ",sirna_7\n", f",{value}\n", r"train.csv: the well .* has no sirna")
            for value in ("", "  ", LONG)
        ),
        *(
            (
                "recursion",
                table,
                ",HEPG2-0",
                f",{value}",
                rf"{table}: the well .* is not its experiment, plate and well",
            )
            for value in ("../../", "/etc/HEPG2-0", "", f"{LONG}")
            for table in ("train.csv", "test.csv", "train_controls.csv")
        ),
    ],
)
def test_a_wrong_value_names_file_row_and_value(tmp_path, name, table, old, new, said):
    MAKE[name](tmp_path)
    text = (tmp_path / table).read_text()
    assert old in text
    (tmp_path / table).write_text(text.replace(old, new, 1))
    with pytest.raises(KitError, match=said) as refused:
        Registry().datasets.get(name).index(tmp_path)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("value", ["", "text", "nan", "inf", "-1", "1e999", LONG, " "])
@pytest.mark.parametrize("column", [1, 2, 3, 4])
def test_levels_that_are_no_numbers_are_named(tmp_path, value, column):
    recursion(tmp_path)
    dataset = Registry().datasets.get("recursion")
    index = dataset.index(tmp_path)
    lines = ["id_code,site,channel,mean,std"]
    lines += [
        f"{id_},{site},{channel},12.5,3.25"
        for id_, site in zip(index.train["id"], index.train["sample"], strict=True)
        for channel in range(1, 7)
    ]
    (tmp_path / "pixel_stats.csv").write_text("\n".join(lines) + "\n")
    assert dataset.statistics(index, index.train) is not None
    cells = lines[5].split(",")
    cells[column] = value
    lines[5] = ",".join(cells)
    (tmp_path / "pixel_stats.csv").write_text("\n".join(lines) + "\n")
    if column < 4 and value == "-1":
        assert (dataset.statistics(index, index.train) is None) == (column < 3)  # a site or a channel is not there
        return
    with pytest.raises(KitError, match=r"pixel_stats.csv: the (site|channel|mean|std) of .* is .*, not a finite"):
        dataset.statistics(index, index.train)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_levels_are_named(tmp_path, damage):
    recursion(tmp_path)
    index = Registry().datasets.get("recursion").index(tmp_path)
    row = f"{index.train['id'].iat[0]},1,1,12.5,3.25\n"
    (tmp_path / "pixel_stats.csv").write_bytes(DAMAGE[damage](("id_code,site,channel,mean,std\n" + 9 * row).encode()))
    with pytest.raises(KitError, match=r"pixel_stats.csv"):
        Registry().datasets.get("recursion").statistics(index, index.train)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 99, 0.5, None, "x"])
def test_what_a_dataset_lets_pass_is_found_in_one_place(tmp_path, name, value):
    from dataclasses import replace

    MAKE[name](tmp_path)
    index = Registry().datasets.get(name).index(tmp_path)
    column = index.train["target"].astype(object).copy()
    column.iloc[2] = (value,) if name == "protein" else value
    with pytest.raises(KitError, match=r"the target of the training image .* is .*, not a \w+.* from 0 to"):
        replace(index, train=index.train.assign(target=column))
    for split in ("train", "test") if value in (None, "x", float("inf")) or value != value else ():
        frame = getattr(index, split)
        column = frame["id"].map(lambda _: 0.0).astype(object)
        column.iloc[1] = value
        both = {"train": index.train.assign(wet=0.0), "test": index.test.assign(wet=0.0)}
        with pytest.raises(KitError, match=r"the wet of the \w+ image .* is .*, not a finite number"):
            replace(index, **{**both, split: frame.assign(wet=column)}, metadata=("wet",))


def test_blank_groups_are_none(tmp_path):
    histopathology(tmp_path)
    index = Registry().datasets.get("histopathology").index(tmp_path)
    lines = [f"train{number},{group}" for number, group in enumerate(["a", "a", "", "  ", "b", "", " b", "\t"])]
    (tmp_path / "slides.csv").write_text("\n".join(["id,slide", *lines]) + "\n")
    grouped = index.with_groups(read_groups(tmp_path / "slides.csv"), "slide")
    assert grouped.train["group"].tolist() == ["a", "a", None, None, "b", None, "b", None]
    (tmp_path / "slides.csv").write_text("id,slide\ntrain0,\ntrain1,\n")
    with pytest.raises(KitError, match="none of the 8 training ids has a group in slide"):
        index.with_groups(read_groups(tmp_path / "slides.csv"), "slide")
    (tmp_path / "slides.csv").write_text("id,slide\ntrain0,a\ntrain0,b\n")
    with pytest.raises(KitError, match=r"slides.csv: 'train0' has two groups"):
        read_groups(tmp_path / "slides.csv")
    (tmp_path / "slides.csv").write_text("id,wsi\ntrain0,x_a\ntrain1,x_a\ntrain0,x_b\ntrain1,\n")
    with pytest.raises(KitError, match=r"slides.csv: 'train0' has two groups"):
        Registry().datasets.get("histopathology").groups(tmp_path / "slides.csv")


def test_more_fields_than_the_header_are_shown_as_they_are(tmp_path):
    (tmp_path / "a.csv").write_text("id,label\na,0,b,c\n")
    with pytest.raises(KitError, match=r"the first is 'a,0,b,c': is there a comma too many"):
        read_table(tmp_path / "a.csv", ("id", "label"), "mend it")


def test_not_all_of_a_thousand_columns_are_listed(tmp_path):
    (tmp_path / "a.csv").write_text(",".join(f"column{number}" for number in range(1000)) + "\n")
    with pytest.raises(KitError, match=r"it has 'column0', .*'column11' and 988 more\): mend it"):
        read_table(tmp_path / "a.csv", ("id", "label"), "mend it")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_groups_is_named(tmp_path, damage):
    path = tmp_path / "slides.csv"
    path.write_bytes(DAMAGE[damage](b"id,slide\n" + b"".join(b"train%d,a\n" % n for n in range(20))))
    if damage in ("another header", "a page", "a pointer"):
        return
    with pytest.raises(KitError, match=r"slides.csv"):
        read_groups(path)


def test_a_cell_of_a_million_letters_is_read(tmp_path):
    (tmp_path / "a.csv").write_text(f"id,label\n{'a' * 1_000_000},1\n")
    assert read_table(tmp_path / "a.csv", ("id",), "mend")["id"].str.len().tolist() == [1_000_000]


TRUTHS = {
    "histopathology": "id,label\n" + "".join(f"t{number},{number % 2}\n" for number in range(8)),
    "ham10000": "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC,score_weight\n"
    + "".join(
        f"ISIC_000{n}," + ",".join("1.0" if k == n % 7 else "0.0" for k in range(7)) + ",1.0\n" for n in range(8)
    ),
}


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize(
    "change",
    [
        *(lambda text, damage=damage: damage(text.encode()).decode("latin-1") for damage in DAMAGE.values()),
        lambda text: text.splitlines()[0] + "\n",
        lambda text: text + text.splitlines()[3] + "\n",
        lambda text: text.rsplit("\n", 2)[0] + "\n",
        lambda text: text.replace("1", "x", 1),
        *(
            lambda text, value=value: re.sub(r"[\d.]+\n", f"{value}\n", text, count=1)
            for value in ("inf", "nan", "", LONG, "-1", "text")
        ),
        lambda text: re.sub(r",[\d.]+\n", ",0\n", text),
    ],
)
def test_a_wrong_truth_is_one_line(kit, tmp_path, name, change):
    good = TRUTHS[name] if name == "histopathology" else re.sub(r",[^,\n]+\n", "\n", TRUTHS[name])
    (tmp_path / "mine.csv").write_text(good)
    (tmp_path / "truth.csv").write_text(TRUTHS[name])
    kit("grade", name, "--truth", tmp_path / "truth.csv", "--file", tmp_path / "mine.csv")
    (tmp_path / "truth.csv").write_text(change(TRUTHS[name]))
    error = kit("grade", name, "--truth", tmp_path / "truth.csv", "--file", tmp_path / "mine.csv", code=2).err
    assert "truth.csv" in error
    assert len(error.splitlines()) == 1
    assert len(error) < 1000
