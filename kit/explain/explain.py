"""Explain a run's images: where the network that predicts each one looked, and for which class."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.index import Index
from kit.data.open_run import OpenRun
from kit.decision.answers import Answers
from kit.errors import KitError, nearest
from kit.explain import guided
from kit.explain.cam import METHODS as CAM_METHODS
from kit.explain.cam import Choose, at_size, cam_layer, raw_maps
from kit.explain.layers import Layer, chosen_layers, find_layers
from kit.inference.load import load_fold
from kit.model.build import Model
from kit.model.memory import AtOnce
from kit.pixels.batches import Batch, Loader
from kit.pixels.pack import Split
from kit.pixels.pack_sources import frame_of
from kit.pixels.sampler import ordered_plan
from kit.pixels.samples import samples_of
from kit.task import ORDINAL

SPLITS: tuple[Split, ...] = ("train", "test")
METHODS = (*CAM_METHODS, *guided.METHODS)
# (rows B of a split, their probabilities BxC) -> what is decided of each.
ByRows = Callable[[np.ndarray, np.ndarray], np.ndarray]
PIXELS = "pixels"  # what the map of a method without layers is called
EXPECTED = "expected grade"


@dataclass(frozen=True)
class Explained:
    """One image and where the network looked.

    Args:
        id: of the prediction; several images may share it.
        image: HxWx3 uint8, the competition's composite at the network's input size.
        maps: layer name -> HxW float32 in 0..1, at the same size.
        label: the true class or classes; empty for a test image.
        predicted: the run's answer (`kit.decision.answers`), by its decision rule if it has one.
        probability: of the explained class; else the expected grade, or the number of the explained target.
        explained: what the maps explain: a class, by its logit, `expected grade`, or a target.
        fold: of the network.
        is_class: whether a class is explained.
    """

    id: str
    image: np.ndarray
    maps: dict[str, np.ndarray]
    label: str
    predicted: str
    probability: float
    explained: str
    fold: int
    is_class: bool = True

    @property
    def shown(self) -> str:
        """What the maps explain, with its value, in words."""
        value = f", probability {self.probability:.2f}" if self.is_class else f" {self.probability:.4g}"
        return self.explained + value


def explain_run(
    opened: OpenRun,
    ids: Sequence[str],
    layers: Sequence[str] | None = None,
    method: str = "gradcam",
    of: str = "predicted",
    fold: int | None = None,
    *,
    console: Console,
) -> Iterator[Explained]:
    """Explain all samples of these ids, fold by fold, in the order of the ids within a fold.

    One batch is in memory at a time. A training id is explained by the fold that was not trained on it, a test id by
    the first trained fold, unless `fold` is given.

    Args:
        opened: a run with a trained fold.
        ids: training or test ids.
        layers: names; None: the last two sizes of map (`kit.explain.layers`).
        method: a name of `METHODS`.
        of: the class to explain: `predicted` (the run's answer), `true` or a class name. Of several labels the most
            probable counts. Of an ordinal task `predicted` is the expected grade, which decides the answer; of a
            regression it is the first target, and the name of any may be given.
        fold: explain all ids by this fold.
        console: for progress.

    Raises:
        KitError: an unknown id, layer, method, class or fold, or `true` for a test id or a regression.
    """
    if method not in METHODS:
        raise KitError(f"no method is called {method!r}: {nearest(method, METHODS)}")
    index = opened.index
    general = ("predicted", "true") if index.task.has_classes else ("predicted",)
    if of not in (*general, *index.classes):
        kind = "class" if index.task.has_classes else "target"
        known = f"{', '.join(general)} or a name"
        raise KitError(f"--class {of!r}: no {kind} is called that: give {known}; {nearest(of, index.classes)}")
    splits = _splits(opened, ids, fold)
    if of == "true" and any(split == "test" for _, split, _ in splits):
        raise KitError("a test id has no label to explain: give --class predicted or a class name")
    return _explain(opened, splits, layers, method, of, console)


def layers_of_run(opened: OpenRun) -> dict[str, Layer]:
    """Return the layers of a run's networks that can be explained."""
    model = load_fold(opened, opened.run.need_network()[0])
    return find_layers(model, opened.store.dataset.channels, len(opened.index.metadata), opened.config.size)


def _splits(opened: OpenRun, ids: Sequence[str], fold: int | None) -> list[tuple[int, Split, pd.DataFrame]]:
    """Return the rows of these ids, grouped by the fold that explains them and by their split of the index."""
    run, index = opened.run, opened.index
    trained, of_id = run.need_network(), opened.folds.fold_of
    place = {id_: n for n, id_ in enumerate(dict.fromkeys(ids))}
    splits: list[tuple[int, Split, pd.DataFrame]] = []
    for split in SPLITS:
        frame = frame_of(index, split)
        rows = frame[frame["id"].isin(place)]
        rows = rows.iloc[np.argsort(rows["id"].map(place), kind="stable")]
        own = rows["id"].map(of_id) if split == "train" else pd.Series(trained[0], rows.index)
        by_fold = own if fold is None else pd.Series(fold, rows.index)
        splits += [(run.trained_fold(int(number)), split, rows[by_fold == number]) for number in np.unique(by_fold)]
    known = {id_ for _, _, frame in splits for id_ in frame["id"]}
    if unknown := [id_ for id_ in place if id_ not in known]:
        raise KitError(f"no training or test image has the id {unknown[0]!r}: check --images, or drop it")
    return splits


def _explain(
    opened: OpenRun,
    splits: list[tuple[int, Split, pd.DataFrame]],
    names: Sequence[str] | None,
    method: str,
    of: str,
    console: Console,
) -> Iterator[Explained]:
    config, store, index = opened.config, opened.store, opened.index
    answers, at_once = Answers(opened), AtOnce(console)
    total = sum(len(frame) for _, _, frame in splits)
    of_split = {
        split: samples_of(store, index, split, config, console) for split in dict.fromkeys(p for _, p, _ in splits)
    }
    with console.progress(f"{method} of {opened.run.id}", total) as bar:
        for fold, split, frame in splits:
            model = load_fold(opened, fold)
            found = find_layers(model, store.dataset.channels, len(index.metadata), config.size)
            layers = _layers(model, found, method, names)
            for module in (model.network, model.loss):
                module.eval().requires_grad_(False)
            samples = of_split[split](frame)
            loader = Loader(samples, None, config.workers, model.runtime.device, model.normalize)
            targets = samples.targets if split == "train" else None
            answer = partial(_answered, answers, frame["id"], fold)
            columns_of = partial(_columns, index, of, targets, answer)
            work = partial(_maps_of_rows, model, layers, method, config.size, columns_of)
            plan = ordered_plan(np.arange(len(samples)), config.batch_size)
            for batch, (probabilities, columns, maps) in at_once.each(loader, plan, work):
                rows = batch.rows.numpy()
                answered = answer(rows, probabilities)
                for place, row in enumerate(rows.tolist()):
                    explained, value = _explained(index, probabilities[place], int(columns[place]))
                    yield Explained(
                        id=frame["id"].iat[row],
                        image=store.dataset.picture(samples.image(row)),
                        maps={name: values[place].copy() for name, values in maps.items()},
                        label="" if targets is None else index.task.label_text(index.classes, targets[row]),
                        predicted=_named(index, answered[place], probabilities[place]),
                        probability=value,
                        explained=explained,
                        fold=fold,
                        is_class=index.task.has_classes and explained is not EXPECTED,
                    )
                bar.advance(len(rows))


def _layers(model: Model, found: dict[str, Layer], method: str, names: Sequence[str] | None) -> list[Layer]:
    if method == guided.BACKPROP:
        if names is not None:
            raise KitError(f"{method} goes back to the pixels: drop --layers, or give --method {guided.GRADCAM}")
        return []
    return [cam_layer(model, found, names)] if method == "cam" else chosen_layers(found, names)


def _answered(answers: Answers, ids: pd.Series, fold: int, rows: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return answers.of(ids.iloc[rows].tolist(), fold, probabilities)


def _maps_of_rows(
    model: Model, layers: list[Layer], method: str, size: int, columns_of: ByRows, batch: Batch
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    return _maps(model, layers, method, batch, partial(columns_of, batch.rows.numpy()), size)


def _maps(
    model: Model, layers: list[Layer], method: str, batch: Batch, choose: Choose, size: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return probabilities BxC, the explained columns B, and the maps by name, BxSxS in 0..1."""
    if method == guided.BACKPROP:
        probabilities, columns, gradient = guided.guided_gradient(model, batch, choose)
        return probabilities, columns, {PIXELS: at_size(guided.strength(gradient), size).cpu().numpy()}
    inner = "gradcam" if method == guided.GRADCAM else method
    probabilities, columns, raw = raw_maps(model, layers, inner, batch, choose)
    maps = {name: at_size(values, size) for name, values in raw.items()}
    if method == guided.GRADCAM:
        fine = guided.strength(guided.guided_gradient(model, batch, lambda _: columns)[2])
        maps = {name: at_size(values * fine, size) for name, values in maps.items()}
    return probabilities, columns, {name: values.cpu().numpy() for name, values in maps.items()}


def _columns(
    index: Index,
    of: str,
    targets: np.ndarray | None,
    answer: ByRows,
    rows: np.ndarray,
    probabilities: np.ndarray,
) -> np.ndarray:
    """Return the column of `kit.explain.cam.scores` to explain for each image, from its probabilities and target."""
    if of not in ("predicted", "true"):
        return np.full(len(probabilities), index.classes.index(of))
    if of == "predicted" and (index.task is ORDINAL or not index.task.has_classes):
        return np.full(len(probabilities), len(index.classes) if index.task is ORDINAL else 0)
    hot = answer(rows, probabilities)
    if of == "true" and targets is not None:
        # Of several labels the most probable is explained, and without any label the most probable class.
        hot = index.task.one_hot(targets[rows], len(index.classes))
    chosen: np.ndarray = np.where(hot | ~hot.any(1, keepdims=True), probabilities, -1).argmax(1)
    return chosen


def _explained(index: Index, probabilities: np.ndarray, column: int) -> tuple[str, float]:
    """Name what a column of `kit.explain.cam.scores` is, with its value for one image's probabilities C."""
    if column == len(index.classes):
        return EXPECTED, float(ORDINAL.expected(probabilities[None])[0])
    return index.classes[column], float(probabilities[column])


def _named(index: Index, answered: np.ndarray, probabilities: np.ndarray) -> str:
    """Name the answered classes (C truth values), the likeliest first, or give the answered numbers."""
    if not index.task.has_classes:
        return index.task.label_text(index.classes, answered)
    order = np.argsort(-probabilities, kind="stable").tolist()
    return ", ".join(index.classes[number] for number in order if answered[number])
