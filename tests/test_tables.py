"""Csv files: one reader for all, which takes what is beyond doubt and names the rest."""

import csv
import io

import pandas as pd
import pytest

from kit.ensemble.members import read_csv
from kit.errors import KitError
from kit.submission.checks import check_table
from kit.tables import read_exact, read_table, refuse_repeated, repeated
from kit.task import BINARY

MEANT = {"id": ["a", "b"], "label": ["0", "1"]}


@pytest.mark.parametrize(
    "text",
    [
        "id,label\na,0\nb,1\n",
        "id,label\na,0\nb,1",
        "id,label\r\na,0\r\nb,1\r\n",
        "id,label\ra,0\rb,1\r",
        "\ufeffid,label\na,0\nb,1\n",
        '\ufeff"id","label"\n"a","0"\n"b","1"\n',
        '"id", "label"\na, 0\nb, 1\n',
        '"id" , "label" \na , 0 \n b , 1\t\n',
        "id\tlabel\na\t0\nb\t1\n",
        "id;label\na;0\nb;1\n",
        "id ; label\na ; 0\nb ; 1\n",
        "id,label\na,0,\nb,1,\n",
        "id,label\na,0\nb,1,\n",
        "id,label\na,0,\nb,1\n",
        "id,label,\na,0,\nb,1,\n",
        "id,label,,\na,0\nb,1\n",
        "id,label\na,0, \nb,1,\t\n",
        "\n\nid,label\n\na,0\n\n\nb,1\n\n  \n",
        "id,label\na,0\nb,1\n,\n,,\n",
        "id,label\na,0\nb,1\n , \n",
        "\u00a0id,label\u00a0\na\u00a0,0\nb,\u00a01\n",
        '"id","label"\n"a","0"\n"b","1"\n',
    ],
)
def test_what_is_beyond_doubt_is_read_as_meant(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert read_table(path, ("id", "label"), "mend").to_dict("list") == MEANT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label\na,0,1\nb,1\n", "the first is 'a,0,1'"),
        ("id,label\na,0\nb,1,x\n", "the first is 'b,1,x': is there a comma too many"),
        ("id;label\na;0\nb;1;x\n", "the first is 'b;1;x'"),
        ("id,label\na,0\nb,1,x,y\n", "line 3 has 4 fields"),
        ("\n\nid,label\na,0\nb,1,x,y\n", "line 5 has 4 fields"),
        ("id,labels\na,0\n", "no column 'label' (it has 'id', 'labels'): mend"),
        ("id label\na 0\n", "no column 'id' (it has 'id label')"),
        ("id|label\na|0\n", "no column 'id' (it has 'id|label')"),
        ("id;id;label\na;b;0\n", "two columns have the name 'id'"),
        ('"id,label\na,0\n', "a quotation mark in its header never closes"),
        ('id,label\n"a,0\nb,1\n', "EOF inside string"),
    ],
)
def test_what_is_in_doubt_is_named(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(KitError) as refused:
        read_table(tmp_path / "a.csv", ("id", "label"), "mend")
    assert said in str(refused.value)
    assert str(tmp_path / "a.csv") in str(refused.value)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ((), "a.csv is not there: mend"),
        (
            ("a (1).csv", "a.csv.gz", "x.png", "._a.csv"),
            "a.csv is not there (beside it: 'a (1).csv', 'a.csv.gz'): mend",
        ),
        (tuple(f"{number}.csv" for number in range(20)), "'19.csv' and 8 more): mend"),
    ],
)
def test_where_a_table_lacks_those_beside_it_are_named(tmp_path, there, said):
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(KitError) as refused:
        read_table(tmp_path / "a.csv", ("id",), "mend")
    assert said in str(refused.value)


def test_texts_are_those_of_the_standard_library(tmp_path):
    rows = [["a,b", 'say "x"', "007"], ["NA", "", "1e5"], ["größer", "two\nlines", "-"]]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text", "number"], *rows])
    assert read_table(tmp_path / "a.csv", ("id",), "mend").to_numpy().tolist() == rows
    assert read_exact((tmp_path / "a.csv").read_bytes()).to_numpy().tolist() == rows


def test_numbers_alone_are_kept_of_large_tables(tmp_path):
    (tmp_path / "a.csv").write_text("id;mean;more\na;0.5;x\nb;1.25;y;\n\n")
    table = read_table(tmp_path / "a.csv", ("id", "mean"), "mend", ("mean",))
    assert table.to_dict("list") == {"id": ["a", "b"], "mean": [0.5, 1.25]}


DAMAGED = {
    "UTF-16": "id,label\na,0\n".encode("utf-16"),
    "a NUL byte": b"id,label\na,\x000\n",
    "Latin-1": b"id,label\n\xe9,0\n",
    "a column twice": b"id,label,label\na,0,1\n",
    "an open quote": b'id,label\n"a,0\n',
    "a field more": b"id,label\na,0,1\n",
    "empty": b"",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_every_reader_has_the_same_checks(tmp_path, damage):
    path, sample = tmp_path / "a.csv", tmp_path / "sample.csv"
    path.write_bytes(DAMAGED[damage])
    sample.write_text("id,label\na,0\n")
    with pytest.raises(ValueError, match=r"\S"):
        read_exact(DAMAGED[damage])
    with pytest.raises(KitError, match=r"a\.csv"):
        read_csv(path, ("label",), BINARY)
    assert [finding.level for finding in check_table(path, sample, ("label",))] == ["error"]


@pytest.mark.parametrize("header", ["id, label", "id\tlabel,", "id,label,", '"id" ,label'])
def test_what_goes_to_kaggle_is_taken_as_it_is(tmp_path, header):
    (tmp_path / "a.csv").write_text(f"{header}\na,0.5\n")
    (tmp_path / "sample.csv").write_text("id,label\na,0\n")
    [finding] = check_table(tmp_path / "a.csv", tmp_path / "sample.csv", ("label",))
    assert "it must be 'id,label'" in finding.text


def test_a_sample_with_endings_asks_for_none_where_the_competition_has_none(tmp_path):
    (tmp_path / "sample.csv").write_text("id,label\na.tif,0\nb.tif,0\n")
    (tmp_path / "bare.csv").write_text("id,label\na,0.5\nb,0.25\n")
    (tmp_path / "full.csv").write_text("id,label\na.tif,0.5\nb.tif,0.25\n")
    for name, without_endings, right in (("bare", True, 1), ("full", True, 0), ("bare", False, 0), ("full", False, 1)):
        found = check_table(tmp_path / f"{name}.csv", tmp_path / "sample.csv", ("label",), without_endings)
        assert (not found) == bool(right), (name, without_endings)


def test_no_row_wins_unseen(tmp_path):
    ids, labels = pd.Series(["a", "b", "a", "b", "c", "b"]), pd.Series(["0", "1", "1", "1", "0", "1"])
    assert repeated(ids, labels) == ("a (0 and 1)", "b", "b")
    assert repeated(ids.drop_duplicates(), labels) == ()
    with pytest.raises(KitError, match=r"t\.csv has two rows for id 'a' \(3 such rows\)"):
        refuse_repeated(ids, tmp_path / "t.csv")
    refuse_repeated(ids.drop_duplicates(), tmp_path / "t.csv")


def test_a_large_table_takes_a_moment_and_little_memory(tmp_path):
    import time
    import tracemalloc

    text = io.StringIO()
    text.write("id,label\n")
    text.writelines(f"{number:040x},{number % 2}\n" for number in range(100_000))
    (tmp_path / "a.csv").write_text(text.getvalue())
    size = (tmp_path / "a.csv").stat().st_size
    tracemalloc.start()
    began = time.perf_counter()
    table = read_table(tmp_path / "a.csv", ("id", "label"), "mend")
    seconds, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == 100_000
    assert seconds < 10
    # The file, the parser's copies, and 89 bytes per text.
    assert peak < 10 * size
