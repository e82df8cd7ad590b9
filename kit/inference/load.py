"""Load the network of a trained fold, as it was saved."""

from kit.data.open_run import OpenRun
from kit.model.build import Model, build_model, compile_calls
from kit.model.checkpoint import Checkpoints, unpack_modules


def load_fold(opened: OpenRun, fold: int) -> Model:
    """Build the network of one fold with the weights that the configuration selects (`last` or `best`)."""
    config, run = opened.config, opened.run
    model = build_model(
        config, opened.registry, opened.store.dataset, opened.index, run.record["normalization"], pretrained=False
    )
    weights = Checkpoints(run.fold_dir(fold)).weights(config.checkpoint)
    unpack_modules(weights, model.network, model.loss)
    if config.compile:
        compile_calls(model.network, model.runtime.device)
    return model
