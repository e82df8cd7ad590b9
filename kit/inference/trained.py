"""The networks of a run, as they were trained."""

import numpy as np

from kit.config import TrainConfig
from kit.data.index import Index
from kit.data.store import Store
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.model.build import Model, build_model
from kit.model.checkpoint import Checkpoints, unpack_modules
from kit.run import Run
from kit.scoring.predictions import Predictions


def trained_folds(run: Run) -> list[int]:
    """The folds of a run that are trained to their end."""
    return [fold for fold in run.record["planned"] if (run.fold_dir(fold) / "result.json").is_file()]


def trained_fold(run: Run, fold: int) -> int:
    """The number of a fold, if it is trained."""
    if fold not in trained_folds(run):
        raise KitError(
            f"fold {fold} of run {run.id} is not trained: kit train --resume {run.id} --fold {fold}, "
            f"or --fold {' or '.join(map(str, trained_folds(run)))}"
        )
    return fold


def no_trained_fold(run: Run) -> KitError:
    """The error about a run whose networks are wanted and that has none."""
    if "blend" in run.record:
        names = ", ".join(member["name"] for member in run.record["blend"]["members"])
        return KitError(f"run {run.id} is a blend of {names}, which has no network of its own: name one of these")
    return KitError(f"run {run.id} has no trained fold: kit train --resume {run.id}")


def out_of_fold(run: Run, fold: int | None = None) -> Predictions:
    """The out-of-fold predictions of all trained folds of a run, finished or not, or those of one fold."""
    folds = trained_folds(run)
    if not folds:
        raise no_trained_fold(run)
    if fold is not None:
        folds = [trained_fold(run, fold)]
    parts = [Predictions.load(run.reading(f"fold-{number}/oof.npz")) for number in folds]
    ids, values = (np.concatenate(several) for several in zip(*((p.ids, p.values) for p in parts), strict=True))
    return Predictions(ids, parts[0].classes, values)


def store_of_run(registry: Registry, run: Run) -> Store:
    """The data of a run's competition, read as the run read it; data of another origin is refused."""
    store = Store.of(registry, run.config.competition, run.config.dataset)
    if store.origin != run.record["origin"]:
        raise KitError(
            f"run {run.id} was trained on data of origin {run.record['origin']}, {store.root} now holds "
            f"{store.origin or 'nothing'}: bring that data back or start a new run"
        )
    return store


def index_of(store: Store, config: TrainConfig) -> Index:
    """The data's index, with the extra inputs that a configuration wants."""
    return store.index().with_inputs(config.inputs)


def load_fold(registry: Registry, store: Store, run: Run, index: Index, fold: int) -> Model:
    """The network of one fold with the weights that its configuration wants (`last` or `best`)."""
    config: TrainConfig = run.config
    if list(index.classes) != run.record["classes"]:
        raise KitError(f"the data's classes are not those of run {run.id}: train again on this data")
    model = build_model(config, registry, store.dataset, index, run.record["normalization"], pretrained=False)
    weights = Checkpoints(run.fold_dir(fold)).weights(config.checkpoint)
    unpack_modules(weights, model.network, model.loss)
    return model
