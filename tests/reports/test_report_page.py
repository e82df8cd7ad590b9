"""The page of `kit report` as a person meets it, in a real browser."""

import json
from pathlib import Path

import numpy as np
import pytest

import kit.reports
from helpers.report_runs import Leaves
from kit.console import Console
from kit.hooks.registry import Registry
from kit.reports.page.report import write_report

pytest_plugins = ["helpers.report_browser"]
MANY = 1108  # classes, as in recursion's data
LARGE = 220_025  # ids, as in histopathology's data
HOSTILE = "</script><img src=x onerror=alert(1)>"
TASKS = [
    ("binary", ["no", "yes"]),
    ("multiclass", list("abc")),
    ("multilabel", [f"label {n}" for n in range(28)]),
    ("ordinal", ["none", "mild", "moderate", "severe", "proliferative"]),
    ("regression", ["pawpularity"]),
    ("regression", ["dry clover", "dry grass", "a target whose name is long enough to need a line of its own"]),
]
FIRST, LAST = ["score", "course"], ["gallery", "suspects", "data", "configuration", "provenance"]
SECTIONS = {
    "ordinal": ["curves", "confusion", "grades", "losses", "calibration", "classes"],
    "regression": ["fit", "residuals", "losses"],
}


def written(leaves: Leaves, folder: Path, *noises: float) -> Path:
    """The page of one run for each noise."""
    runs = [leaves.run(leaves.values(noise), seed=number) for number, noise in enumerate(noises)]
    write_report(Registry(), runs, folder, Console(json=True))
    return folder / "report.html"


@pytest.mark.parametrize(("task", "classes"), TASKS)
def test_it_renders_whole_at_any_width_and_every_picture_has_an_alternative_text(
    task, classes, tmp_path, monkeypatch, browser
):
    page = written(Leaves(task, classes, 200, tmp_path, monkeypatch), tmp_path / "out", 2.0)
    for width in (1280, 390):
        browser.open(page, width)
        assert browser.errors() == []
        wide = browser.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide[0] == wide[1] <= width, "the page as a whole scrolls to the side"
        sections = browser.run("return [...document.querySelectorAll('section')].map((each) => each.id)")
        others = ["curves", "confusion", "losses", "calibration", "classes"]
        assert sections == [*FIRST, *SECTIONS.get(task, others), *LAST]
        assert browser.run("return document.images.length") > 20
        assert browser.run("return [...document.images].filter((each) => !each.alt.trim()).length") == 0
        unnamed = (
            "return [...document.querySelectorAll('svg')].filter((each) => !each.getAttribute('aria-label')).length"
        )
        assert browser.run(unnamed) == 0
        assert browser.run("return [...document.images].filter((each) => !each.src.startsWith('data:')).length") == 0
    assert "0.8000" in browser.text("#head")


def test_the_slider_moves_the_numbers(tmp_path, monkeypatch, browser):
    leaves = Leaves("binary", ["no", "yes"], 500, tmp_path, monkeypatch)
    values = leaves.values(2.0)
    write_report(Registry(), [leaves.run(values)], tmp_path / "out", Console(json=True))
    browser.open(tmp_path / "out" / "report.html")
    seen = []
    for step in (100, 37, 160):
        browser.slide("#threshold", step)
        given, truth = values[:, 0] >= step / 200, leaves.hot[:, 0] > 0
        cells = [int(each.text) for each in browser.all("#outcome strong")]
        hits = int((given & truth).sum())
        assert cells == [hits, (truth & ~given).sum(), (given & ~truth).sum(), (~truth & ~given).sum()]
        shown = dict(
            zip(
                [each.text for each in browser.all("#numbers dt")],
                [each.text for each in browser.all("#numbers dd")],
                strict=True,
            )
        )
        assert shown["Precision"] == f"{hits / given.sum():.4f}"
        assert shown["Recall (sensitivity)"] == f"{hits / truth.sum():.4f}"
        assert shown["Specificity"] == f"{(~truth & ~given).sum() / (~truth).sum():.4f}"
        assert shown["F1"] == f"{2 * hits / (given.sum() + truth.sum()):.4f}"
        assert shown["Accuracy"] == f"{(given == truth).mean():.4f}"
        place = browser.run("return document.querySelector('circle.moving').getAttribute('cx')")
        seen.append((tuple(cells), place))
    assert len(set(seen)) == 3
    # The keyboard moves it too.
    browser.slide("#threshold", 100)
    browser.one("#threshold").send_keys("\ue014")  # the right arrow
    assert browser.text(".threshold") == "0.505"


def test_a_click_on_a_cell_shows_its_images_the_worst_first(tmp_path, monkeypatch, browser):
    leaves = Leaves("multiclass", list("abc"), 400, tmp_path, monkeypatch)
    values = leaves.values(2.0)
    write_report(Registry(), [leaves.run(values)], tmp_path / "out", Console(json=True))
    browser.open(tmp_path / "out" / "report.html")
    truth, answer = leaves.hot.argmax(1), values.argmax(1)
    for row, column in ((0, 1), (2, 2)):
        cell = browser.one(f"[data-cell='{row},{column}']")
        browser.run("arguments[0].click()", cell)
        own = np.flatnonzero((truth == row) & (answer == column))
        own = own[np.argsort(values[own, row], kind="stable")][:24]  # the least probable truth costs most
        assert [each.text for each in browser.all("#cell code")] == leaves.ids[own].tolist()
        assert len(browser.all("#cell img")) == len(own)
        assert browser.run("return document.activeElement.id") == "cell"
    assert browser.one("[data-cell='0,1']").text == str(((truth == 0) & (answer == 1)).sum())
    browser.run("document.querySelectorAll('[name=normalised]')[1].click()")
    share = 100 * ((truth == 0) & (answer == 1)).sum() / (truth == 0).sum()
    assert browser.one("[data-cell='0,1']").text == f"{share:.{2 if share < 10 else 1}f} %"


def test_another_class_and_another_order_are_chosen(tmp_path, monkeypatch, browser):
    leaves = Leaves("multilabel", ["a", "b", "c"], 300, tmp_path, monkeypatch)
    browser.open(written(leaves, tmp_path / "out", 2.0))
    document = json.loads((tmp_path / "out" / "report.json").read_text())["runs"][0]
    browser.run("const s = document.querySelector('#curves select'); s.value = 2; s.dispatchEvent(new Event('change'))")
    auc = document["curves"]["classes"][2]["auc"]
    assert f"ROC of c: area {auc:.4f}" in browser.text("#curves")
    sort = "[...document.querySelectorAll('#classes .sort')].find((each) => each.textContent.startsWith('F1')).click()"
    browser.run(sort)
    order = sorted(document["by_class"], key=lambda row: row["f1"])
    shown = "return [...document.querySelectorAll('#classes tbody th')].map((each) => each.textContent)"
    assert browser.run(shown) == ["abc"[row["class"]] for row in order]
    browser.run(sort)
    assert browser.run(shown) == ["abc"[row["class"]] for row in reversed(order)]


def test_runs_stand_side_by_side(tmp_path, monkeypatch, browser):
    page = written(Leaves("binary", ["no", "yes"], 200, tmp_path, monkeypatch), tmp_path / "out", 1.0, 4.0)
    browser.open(page, 390)
    first, second = (each["run"] for each in json.loads((tmp_path / "out/report.json").read_text())["runs"])
    differ = browser.run("return [...document.querySelectorAll('#comparison table')].at(-1).textContent")
    assert differ == f"What differs in their configurationkey{first}{second}seed01"
    before = browser.text("#curves")
    browser.run("const s = document.querySelector('#head select'); s.value = 1; s.dispatchEvent(new Event('change'))")
    assert second in browser.text("#head .run")
    assert browser.text("#curves") != before
    assert browser.errors() == []
    assert browser.run("return document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("name", [HOSTILE, "{{pictures}} &amp; \u2028<!--<script>", '" onload="alert(1)'])
def test_hostile_names_are_text(name, tmp_path, monkeypatch, browser):
    leaves = Leaves("multiclass", [name, "b", "c"], 60, tmp_path, monkeypatch)
    leaves.ids[0] = leaves.index.train.loc[0, "id"] = name
    leaves.store.competition.title = name
    page = written(leaves, tmp_path / "out", 2.0)
    assert name not in page.read_text(encoding="utf-8")
    browser.open(page)
    assert browser.errors() == []
    assert browser.run("return document.querySelectorAll('img[src=x], [onerror], [onload]').length") == 0
    assert browser.run("return document.scripts.length") == 3
    assert browser.run("return document.title").startswith(name)
    assert browser.run("return document.querySelector('h1').textContent") == name
    assert browser.run("return document.querySelector('#classes tbody th').textContent") == name


def test_1108_classes_fit(tmp_path, monkeypatch, browser):
    leaves = Leaves("multiclass", [f"sirna_{n}" for n in range(MANY)], 4 * MANY, tmp_path, monkeypatch)
    page = written(leaves, tmp_path / "out", 1.5)
    assert page.stat().st_size < 15e6
    assert browser.open(page, 390) < 3
    assert browser.errors() == []
    assert browser.run("return document.documentElement.scrollWidth") == 390
    assert len(browser.all("#curves option")) == MANY
    assert len(browser.all("#classes tbody tr")) == 30
    browser.run("document.querySelector('#classes .more').click()")
    assert len(browser.all("#classes tbody tr")) == MANY
    assert len(browser.all(".matrix tbody tr")) == 20


@pytest.mark.slow
def test_220025_predictions_open_in_less_than_three_seconds(tmp_path, monkeypatch, browser):
    leaves = Leaves("binary", ["normal", "tumor"], LARGE, tmp_path, monkeypatch)
    page = written(leaves, tmp_path / "out", 2.0)
    assert page.stat().st_size < 15e6
    assert browser.open(page) < 3
    assert "220,025" in browser.text("#head")
    assert browser.errors() == []


@pytest.mark.slow
def test_1108_classes_of_36515_ids(tmp_path, monkeypatch, browser):
    leaves = Leaves("multiclass", [f"sirna_{n}" for n in range(MANY)], 36_515, tmp_path, monkeypatch)
    page = written(leaves, tmp_path / "out", 1.5)
    assert page.stat().st_size < 15e6
    assert browser.open(page) < 3
    assert browser.errors() == []


@pytest.mark.parametrize("ends", [(0.0037, 0.0055), (0, 2.4e-3), (-0.002, 0.0015), (250_000, 260_000), (0.126, 0.134)])
def test_no_two_ticks_of_an_axis_read_the_same(browser, ends):
    charts = (Path(kit.reports.__file__).parent / "page" / "parts" / "charts.js").read_text(encoding="utf-8")
    show = "const ticks = niceTicks(...arguments); return ticks.map((each) => [each, tickText(each, ticks)]);"
    ticks = browser.run(charts.partition("const scale")[0] + show, *ends)
    assert len({text for _, text in ticks}) == len(ticks) > 2
    assert [float(text) for _, text in ticks] == pytest.approx([value for value, _ in ticks])
