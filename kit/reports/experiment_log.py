"""The experiment log: what each run was, took and scored, as a table."""

import re
from collections.abc import Sequence
from typing import Any

from kit.console import clean
from kit.run import Run
from kit.runs import of_each

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


def minutes_an_epoch(run: Run) -> float | None:
    """Return the minutes of training (without validation) per whole epoch, the mean over all folds so far."""
    seconds = list(run.epoch_seconds.values())
    return sum(seconds) / len(seconds) / 60 if seconds else None


def log_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the document of `kit log`: one record per run."""
    return [row for _, row in of_each(runs, _row)]


def _row(run: Run) -> dict[str, Any]:
    config = run.record["config"]
    keys = ("model", "size", "sizes", "batch_size", "accumulate", "lr_low", "lr", "note")
    return {
        "run": run.id,
        "created": run.record["created"],
        "origin": run.record["origin"],
        "folds": f"{len(run.results)}/{config.get('folds')}",
        **{key: config.get(key) for key in keys},
        "minutes_an_epoch": minutes_an_epoch(run),
        "score": run.score,
        "mean_over_folds": run.mean_over_folds,
        "leaderboard": run.record.get("leaderboard"),
        "state": run.state,
    }


def log_markdown(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of `log_rows` as a Markdown heading and table."""
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
    """Return `roc_auc 0.9712 (0.9690 to 0.9733)`, with the trained folds unless all are; empty without a score."""
    if score is None or score["value"] is None:
        return ""
    interval = f" ({score['low']:.4f} to {score['high']:.4f})" if score["low"] is not None else ""
    done, planned = folds.split("/")
    return f"{score['metric']} {score['value']:.4f}{interval}" + (f", {folds} folds" if done != planned else "")


def escape(text: str) -> str:
    """Escape text so that a cell of a Markdown table shows it literally, on one line."""
    text = re.sub(r"([\\`*\[\]<>|~&$])", r"\\\1", " ".join(clean(text).split()))
    # An underscore inside a word has no meaning, and model names are full of them.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
