"""How a package is used: with every command that applies to what it provides."""

import http.server
import importlib.util
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers import ROOT

EXAMPLES = ROOT / "examples"
TINY = ("--folds", "2", "--epochs", "2", "--size", "32", "--batch-size", "8")
SMALL = ("--model", "small_cnn", "--no-pretrained")
# Runs `kit WORDS --json` and returns its document.
Kit = Callable[..., Any]


def example_names() -> list[str]:
    return sorted(path.name for path in EXAMPLES.iterdir() if (path / "pyproject.toml").is_file())


def module_of(folder: Path) -> Any:
    """The module of a package, imported from its file."""
    (path,) = folder.glob("kit_*.py")
    spec = importlib.util.spec_from_file_location(f"used_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def use(kit: Kit, module: Any, folder: Path) -> None:
    """Use all that an installed package provides.

    Args:
        kit: runs it.
        module: of the package.
        folder: an empty one.
    """
    for competition in getattr(module, "kit_competitions", list)():
        use_competition(kit, competition, folder)
    words = trained_with(module)
    if words:
        kit("download", "histo", "--miniature")
        kit("train", "histo", *TINY, *SMALL, *words)
        after_training(kit, "histo")


def trained_with(module: Any) -> list[str]:
    """The options of `kit train` that choose what a module provides; the last of a model counts."""
    words = []
    for hook, option in (
        ("kit_models", "--model {name}"),
        ("kit_losses", "--loss {name}"),
        ("kit_heads", "--set head={name}"),
        ("kit_optimizers", "--set optimizer={name}"),
        ("kit_augmentations", "--set steps={name}={high}"),
        ("kit_trackers", "--set trackers={name}"),
    ):
        for spec in getattr(module, hook, list)():
            words += option.format(name=spec.name, high=getattr(spec, "high", "")).split(" ")
    return words


def use_competition(kit: Kit, competition: Any, folder: Path) -> None:
    """The whole line, from download to a checked csv."""
    name = competition.name
    draw = DRAWN.get(name)
    kit("download", name, *(["--from", draw(folder)] if draw is not None else ["--miniature"]))
    assert kit("check", name)["ok"]
    kit("info", name)
    kit("explore", name)
    kit("folds", name, "--folds", "2")
    kit("pack", name, "--size", "32")
    kit("train", name, *TINY, *SMALL)
    if competition.task in ("ordinal", "multilabel"):
        kit("thresholds")
    after_training(kit, name)


def after_training(kit: Kit, name: str) -> None:
    kit("evaluate")
    kit("report")
    kit("gradcam", "--worst", "2")
    kit("predict")
    assert kit("submit", name, "--dry-run")["valid"]


def draw_cactus(folder: Path) -> Path:
    """The archive as it arrives: two tables, and the images in archives of their own."""
    random = np.random.default_rng(0)
    whole = folder / "aerial-cactus-identification.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        for split, count, table in (("train", 40, "train"), ("test", 12, "sample_submission")):
            labels = random.integers(0, 2, count)
            with zipfile.ZipFile(folder / f"{split}.zip", "w") as inner:
                for number, label in enumerate(labels, first := 1000 * (split == "test")):
                    pixels = random.normal(90, 20, (32, 32, 3))
                    pixels[8:24, 14:18] += 80 * label
                    path = folder / "image.jpg"
                    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
                    inner.write(path, f"{split}/{number:032x}.jpg")
            archive.write(folder / f"{split}.zip", f"{split}.zip")
            shown = labels if split == "train" else [0.5] * count
            rows = [f"{number:032x}.jpg,{label}" for number, label in enumerate(shown, first)]
            archive.writestr(f"{table}.csv", "\n".join(["id,has_cactus", *rows]) + "\n")
    return whole


# Competitions without a miniature: what their archive holds.
DRAWN = {"cactus": draw_cactus}


@contextmanager
def mlflow_double() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """A server on this machine that answers as MLflow's REST interface does; yield its address and what it got."""
    got: list[tuple[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            runs = sum(path.endswith("runs/create") for path, _ in got)
            answer = {"run": {"info": {"run_id": f"run{runs}"}}} if self.path.endswith("runs/create") else {}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
