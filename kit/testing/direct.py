"""Checks for plugin authors' tests: does a plugin keep the contract that its specs state?

    from kit import testing
    import kit_leaves

    def test_plugin():
        testing.check_plugin(kit_leaves)

    def test_data(tmp_path):
        index = testing.check_dataset(kit_leaves.kit_datasets()[0], tmp_path)
        testing.check_submission(kit_leaves.kit_submissions()[0], index)
        testing.check_loss(kit_leaves.kit_losses()[0], index)

    def test_network():
        testing.check_model(kit_leaves.kit_models()[0])

Each raises `AssertionError` with the first broken promise. They do not check that a model learns well.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from kit.hooks.learning import LossRequest, LossSpec, ModelRequest, ModelSpec
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.hooks.specs import DatasetSpec, SubmissionSpec

if TYPE_CHECKING:
    import pandas as pd
    from torch.nn import Module

    from kit.data.index import Index


def check_plugin(module: ModuleType) -> Registry:
    """Check that hooks are valid, names are free, and each competition names existing things and valid values.

    Returns:
        The registry with the plugin in it, for further tests.
    """
    from kit.model.losses import loss_terms
    from kit.resolve import resolve

    plugins = load_plugins()
    if not plugins.manager.is_registered(module):
        plugins.add(module, module.__name__, f"{module.__name__} under test", "")
    registry = Registry(plugins)
    records, clashes = registry.problems()
    faults = [f"{record.distribution}: {record.error}" for record in records if record.error]
    _promise(not faults, f"broken: {'; '.join(faults)}")
    _promise(not clashes, "; ".join(map(str, clashes)))
    _check_lazy(module)
    for competition in module.kit_competitions() if hasattr(module, "kit_competitions") else []:
        registry.datasets.get(competition.dataset)
        registry.submissions.get(competition.submission)
        metric = registry.metrics.get(competition.metric)
        _promise(competition.task in metric.tasks, f"metric {metric.name} is not for {competition.task} tasks")
        for miniature in (False, True):
            config, _ = resolve(competition, miniature)
            registry.models.get(config.model)
            loss_terms(config.loss, registry, competition.task)
    return registry


def _check_lazy(module: ModuleType) -> None:
    """Check that what the plugin's specs name by `lazy` can be imported."""
    hooks = [name for name in dir(module) if name.startswith("kit_") and name != "kit_commands"]
    for spec in (spec for hook in hooks if callable(getattr(module, hook)) for spec in getattr(module, hook)()):
        for name, value in vars(spec).items():
            resolve = getattr(getattr(value, "func", value), "resolve", None)
            try:
                _ = resolve() if resolve is not None else None
            except (ImportError, AttributeError) as error:
                raise AssertionError(f"{type(spec).__name__} {spec.name}: {name} leads nowhere: {error}") from None


def check_dataset(spec: DatasetSpec, folder: Path) -> "Index":
    """Check that the miniature is deterministic, indexes, and reads as uint8 HxWxC; check files, targets and metadata.

    Args:
        spec: a dataset with `miniature`.
        folder: an empty folder; afterwards `folder/0` holds the miniature of seed 0.

    Returns:
        The index of that miniature.
    """
    if spec.miniature is None:
        raise AssertionError(f"dataset {spec.name} has no miniature(), without which it can't be tested")
    trees = []
    for name, seed in (("0", 0), ("again", 0), ("1", 1)):
        (folder / name).mkdir(parents=True)
        spec.miniature(folder / name, seed)
        trees.append(_contents(folder / name))
    _promise(trees[0] == trees[1], "miniature() writes different bytes for the same seed")
    _promise(trees[0] != trees[2], "miniature() writes the same bytes for another seed")
    index = spec.index(folder / "0")
    again = spec.index(folder / "0")
    for name, frame, second in (("train", index.train, again.train), ("test", index.test, again.test)):
        _promise(len(frame) > 0, f"index().{name} is empty")
        _promise(frame.equals(second), f"index().{name} differs from call to call")
        _check_frame(spec, index, frame, name)
    both = set(index.train["id"]) & set(index.test["id"])
    _promise(not both, f"{len(both)} ids are both in train and in test")
    _promise(min(index.class_counts().values()) > 0, f"a class has no training sample: {index.class_counts()}")
    return index


def check_model(
    spec: ModelSpec,
    name: str | None = None,
    channels: Sequence[int] = (1, 3, 6),
    outputs: Sequence[int] = (1, 5),
    size: int = 64,
) -> None:
    """Check logits BxK and embedding BxD for all numbers of channels, outputs and metadata; gradients; unmixed images.

    Args:
        spec: the model; it is built without pretrained weights.
        name: the full name of the network, if the model is a family (`timm/*`).
        channels: input channels to try.
        outputs: numbers of logits to try.
        size: side of the images, pixels.
    """
    import torch

    for count in channels:
        for logits in outputs:
            for metadata in (0, 2):
                request = ModelRequest(name or spec.name, count, logits, "linear", metadata, pretrained=False)
                torch.manual_seed(0)
                network = spec.build(request)
                torch.manual_seed(0)
                twin = spec.build(request).state_dict()
                weights = network.state_dict()
                same = all(torch.equal(weights[key], twin[key]) for key in weights)
                _promise(same, f"{request}: two builds from one seed differ")
                _check_network(network, request, size)
    for values in (spec.mean, spec.std):
        _promise(len(values) > 0, "mean or std is empty")
    _promise(min(spec.std) > 0, "std must be above 0")


def check_loss(spec: LossSpec, index: "Index", batch_size: int = 6) -> None:
    """Check for a finite scalar with a gradient, on random logits and embeddings and the first targets of the index."""
    import torch

    from kit.config import validate
    from kit.model.network import Output
    from kit.pixels.batches import Batch

    config = validate({"competition": "conformance", "dataset": "conformance", "loss": spec.name})
    torch.manual_seed(0)
    loss = spec.build(LossRequest(config, index, embedding=16))
    frame = index.train.head(batch_size)
    logits = index.outputs if spec.outputs is None else spec.outputs(index)
    output = Output(
        torch.randn(len(frame), logits, requires_grad=True), torch.randn(len(frame), 16, requires_grad=True)
    )
    batch = Batch(
        torch.zeros(len(frame), 3, 8, 8),
        torch.from_numpy(index.targets(frame).copy()),
        torch.from_numpy(index.metadata_of(frame)),
        torch.arange(len(frame)),
    )
    value = loss(output, batch)
    _promise(value.ndim == 0, f"the loss has shape {tuple(value.shape)}, it must be a scalar")
    _promise(bool(torch.isfinite(value)), f"the loss is {value}")
    value.backward()
    reached = [tensor.grad is not None and bool(tensor.grad.abs().sum() > 0) for tensor in output]
    _promise(any(reached), "the loss has no gradient towards the logits or the embedding")
    own = getattr(loss, "logits", None)
    if own is not None:
        _promise(own(output).shape == (len(frame), index.outputs), "logits(output) has the wrong shape")


def check_submission(spec: SubmissionSpec, index: "Index") -> None:
    """Check that `write` is deterministic and that `check` passes its csv and finds a missing row and a wrong header.

    The csv files go to the index's folder, which should be that of `check_dataset`.
    """
    import numpy as np

    from kit.scoring.predictions import Predictions

    ids = index.test["id"].drop_duplicates().to_numpy(np.str_)
    values = np.random.default_rng(0).random((len(ids), index.outputs), np.float32)
    predictions = Predictions(ids, index.output_names, values, task=index.task)
    if spec.postprocess is not None:
        predictions = spec.postprocess(predictions, index)
    path, second = index.root / "conformance.csv", index.root / "conformance-again.csv"
    spec.write(predictions, index, path)
    spec.write(predictions, index, second)
    _promise(path.read_bytes() == second.read_bytes(), "write() writes different bytes for the same predictions")
    errors = [finding.text for finding in spec.check(path, index.root) if finding.level == "error"]
    _promise(not errors, f"check() refuses what write() wrote: {errors[:1]}")
    header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for what, lines in (("without its last row", [header, *rows[:-1]]), ("with a wrong header", ["x\n", *rows])):
        second.write_text("".join(lines), encoding="utf-8")
        found = any(finding.level == "error" for finding in spec.check(second, index.root))
        _promise(found, f"check() passes a csv {what}")


def _check_frame(spec: DatasetSpec, index: "Index", frame: "pd.DataFrame", name: str) -> None:
    import numpy as np

    key = ["id", "sample"] if "sample" in frame else ["id"]
    _promise(not frame.duplicated(key).any(), f"index().{name} has duplicate ids (samples of one id need `sample`)")
    _promise(all(isinstance(value, str) for value in frame["id"]), f"index().{name}: ids must be text")
    for files in frame["files"]:
        _promise(isinstance(files, tuple) and bool(files), f"index().{name}: files {files!r} is not a tuple of paths")
        absent = [file for file in files if not (index.root / file).is_file()]
        _promise(not absent, f"index().{name} names files that do not exist: {absent[:1]}")
    _promise(bool(np.isfinite(index.metadata_of(frame)).all()), f"index().{name}: metadata must be finite numbers")
    if name == "train":
        targets = index.targets(frame)
        top = len(index.classes) - 1 if index.task.softmax else 1
        within = not index.task.has_classes or (targets.min() >= 0 and targets.max() <= top)
        _promise(within, "index().train: a target is out of range")
    for paths in index.paths(frame.head(3)):
        image, again = spec.read(paths), spec.read(paths)
        shape = f"read() returns {image.dtype} {image.shape}, not uint8 HxWx{spec.channels}"
        _promise(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == spec.channels, shape)
        _promise(np.array_equal(image, again), "read() returns different pixels for the same files")
        if spec.composite is not None:
            picture = spec.composite(image)
            _promise(picture.shape == (*image.shape[:2], 3), f"composite() returns {picture.shape}, not HxWx3")


def _check_network(network: "Module", request: ModelRequest, size: int) -> None:
    import torch

    from kit.model.network import Output

    images = torch.rand(3, request.channels, size, size)
    metadata = torch.rand(3, request.metadata)
    output = network.train()(images, metadata)
    _promise(isinstance(output, Output), f"{request}: forward() returns {type(output).__name__}, not Output")
    _promise(tuple(output.logits.shape) == (3, request.outputs), f"{request}: logits {tuple(output.logits.shape)}")
    _promise(output.embedding.ndim == 2 and len(output.embedding) == 3, f"{request}: the embedding is not BxD")
    _promise(output.logits.requires_grad, f"{request}: no weight has a gradient")
    output.logits.square().sum().backward()
    learns = any(weight.grad is not None and weight.grad.any() for weight in network.parameters())
    _promise(learns, f"{request}: no weight has a gradient")
    network.eval()
    with torch.no_grad():
        alone, together = network(images[:1], metadata[:1]).logits, network(images, metadata).logits[:1]
    close = torch.allclose(alone, together, rtol=1e-3, atol=1e-4)
    _promise(close, f"{request}: in eval mode an image's logits depend on its batch")


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _promise(kept: bool, text: str) -> None:
    if not kept:
        raise AssertionError(text)
