"""The document of `kit report`: every number that the page and the terminal show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit import __version__
from kit.console import Console, jsonable
from kit.data.open_run import OpenRun
from kit.decision.apply import SEEN
from kit.hooks.registry import Registry
from kit.reports.compare import compare
from kit.reports.page import record
from kit.reports.page.confusion import confusion
from kit.reports.page.curves import Ranked, calibration, class_curve, curves_of, macro_roc
from kit.reports.page.gallery import gallery
from kit.reports.page.numbers import find_far, numbers_of, summary_of
from kit.reports.page.pictures import BUDGET, in_order, thumbnails
from kit.reports.page.scored import Scored, score_run
from kit.reports.page.suspects import find_suspects
from kit.run import Run
from kit.scoring.apart import apart
from kit.scoring.metrics import f1_by_class, quadratic_kappa
from kit.task import ORDINAL

TOP = 24  # ids of the highest loss
SUSPECTS = 48
GRADE_BINS = 40  # of the expected grade
MANY = 30  # classes; with more, curves have fewer points
NAMED = 6  # classes named per image, with their probabilities


@dataclass(frozen=True)
class Subject:
    """A run with its data, and its out-of-fold predictions beside the truth."""

    opened: OpenRun
    scored: Scored


def subjects_of(
    registry: Registry, runs: Sequence[Run], console: Console, further: Sequence[str] = ()
) -> list[Subject]:
    """Read runs and their data, and compute further metrics by name; raise `KitError` if they do not fit together."""
    with console.waiting("reading"):
        opened = [OpenRun(registry, run) for run in runs]
        return [Subject(each, score_run(each, further)) for each in opened]


def document_of(subjects: Sequence[Subject], console: Console) -> dict[str, Any]:
    """Return the document without its galleries."""
    reports = [_report(subject, console) for subject in subjects]
    comparison = compare([subject.opened.run for subject in subjects]) if len(subjects) > 1 else None
    found: dict[str, Any] = jsonable({"kit": __version__, "runs": reports, "comparison": comparison})
    return found


def with_pictures(subjects: Sequence[Subject], document: dict[str, Any], console: Console) -> list[dict[str, Any]]:
    """Add each run's gallery to the document and return its pictures: `thumbnails` by id, `gallery` image by image."""
    pictures = []
    for subject, report in zip(subjects, document["runs"], strict=True):
        report["gallery"], shown = gallery(subject.opened, subject.scored, console)
        dataset, budget = subject.opened.store.dataset, BUDGET // len(subjects)
        small = thumbnails(dataset, subject.opened.index, in_order(report), budget, console)
        pictures.append({"thumbnails": small, "gallery": shown})
    return pictures


def _report(subject: Subject, console: Console) -> dict[str, Any]:
    """Return everything about one run but its gallery."""
    opened, scored = subject.opened, subject.scored
    run, metric = opened.run, opened.metric
    report = {
        "run": run.id,
        "competition": opened.competition.name,
        "title": opened.competition.title,
        "task": scored.task.name,
        "has_classes": scored.task.has_classes,
        "single_label": scored.task.single_label,
        "softmax": scored.task.softmax,
        "average": scored.task.average,
        "classes": scored.classes,
        "ids": len(scored.ids),
        "metric": {
            "name": metric.name,
            "label": metric.label or metric.name,
            "higher_is_better": metric.higher_is_better,
        },
        # The run's own figure, on every page and in every list; the two that it may be are beside it.
        "headline": run.score,
        "score": run.cross_validated,
        "decision": run.decision,
        "mean_over_folds": run.mean_over_folds,
        "ranking": run.ranking,
        "metrics": scored.metrics,
        "unseen": scored.unseen,
        "notes": _notes(opened, scored),
        "folds": record.folds(run),
        "history": record.history(run),
        "rates": record.planned_rates(run),
        **(_of_classes if scored.task.has_classes else _of_numbers)(scored, console),
        "top_losses": scored.ids[np.argsort(-scored.losses, kind="stable")[:TOP]].tolist(),
        "data": record.data(opened),
        "configuration": record.configuration(run),
        "provenance": record.provenance(opened),
    }
    report["samples"] = {id_: _sample(scored, id_) for id_ in dict.fromkeys(in_order(report))}
    return report


def _of_classes(scored: Scored, console: Console) -> dict[str, Any]:
    """Return what is said of predicted classes."""
    curves = _curves(scored, console)
    with console.waiting("classes, confusion, suspects"):
        by_class, calibrated = _by_class(scored, curves["classes"]), _calibration(scored)
        confused, suspects = confusion(scored), _suspects(scored)
    return {
        "summary": _summary(scored, by_class, calibrated["ece"]),
        "curves": curves,
        "by_class": by_class,
        "confusion": confused,
        "grades": _grades(scored) if scored.task is ORDINAL else None,
        "calibration": calibrated,
        "suspects": suspects,
    }


def _of_numbers(scored: Scored, console: Console) -> dict[str, Any]:
    """Return what is said of predicted numbers."""
    with console.waiting("residuals"):
        numbers, far = numbers_of(scored), find_far(scored)
    shown = [
        {"id": str(scored.ids[row]), "target": target, "distance": distance} for row, target, distance in far[:SUSPECTS]
    ]
    return {
        "summary": summary_of(scored),
        "numbers": numbers,
        "suspects": {"count": len(far), "of": scored.truth.size, "shown": shown},
    }


def _grades(scored: Scored) -> dict[str, Any]:
    """Return the cuts between grades, and of each true grade how often each expected grade is predicted."""
    count = len(scored.classes)
    expected = ORDINAL.expected(scored.probabilities)
    edges = np.linspace(0, count - 1, GRADE_BINS + 1)
    counts = [np.histogram(expected[scored.truth[:, number]], edges)[0].tolist() for number in range(count)]
    return {"cuts": scored.cuts, "edges": edges, "counts": counts}


def _notes(opened: OpenRun, scored: Scored) -> list[str]:
    """Return what whoever reads the scores has to know."""
    run = opened.run
    score = (run.score or {}).get("value")
    found = [
        f"{opened.changed}: what is shown may not fit it" if opened.changed else "",
        "" if scored.unseen else f"{SEEN}: kit thresholds {run.id} tunes it again",
        apart(opened.metric, score, run.fold_scores.values()),
    ]
    return [note for note in found if note]


def _curves(scored: Scored, console: Console) -> dict[str, Any]:
    """Return areas, curves and counts at thresholds of each class with a curve; of several, micro and macro too."""
    many = len(scored.classes) > MANY
    points, steps = (33, 100) if many else (200, 200)
    thresholds = np.arange(steps + 1) / steps
    classes = []
    with console.progress("curves", len(scored.scored_classes), "classes") as bar:
        for number in scored.scored_classes:
            truth, values = scored.truth[:, number], scored.probabilities[:, number]
            curve = class_curve(truth, values, thresholds, points)
            classes.append({"class": number, **curve, "point": _point(scored, number)})
            bar.advance()
    several: dict[str, Any] = {"micro": None, "macro": None}
    if len(classes) > 1:
        with console.waiting("micro average"):
            ranked = Ranked.of(scored.truth, scored.probabilities)
        several = {
            "micro": {"auc": ranked.auc, "average_precision": ranked.average_precision, **curves_of(ranked, 200)},
            "macro": {
                "auc": _mean(curve["auc"] for curve in classes),
                "average_precision": _mean(curve["average_precision"] for curve in classes),
                "roc": macro_roc(classes, 101),
            },
        }
    return {"thresholds": thresholds, "classes": classes, **several}


def _point(scored: Scored, number: int) -> dict[str, float | int | None]:
    """Return where the run's predictions lie on the curves of a class; `threshold` is None where the likeliest class
    is predicted."""
    truth, predicted = scored.truth[:, number], scored.predicted[:, number]
    hits = int((truth & predicted).sum())
    return {
        "threshold": scored.threshold_of(number),
        "true": hits,
        "false": int(predicted.sum()) - hits,
    }


def _by_class(scored: Scored, curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each class's support, precision, recall, specificity and F1, and the areas under its curves."""
    support, predicted = scored.truth.sum(0), scored.predicted.sum(0)
    hits = (scored.truth & scored.predicted).sum(0)
    others = len(scored.ids) - support
    areas = {curve["class"]: curve for curve in curves}
    for number in set(range(len(scored.classes))) - set(areas):  # the negative class of a binary task
        areas[number] = class_curve(scored.truth[:, number], scored.probabilities[:, number], np.array([]), 2)
    return [
        {
            "class": number,
            "support": int(support[number]),
            "predicted": int(predicted[number]),
            "precision": _ratio(hits[number], predicted[number]),
            "recall": _ratio(hits[number], support[number]),
            "specificity": _ratio(others[number] - predicted[number] + hits[number], others[number]),
            "f1": float(f1),
            "auc": areas[number]["auc"],
            "average_precision": areas[number]["average_precision"],
            "threshold": None if scored.task.single_label else scored.threshold_of(number),
        }
        for number, f1 in enumerate(f1_by_class(scored.truth, scored.predicted))
    ]


def _ratio(count: int, total: int) -> float | None:
    return float(count / total) if total else None


def _mean(values: Any) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _calibration(scored: Scored) -> dict[str, Any]:
    """Calibrate the probability of the positive class in a binary task, of every label in a multi-label one, of the
    likeliest class in a multiclass one."""
    if scored.task.softmax:
        likeliest = scored.probabilities.argmax(1)
        rows = np.arange(len(likeliest))
        return {"of": "predicted", **calibration(scored.probabilities[rows, likeliest], scored.truth[rows, likeliest])}
    shown = scored.scored_classes
    values, truth = scored.probabilities[:, shown].reshape(-1), scored.truth[:, shown].reshape(-1)
    return {"of": "positive" if scored.task.single_label else "labels", **calibration(values, truth)}


def _summary(scored: Scored, by_class: list[dict[str, Any]], ece: float) -> dict[str, float | None]:
    """Return figures of all predictions: those of the positive class in a binary task, otherwise macro averages, which
    count an undefined precision or recall as 0, as `kit evaluate` does; of grades also quadratic kappa, and by how many
    grades a prediction is off."""
    rows = [by_class[number] for number in scored.scored_classes]
    averages = {key: float(np.mean([row[key] or 0.0 for row in rows])) for key in ("precision", "recall", "f1")}
    grades: dict[str, float | None] = {}
    if scored.task is ORDINAL:
        kappa = float(quadratic_kappa(scored.truth.T.astype(np.int64) @ scored.predicted.astype(np.int64)))
        distance = np.abs(scored.truth.argmax(1) - scored.predicted.argmax(1))
        grades = {"quadratic_kappa": kappa if np.isfinite(kappa) else None, "grades_off": float(distance.mean())}
    return {
        **grades,
        "accuracy": float(scored.right.mean()),
        **averages,
        "auc": _mean(row["auc"] for row in rows),
        "cross_entropy": float(scored.losses.mean()),
        "ece": ece,
    }


def _suspects(scored: Scored) -> dict[str, Any]:
    """Return how many labels are suspect, and the surest suspects."""
    found = find_suspects(scored.task, scored.truth, scored.probabilities)
    return {
        "count": len(found),
        "of": len(scored.ids) if scored.task.single_label else scored.truth.size,
        "shown": [
            {
                "id": str(scored.ids[row]),
                "class": class_,
                "seems": seems,
                "margin": margin,
                "labelled": bool(scored.truth[row, class_]),
            }
            for row, class_, seems, margin in found[:SUSPECTS]
        ],
    }


def _sample(scored: Scored, id_: str) -> dict[str, Any]:
    """Return what the page says of an image: true and predicted classes with their probabilities, or targets with
    their numbers; loss, fold."""
    row = scored.row_of[id_]
    if scored.task.has_classes:
        truth, predicted = (_named(scored, row, each[row]) for each in (scored.truth, scored.predicted))
    else:
        truth, predicted = ([*map(list, enumerate(each[row].tolist()))] for each in (scored.truth, scored.predicted))
    return {
        "truth": truth,
        "predicted": predicted,
        "loss": float(scored.losses[row]),
        "fold": int(scored.fold[row]),
    }


def _named(scored: Scored, row: int, chosen: np.ndarray) -> list[list[float]]:
    """Return numbers and probabilities of the `chosen` classes (K truth values) of a row, the likeliest first."""
    numbers = np.flatnonzero(chosen)
    values = scored.probabilities[row, numbers]
    return [[int(numbers[place]), float(values[place])] for place in np.argsort(-values, kind="stable")[:NAMED]]
