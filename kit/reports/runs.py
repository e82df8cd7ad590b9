"""The record of runs: what tells them apart, and the experiment log."""

import csv
import re
from collections.abc import Sequence
from typing import Any

from kit.config import TrainConfig
from kit.console import jsonable
from kit.files import read_json
from kit.run import Run

LOG_COLUMNS = (
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
)


def fold_results(run: Run) -> dict[int, dict[str, Any]]:
    """What each finished fold ended with, by its number."""
    paths = {int(path.parent.name.removeprefix("fold-")): path for path in run.path.glob("fold-*/result.json")}
    return {fold: read_json(paths[fold]) for fold in sorted(paths)}


def minutes_an_epoch(run: Run) -> float | None:
    """Minutes of training (without validation) a whole epoch, the mean over all folds so far."""
    seconds: list[float] = []
    for path in run.path.glob("fold-*/history.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        # Seconds count from the start of the epoch, so the row at its end has them all.
        seconds += {row["epoch"]: float(row["seconds"]) for row in rows if float(row["epoch"]).is_integer()}.values()
    return sum(seconds) / len(seconds) / 60 if seconds else None


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """The document of `kit runs --compare`: keys of the configuration that differ, and scores by fold and in all.

    Values stand in the order of `runs`; None where a run has none. `comparable` is true when competition, metric and
    folds are the same, so that a fold's score means the same in each; the scores in all compare only where
    `same_folds_trained` too. `common` is the mean over the folds that all runs have trained.
    """
    # A key that a run's kit did not know yet has today's default, as it has when that run is resumed.
    defaults = {name: jsonable(field.default) for name, field in TrainConfig.model_fields.items()}
    configs = [{**defaults, **run.record["config"]} for run in runs]
    results = [fold_results(run) for run in runs]
    scores = [run.record.get("score") for run in runs]
    metrics = {result["metric"] for found in results for result in found.values()}
    differences = []
    if len({config["competition"] for config in configs}) > 1:
        differences.append("competition")
    if len(metrics) > 1:
        differences.append("metric")
    if len({run.record["folds"]["digest"] for run in runs}) > 1:
        differences.append("folds")
    common = set.intersection(*(set(found) for found in results)) if not differences else set()
    trained = sorted(set().union(*results))
    return {
        "runs": [run.id for run in runs],
        "config": {
            key: [config.get(key) for config in configs]
            for key in dict.fromkeys(key for config in configs for key in config)
            if any(config.get(key) != configs[0].get(key) for config in configs)
        },
        "digests": [run.record["folds"]["digest"] for run in runs],
        "comparable": not differences,
        "differ_in": differences,
        "same_folds_trained": len({tuple(found) for found in results}) == 1,
        "metric": metrics.pop() if len(metrics) == 1 else None,
        "folds": {fold: [found[fold]["score"] if fold in found else None for found in results] for fold in trained},
        "common": {"folds": sorted(common), "scores": [_mean(found, common) for found in results]},
        "score": [score and {key: score[key] for key in ("metric", "value", "low", "high", "ids")} for score in scores],
    }


def _mean(results: dict[int, dict[str, Any]], folds: set[int]) -> float | None:
    values = [results[fold]["score"] for fold in folds]
    return sum(values) / len(values) if values and None not in values else None


def log_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The document of `kit log`: one record a run."""
    rows = []
    for run in runs:
        config = run.record["config"]
        rows.append(
            {
                "run": run.id,
                "created": run.record["created"],
                "origin": run.record["origin"],
                "folds": f"{len(fold_results(run))}/{config['folds']}",
                **{
                    key: config.get(key)
                    for key in ("model", "size", "sizes", "batch_size", "accumulate", "lr_low", "lr", "note")
                },
                "minutes_an_epoch": minutes_an_epoch(run),
                "score": run.score,
                "leaderboard": run.record.get("leaderboard"),
                "state": run.state,
            }
        )
    return rows


def log_markdown(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """The rows of `log_rows` as a heading and a table."""
    lines = [f"# {escape(title)}: experiment log", "", "| " + " | ".join(LOG_COLUMNS) + " |"]
    lines.append("|" + " --- |" * len(LOG_COLUMNS))
    lines += ["| " + " | ".join(escape(cell) for cell in _cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    sizes, accumulate = row["sizes"] or [row["size"]], row["accumulate"] or 1
    minutes = row["minutes_an_epoch"]
    board = row["leaderboard"] or {}
    return [
        row["run"],
        row["created"][:16].replace("T", " "),
        row["origin"],
        row["model"],
        ", ".join(str(size) for size in sizes),
        f"{row['batch_size']}" + (f" x {accumulate}" if accumulate > 1 else ""),
        (f"{row['lr_low']:g} to " if row["lr_low"] is not None else "") + f"{row['lr']:g}",
        "" if minutes is None else f"{minutes:.2g}" if minutes < 10 else f"{minutes:.0f}",
        score_text(row["score"], row["folds"]),
        ", ".join(
            f"{name} {board[name]:.5g}" for name in ("public", "private", "official") if board.get(name) is not None
        ),
        row["note"] or "",
        row["state"],
    ]


def score_text(score: dict[str, Any] | None, folds: str) -> str:
    """`roc_auc 0.9712 (0.9690 to 0.9733)`, with the folds it is of when not all are trained; empty without a score."""
    if score is None or score["value"] is None:
        return ""
    interval = f" ({score['low']:.4f} to {score['high']:.4f})" if score["low"] is not None else ""
    done, planned = folds.split("/")
    return f"{score['metric']} {score['value']:.4f}{interval}" + (f", {folds} folds" if done != planned else "")


def escape(text: str) -> str:
    """Text that a cell of a Markdown table shows letter by letter, on one line."""
    text = re.sub(r"([\\`*\[\]<>|~&$])", r"\\\1", " ".join(text.split()))
    # An underscore inside a word has no meaning, and model names are full of them.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
