"""The images of a run explained: where the network looked that must answer for each, and for which class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.folds import folds_of_run
from kit.data.index import Index, label_text
from kit.data.store import Store
from kit.errors import KitError, nearest
from kit.explain.cam import METHODS, at_size, cam_layer, raw_maps
from kit.explain.layers import Layer, chosen_layers, find_layers
from kit.hooks.registry import Registry
from kit.inference.trained import index_of, load_fold, no_trained_fold, store_of_run, trained_fold, trained_folds
from kit.pixels.batches import Loader, ordered_plan
from kit.pixels.pack import Part, frame_of
from kit.pixels.samples import samples_of
from kit.run import Run
from kit.scoring.predictions import decide

PARTS: tuple[Part, ...] = ("train", "test")
CUT = 0.5  # from which probability on a label is given
WEIGHT = 0.5  # of the map's colours in an overlay


@dataclass(frozen=True)
class Explained:
    """One image and where the network looked.

    Args:
        id: what is predicted; several images may share it.
        image: HxWx3 uint8, the competition's composite at the network's input size.
        maps: layer name -> HxW float32 in 0..1, at that size too.
        label: the true class, or classes; empty for a test image.
        predicted: the likeliest class; of a multilabel task all classes from 0.5 on, or the likeliest one.
        probability: of the explained class.
        explained: the class of whose logit these are the maps.
        fold: whose network it is.
    """

    id: str
    image: np.ndarray
    maps: dict[str, np.ndarray]
    label: str
    predicted: str
    probability: float
    explained: str
    fold: int


def explain_run(
    registry: Registry,
    run: Run,
    ids: Sequence[str],
    layers: Sequence[str] | None = None,
    method: str = "gradcam",
    of: str = "predicted",
    fold: int | None = None,
    *,
    console: Console,
) -> Iterator[Explained]:
    """Explain all samples of these ids, fold by fold, and within a fold in the order of the ids.

    One batch is in memory at a time. A training id is explained by the fold that has not learned from it, a test id by
    the first trained one, unless a fold is named.

    Args:
        registry: where the network's builder is found.
        run: with a trained fold.
        ids: training or test ids.
        layers: names; None: the last two sizes of map (`kit.explain.layers`).
        method: a name of `kit.explain.cam.METHODS`.
        of: which class is explained: `predicted`, `true` or a class's name. Of several labels the likeliest counts.
        fold: explains all ids.
        console: for progress.

    Raises:
        KitError: an id, layer, method, class or fold that there is not, or `true` for a test id.
    """
    if method not in METHODS:
        raise KitError(f"no method is called {method!r}: {nearest(method, METHODS)}")
    store = store_of_run(registry, run)
    index = index_of(store, run.config)
    if of not in ("predicted", "true", *index.classes):
        raise KitError(f"no class is called {of!r}: give predicted, true or a name; {nearest(of, index.classes)}")
    parts = _parts(run, index, ids, fold)
    if of == "true" and any(part == "test" for _, part, _ in parts):
        raise KitError("a test id has no label that could be explained: --class predicted or a class's name")
    return _explain(registry, store, run, index, parts, layers, method, of, console)


def layers_of_run(registry: Registry, run: Run) -> dict[str, Layer]:
    """The layers of a run's networks that can be explained."""
    folds = trained_folds(run)
    if not folds:
        raise no_trained_fold(run)
    store = store_of_run(registry, run)
    index = index_of(store, run.config)
    model = load_fold(registry, store, run, index, folds[0])
    return find_layers(model, store.dataset.channels, len(index.extras), run.config.size)


def overlay(image: np.ndarray, map: np.ndarray) -> np.ndarray:
    """A map's colours over its image: blue is cold, red is hot.

    Args:
        image: HxWx3 uint8.
        map: HxW in 0..1.

    Returns:
        HxWx3 uint8, RGB.
    """
    return cv2.addWeighted(image, 1 - WEIGHT, heat(map), WEIGHT, 0)


def heat(map: np.ndarray) -> np.ndarray:
    """The colours of a map (HxW in 0..1) alone: HxWx3 uint8, RGB, from blue over green to red."""
    levels = np.rint(np.clip(map, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)


def _parts(run: Run, index: Index, ids: Sequence[str], fold: int | None) -> list[tuple[int, Part, pd.DataFrame]]:
    """The rows of these ids, by the fold that explains them and the part of the index in which they stand."""
    trained = trained_folds(run)
    if not trained:
        raise no_trained_fold(run)
    of_id, place = folds_of_run(run).table.set_index("id")["fold"], {id_: n for n, id_ in enumerate(dict.fromkeys(ids))}
    parts: list[tuple[int, Part, pd.DataFrame]] = []
    for part in PARTS:
        frame = frame_of(index, part)
        rows = frame[frame["id"].isin(place)]
        rows = rows.iloc[np.argsort(rows["id"].map(place), kind="stable")]
        own = rows["id"].map(of_id) if part == "train" else pd.Series(trained[0], rows.index)
        judge = own if fold is None else pd.Series(fold, rows.index)
        parts += [(trained_fold(run, int(number)), part, rows[judge == number]) for number in np.unique(judge)]
    known = {id_ for _, _, frame in parts for id_ in frame["id"]}
    if unknown := [id_ for id_ in place if id_ not in known]:
        raise KitError(f"no training or test image has the id {unknown[0]!r}: check --images, or leave it out")
    return parts


def _explain(
    registry: Registry,
    store: Store,
    run: Run,
    index: Index,
    parts: list[tuple[int, Part, pd.DataFrame]],
    names: Sequence[str] | None,
    method: str,
    of: str,
    console: Console,
) -> Iterator[Explained]:
    config, total = run.config, sum(len(frame) for _, _, frame in parts)
    of_part = {part: samples_of(store, index, part, config, console) for part in dict.fromkeys(p for _, p, _ in parts)}
    with console.progress(f"{method} of {run.id}", total) as bar:
        for fold, part, frame in parts:
            model = load_fold(registry, store, run, index, fold)
            found = find_layers(model, store.dataset.channels, len(index.extras), config.size)
            layers = [cam_layer(model, found, names)] if method == "cam" else chosen_layers(found, names)
            for module in (model.network, model.loss):
                module.eval().requires_grad_(False)
            samples = of_part[part](frame)
            loader = Loader(samples, None, config.workers, model.runtime.device, model.normalize)
            for batch in loader.batches(ordered_plan(np.arange(len(samples)), config.batch_size)):
                rows = batch.rows.numpy()
                targets = samples.targets[rows] if part == "train" else None
                choose = partial(_classes, index, of, targets)
                shares, classes, raw = raw_maps(model, layers, method, batch, choose)
                maps = {name: at_size(values, config.size).cpu().numpy() for name, values in raw.items()}
                for place, row in enumerate(rows.tolist()):
                    yield Explained(
                        id=frame["id"].iat[row],
                        image=store.dataset.picture(samples.image(row)),
                        maps={name: values[place].copy() for name, values in maps.items()},
                        label="" if targets is None else label_text(index.task, index.classes, targets[place]),
                        predicted=_predicted(index, shares[place]),
                        probability=float(shares[place, classes[place]]),
                        explained=index.classes[classes[place]],
                        fold=fold,
                    )
                bar.advance(len(rows))


def _classes(index: Index, of: str, targets: np.ndarray | None, shares: np.ndarray) -> np.ndarray:
    """The number of the class that is explained of each image, from its probabilities BxC and its target."""
    if of == "true" and targets is not None:
        if index.task != "multilabel":
            return targets.reshape(-1).astype(np.int64)
        # Without any label the likeliest class counts.
        shares = np.where((targets > 0) | ~(targets > 0).any(1, keepdims=True), shares, -1)
    if of in ("predicted", "true"):
        return shares.argmax(1)
    return np.full(len(shares), index.classes.index(of))


def _predicted(index: Index, shares: np.ndarray) -> str:
    if index.task != "multilabel":
        return index.classes[int(shares.argmax())]
    given = decide(shares[None], np.full(len(shares), CUT))[0]
    return ", ".join(index.classes[number] for number in np.argsort(-shares, kind="stable") if given[number])
