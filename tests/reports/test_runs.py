"""The record of runs: how runs differ, and the experiment log as Markdown."""

import json
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from kit.config import validate
from kit.console import Console
from kit.files import write_json
from kit.run import Run
from kit.training.history import History

BASE = {"competition": "histopathology", "dataset": "histopathology", "loss": "bce", "folds": 3}


def make(scores: dict[int, float], digest: str = "d" * 64, seconds: tuple[float, ...] = (60, 180), **config) -> Run:
    """A run with the files that training writes: two epochs per fold, with a validation halfway through the first."""
    run = Run.create(validate({**BASE, **config}), {"origin": "miniature", "folds": {"digest": digest}, "planned": []})
    for fold, score in scores.items():
        history, rows = History(run.fold_dir(fold) / "history.csv", Console(json=True)), []
        for epoch, spent in ((0.5, seconds[0] / 2), (1.0, seconds[0]), (2.0, seconds[1])):
            rows = history.add(rows, {"epoch": epoch, "train loss": 0.5, "AUC": score, "seconds": spent})
        write_json(run.fold_dir(fold) / "result.json", {"metric": "roc_auc", "score": score, "seconds": 300.0})
    if scores:
        value = sum(scores.values()) / len(scores)
        score = {"metric": "roc_auc", "value": value, "low": value - 0.01, "high": value + 0.01, "ids": 240}
        run.update(state="finished", score=score)
    return run


def test_only_what_differs_is_compared_side_by_side(kit):
    a = make({0: 0.9, 1: 0.8, 2: 0.7})
    b = make({0: 0.95, 1: 0.85, 2: 0.75}, size=128, sizes=[64, 128], ema=0.99, note="larger | longer")
    document = kit("runs", "--compare", a.id, b.id, "--json").json
    assert document["runs"] == [a.id, b.id]
    assert document["config"] == {
        "size": [96, 128],
        "sizes": [[], [64, 128]],
        "ema": [None, 0.99],
        "note": ["", "larger | longer"],
    }
    assert document["folds"] == {"0": [0.9, 0.95], "1": [0.8, 0.85], "2": [0.7, 0.75]}
    assert document["common"] == {"folds": [0, 1, 2], "scores": [pytest.approx(0.8), pytest.approx(0.85)]}
    assert [score["value"] for score in document["score"]] == [pytest.approx(0.8), pytest.approx(0.85)]
    assert document["comparable"]
    assert document["same_folds_trained"]
    out = kit("runs", "--compare", a.id, b.id).out
    assert "comparable: the folds are the same (digest dddddddddddd)" in out
    assert all(text in out for text in ("fold 2", "0.9500", "0.8400 to 0.8600", "larger | longer", a.id, b.id))
    assert "weight_decay" not in out


def test_other_folds_are_not_comparable_and_part_of_them_only_fold_by_fold(kit):
    a, b = make({0: 0.9, 1: 0.8}), make({1: 0.6})
    other, empty = make({0: 0.9}, digest="e" * 64, seed=1), make({})
    document = kit("runs", "--compare", a.id, b.id, "--json").json
    assert document["comparable"]
    assert not document["same_folds_trained"]
    assert document["config"] == {}
    assert document["folds"] == {"0": [0.9, None], "1": [0.8, 0.6]}
    assert document["common"] == {"folds": [1], "scores": [0.8, 0.6]}
    out = kit("runs", "--compare", a.id, b.id).out
    assert "their configurations are the same" in out
    assert "but different ones are trained" in out

    document = kit("runs", "--compare", a.id, b.id, other.id, "--json").json
    assert not document["comparable"]
    assert document["differ_in"] == ["folds"]
    assert document["common"]["folds"] == []
    assert document["config"] == {"seed": [0, 0, 1]}
    assert "not comparable: they differ in folds" in kit("runs", "--compare", a.id, other.id).out
    document = kit("runs", "--compare", a.id, empty.id, "--json").json
    assert document["folds"]["0"] == [0.9, None]
    assert document["score"][1] is None


def test_a_run_of_an_older_kit_is_listed_logged_and_compared(kit):
    a, b = make({0: 0.9}), make({0: 0.9})
    config = {key: value for key, value in b.record["config"].items() if key not in ("note", "sizes", "accumulate")}
    b.update(config={**config, "forgotten": 3})
    assert kit("runs", "--compare", a.id, b.id, "--json").json["config"] == {"forgotten": [None, 3]}
    assert len(kit("runs", "--json").json["runs"]) == 2
    assert len(kit("log", "histo", "--json").json["runs"]) == 2


def test_wrong_uses_are_one_line(kit):
    a = make({0: 0.9})
    for words, mend in (
        (("runs", "--compare", a.id), "two runs or more"),
        (("runs", "--compare", a.id, a.id), "two runs or more"),
        (("runs", "--compare"), "two runs or more"),
        (("runs", "--compare", a.id, "histopathology-1"), f"did you mean {a.id}"),
        (("runs", a.id), "kit runs --compare"),
        (("log", "leaves"), "no competition is called 'leaves'"),
    ):
        said = kit(*words, code=2).err
        assert mend in said
        assert said.count("\n") == 1


def test_no_run_no_log(kit):
    assert "kit train histopathology makes one" in kit("log", "histo", code=2).err


NOTES = [
    "",
    "a|b",
    "a \\| b",
    "*stars* and _lines_, `ticks`",
    "two\nlines",
    "<b>bold</b> & [link](x) ![](y)",
    "snake_case, __init__ and ~~gone~~",
    "1 < 2 $x$ &amp; \\",
    "# not a heading",
    "ends with |",
    "größer →",
]


def table(markdown: str) -> list[list[str]]:
    """Return the cells of the one table as a reader sees them, from an independent Markdown parser."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            assert all(child.type in ("text", "text_special") for child in token.children), token.content
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_the_log_is_a_table_with_one_row_per_run(kit):
    runs = [make({0: 0.9}, note=note) for note in NOTES]
    head, *rows = table(kit("log", "histo").out)
    assert head == [
        "run",
        "date",
        "data",
        "model",
        "size",
        "batch",
        "lr",
        "min/epoch",
        "CV score",
        "leaderboard",
        "note",
        "state",
    ]
    assert [row[0] for row in rows] == [run.id for run in runs]
    assert [row[head.index("note")] for row in rows] == [" ".join(note.split()) for note in NOTES]
    assert {len(row) for row in rows} == {len(head)}
    # Names with an underscore stay readable in the source too.
    assert "efficientnet_lite0" in kit("log", "histo").out


def test_the_cells_of_the_log(kit, tmp_path):
    full = make({0: 0.9, 1: 0.8, 2: 0.7}, lr=1e-3, lr_low=1e-5, size=128, sizes=[64, 128], accumulate=4, note="best")
    full.update(leaderboard={"public": 0.97123, "private": 0.96})
    unfinished = make({1: 0.9}, seconds=(1200, 1200))
    unfinished.update(leaderboard={"public": 0.5, "private": None})
    make({})
    _, first, second, third = table(kit("log", "histopathologic-cancer-detection").out)
    date = full.record["created"][:16].replace("T", " ")
    assert first == [
        full.id,
        date,
        "miniature",
        "efficientnet_lite0",
        "64, 128",
        "32 x 4",
        "1e-05 to 0.001",
        "2",
        "roc_auc 0.8000 (0.7900 to 0.8100)",
        "public 0.97123, private 0.96",
        "best",
        "finished",
    ]
    assert second[7:10] == ["20", "roc_auc 0.9000 (0.8900 to 0.9100), 1/3 folds", "public 0.5"]
    assert third[7:] == ["", "", "", "", "created"]

    rows = kit("log", "histo", "--json").json["runs"]
    assert [row["minutes_an_epoch"] for row in rows] == [2, 20, None]
    assert rows[0]["score"]["value"] == pytest.approx(0.8)
    assert rows[0]["leaderboard"] == {"public": 0.97123, "private": 0.96}
    assert (rows[0]["note"], rows[0]["state"], rows[1]["folds"]) == ("best", "finished", "1/3")

    out = tmp_path / "new folder" / "LOG.md"
    said = kit("log", "histo", "--out", out).out
    assert said == f"{out}: 3 runs\n"
    assert out.read_text(encoding="utf-8") == kit("log", "histo").out
    assert json.loads(kit("log", "histo", "--json", "--out", out).out)["runs"] == rows
    assert [path.name for path in Path(out.parent).iterdir()] == ["LOG.md"]


def test_runs_of_other_competitions_stay_out(kit):
    make({0: 0.9}, competition="protein")
    run = make({0: 0.9})
    assert [row["run"] for row in kit("log", "histo", "--json").json["runs"]] == [run.id]
