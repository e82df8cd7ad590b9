"""The shared check of a submission's csv."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kit.errors import KitError
from kit.submission.checks import check_rows, check_table

IDS = [f"id{number:02d}" for number in range(20)]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return write(tmp_path / "sample_submission.csv", [(id_, "0") for id_ in IDS])


def write(path: Path, rows: list[tuple[str, str]], header: str = "id,label") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


def good() -> list[tuple[str, str]]:
    return [(id_, repr(0.01 + number / 25)) for number, id_ in enumerate(IDS)]


def check(sample: Path, rows: list[tuple[str, str]], header: str = "id,label") -> list[tuple[str, str]]:
    path = write(sample.with_name("submission.csv"), rows, header)
    return [(finding.level, finding.text) for finding in check_table(path, sample, ("label",))]


def test_a_right_file_has_no_findings(sample: Path) -> None:
    assert check(sample, good()) == []


def test_bounds_of_the_range_and_other_notations_are_right(sample: Path) -> None:
    rows = good()
    rows[0], rows[1], rows[2], rows[3] = (IDS[0], "0"), (IDS[1], "1.0"), (IDS[2], "1e-9"), (IDS[3], " 0.25")
    assert check(sample, rows) == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "label is empty"),
        ("nan", "label is not a number"),
        ("NaN", "label is not a number"),
        ("tumor", "label is not a number"),
        ("0.5 0.6", "label is not a number"),
        ("inf", "label is infinite"),
        ("-inf", "label is infinite"),
        ("1.0000001", "label lies outside 0..1"),
        ("-1e-9", "label lies outside 0..1"),
    ],
)
def test_a_bad_value_is_named_by_line_and_id(sample: Path, value: str, says: str) -> None:
    rows = good()
    rows[7] = (IDS[7], value)
    rows[11] = (IDS[11], value)
    [(level, text)] = check(sample, rows)
    assert level == "error"
    assert text.startswith(f"{says}: line 9, id 'id07'")
    assert text.endswith(", and 1 more")


def test_each_kind_of_bad_value_has_its_own_finding(sample: Path) -> None:
    rows = good()
    rows[3], rows[4], rows[5], rows[6] = (IDS[3], "x"), (IDS[4], ""), (IDS[5], "2"), (IDS[6], "inf")
    texts = [text for _, text in check(sample, rows)]
    lines = {text.split(":")[0]: text.split("line ")[1].split(",")[0] for text in texts}
    assert lines == {
        "label is empty": "6",
        "label is not a number": "5",
        "label is infinite": "8",
        "label lies outside 0..1": "7",
    }


def test_wrong_order(sample: Path) -> None:
    rows = good()
    rows[4], rows[9] = rows[9], rows[4]
    assert check(sample, rows) == [
        ("error", "the order is not that of the sample submission: line 6, id 'id09', and 1 more")
    ]


def test_a_missing_row_is_named(sample: Path) -> None:
    assert check(sample, good()[:5] + good()[6:]) == [
        ("error", "19 rows, the sample submission has 20"),
        ("error", "ids are missing: 1, the first is 'id05'"),
    ]


def test_a_doubled_row_is_named(sample: Path) -> None:
    assert check(sample, [*good(), good()[2]]) == [
        ("error", "21 rows, the sample submission has 20"),
        ("error", "the id appears twice: line 22, id 'id02'"),
    ]


def test_an_unknown_id_is_named_and_so_is_the_one_in_whose_place_it_stands(sample: Path) -> None:
    rows = good()
    rows[0] = ("stranger", "0.5")
    assert check(sample, rows) == [
        ("error", "the id is not in the sample submission: line 2, id 'stranger'"),
        ("error", "ids are missing: 1, the first is 'id00'"),
    ]


@pytest.mark.parametrize("header", ["label,id", "Id,Label", "id,label,external", "id", "id;label"])
def test_a_wrong_header(sample: Path, header: str) -> None:
    columns = header.count(",") + 1
    [(level, text)] = check(sample, [tuple(["x"] * columns)], header)
    assert (level, text) == ("error", f"the header is '{header}', it must be 'id,label'")


def test_hard_labels_are_a_warning(sample: Path) -> None:
    [(level, text)] = check(sample, [(id_, str(number % 2)) for number, id_ in enumerate(IDS)])
    assert level == "warning"
    assert "hard labels cost AUC" in text


def test_one_soft_value_takes_the_warning_away(sample: Path) -> None:
    rows = [(id_, str(number % 2)) for number, id_ in enumerate(IDS)]
    rows[0] = (IDS[0], "0.4")
    assert check(sample, rows) == []


@pytest.mark.parametrize("value", ["0", "0.5", "1"])
def test_a_constant_is_a_warning(sample: Path, value: str) -> None:
    [(level, text)] = check(sample, [(id_, value) for id_ in IDS])
    assert level == "warning"
    assert f"label is {value} in every row" in text


def test_a_blank_line_does_not_shift_the_line_numbers(sample: Path) -> None:
    path = sample.with_name("submission.csv")
    lines = write(path, [*good()[:8], (IDS[8], "7"), *good()[9:]]).read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "", *lines[3:]]) + "\n")
    texts = [finding.text for finding in check_table(path, sample, ("label",))]
    assert "label lies outside 0..1: line 11, id 'id08' ('7')" in texts
    assert "the id is not in the sample submission: line 4, id ''" in texts


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "can't be read as csv"),
        (b"id,label\nid00,0.5\nid01,0.5,1\n", "can't be read as csv"),
        (b"\xff\xfe\x00\x01\x80\x81", "can't be read as csv"),
        (b"id,label\nid00,0.5,\nid01,0.5,\n", "more fields than the header"),
    ],
)
def test_what_is_no_csv(sample: Path, content: bytes, says: str) -> None:
    path = sample.with_name("submission.csv")
    path.write_bytes(content)
    [finding] = check_table(path, sample, ("label",))
    assert finding.level == "error"
    assert says in finding.text


def test_no_rows_at_all(sample: Path) -> None:
    assert ("error", "0 rows, the sample submission has 20") in check(sample, [])


def test_a_file_that_is_not_there(sample: Path) -> None:
    [finding] = check_table(sample.with_name("none.csv"), sample, ("label",))
    assert finding.level == "error"
    assert "none.csv is not there" in finding.text


def test_without_a_sample_submission_there_is_nothing_to_check_against(tmp_path: Path) -> None:
    path = write(tmp_path / "submission.csv", good())
    with pytest.raises(KitError, match=r"sample_submission\.csv is not there"):
        check_table(path, tmp_path / "sample_submission.csv", ("label",))


def test_ids_are_compared_as_text(tmp_path: Path) -> None:
    sample = write(tmp_path / "sample.csv", [("007", "0"), ("NA", "0"), ("1e5", "0")])
    path = write(tmp_path / "a.csv", [("007", "0.1"), ("NA", "0.2"), ("1e5", "0.3")])
    assert check_table(path, sample, ("label",)) == []
    path = write(tmp_path / "b.csv", [("7", "0.1"), ("NA", "0.2"), ("100000.0", "0.3")])
    assert [finding.text.split(":")[0] for finding in check_table(path, sample, ("label",))] == [
        "the id is not in the sample submission",
        "ids are missing",
    ]


def test_several_columns_and_columns_of_text(tmp_path: Path) -> None:
    sample = write(tmp_path / "sample.csv", [("a", "0", "0"), ("b", "0", "0")], "image,mel,nv")
    path = write(tmp_path / "csv", [("a", "0.2", "0.8"), ("b", "0.5", "1.5")], "image,mel,nv")
    assert [finding.text for finding in check_table(path, sample, ("mel", "nv"))] == [
        "nv lies outside 0..1: line 3, id 'b' ('1.5')"
    ]
    table, findings = check_rows(path, sample)
    assert findings == []
    assert table is not None
    assert table["nv"].tolist() == ["0.8", "1.5"]


def test_the_size_of_the_real_submission_takes_a_moment(tmp_path: Path) -> None:
    import time

    rng = np.random.default_rng(0)
    ids = [f"{number:040x}" for number in rng.permutation(57_458)]
    pd.DataFrame({"id": ids, "label": 0}).to_csv(tmp_path / "sample.csv", index=False)
    values = rng.random(57_458)
    values[-1] = np.nan
    pd.DataFrame({"id": ids, "label": values}).to_csv(tmp_path / "csv", index=False)
    began = time.perf_counter()
    [finding] = check_table(tmp_path / "csv", tmp_path / "sample.csv", ("label",))
    assert time.perf_counter() - began < 5
    assert "line 57459" in finding.text


@pytest.mark.parametrize(
    ("options", "value", "says"),
    [
        ({"high": 4, "whole": True}, "3", None),
        ({"high": 4, "whole": True}, " 0 ", None),
        ({"high": 4, "whole": True}, "5", "label lies outside 0..4"),
        ({"high": 4, "whole": True}, "2.0", "label is not a whole number"),
        ({"high": 4, "whole": True}, "mild", "label is not a number"),
        ({"low": None, "high": None}, "-12.5", None),
        ({"low": None, "high": None}, "1e9", None),
        ({"low": None, "high": None}, "inf", "label is infinite"),
        ({"low": None, "high": None}, "", "label is empty"),
        ({"low": 1, "high": None}, "0.5", "label lies outside 1.."),
        ({"low": None, "high": 100}, "100.5", "label lies outside ..100"),
    ],
)
def test_grades_and_numbers_are_checked_by_their_own_range(sample: Path, options, value, says) -> None:
    rows = [(id_, "1") for id_ in IDS]  # the same everywhere is no fault of numbers
    rows[7] = (IDS[7], value)
    path = write(sample.with_name("submission.csv"), rows)
    found = [finding.text for finding in check_table(path, sample, ("label",), **options)]
    assert len(found) == (says is not None)
    assert says is None or found[0].startswith(f"{says}: line 9, id 'id07'")
