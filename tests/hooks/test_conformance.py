"""The conformance checks for plugin authors: the built-in plugins pass, and each broken promise is found."""

import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import kit_histopathology
import kit_losses
import kit_small_networks
from kit import testing
from kit.hooks.manager import load_plugins
from kit.model.network import Network, Output
from kit.plugin import Finding, LossSpec, ModelSpec, hookimpl
from kit_histopathology import miniature

DATASET, SUBMISSION = kit_histopathology.kit_datasets()[0], kit_histopathology.kit_submissions()[0]


@pytest.fixture(scope="module", autouse=True)
def few_patches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(miniature, "TRAIN", 10)
        patch.setattr(miniature, "TEST", 5)
        yield


@pytest.fixture(scope="module")
def index(tmp_path_factory, few_patches):
    return testing.check_dataset(DATASET, tmp_path_factory.mktemp("conformance"))


@pytest.mark.parametrize("plugin", [p.name for p in load_plugins().records if p.distribution == "competition-kit"])
def test_built_in_plugins_conform(plugin):
    records = [record for record in load_plugins().records if record.name == plugin]
    assert [record.error for record in records] == [None]
    testing.check_plugin(importlib.import_module(f"kit_{plugin.replace('-', '_')}"))


def test_built_in_specs_conform(index):
    testing.check_submission(SUBMISSION, index)
    for spec in kit_losses.kit_losses():
        if "binary" in spec.tasks:
            testing.check_loss(spec, index)
    testing.check_model(kit_small_networks.kit_models()[0], channels=(1, 6), size=32)


def test_a_plugin_that_names_what_is_not_there():
    competition = replace(kit_histopathology.kit_competitions()[0], name="x", slug="x", aliases=(), metric="roc_auk")
    module = SimpleNamespace(__name__="kit_x", kit_competitions=hookimpl(lambda: [competition]))
    with pytest.raises(Exception, match="did you mean roc_auc"):
        testing.check_plugin(module)
    module.kit_competitions = hookimpl(lambda: [replace(competition, name="histopathology")])
    with pytest.raises(AssertionError, match=r"competition-kit .* and kit_x under test"):
        testing.check_plugin(module)
    with pytest.raises(AssertionError, match="kit_modles"):
        testing.check_plugin(SimpleNamespace(__name__="kit_y", kit_modles=hookimpl(lambda: None)))


def _ignore_seed(root, seed):
    DATASET.miniature(root, 0)


def _shuffled(root):
    found = DATASET.index(root)
    return replace(found, train=found.train.sample(frac=1))


def _same_ids(root):
    found = DATASET.index(root)
    return replace(found, test=found.train.drop(columns="target"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"miniature": None}, "no miniature"),
        ({"miniature": _ignore_seed}, "same bytes for another seed"),
        ({"index": _shuffled}, "differs from call to call"),
        ({"index": _same_ids}, "in train and in test"),
        ({"channels": 4}, "not uint8 HxWx4"),
        ({"read": lambda files: DATASET.read(files).astype(np.float32)}, "returns float32"),
        ({"composite": lambda image: image[..., :2]}, "composite"),
    ],
)
def test_broken_datasets_are_found(tmp_path, change, message):
    with pytest.raises(AssertionError, match=message):
        testing.check_dataset(replace(DATASET, **change), tmp_path)


def _network(request, outputs=None):
    return Network(nn.Conv2d(request.channels, 4, 3), 4, outputs or request.outputs, request.head, request.metadata)


class _Tuple(nn.Module):
    def __init__(self, request):
        super().__init__()
        self.inner = _network(request)

    def forward(self, images, metadata):
        return tuple(self.inner(images, metadata))


class _Mixing(_Tuple):
    def forward(self, images, metadata):
        return self.inner(images - images.mean(0), metadata)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda request: _network(request, outputs=3), "logits"),
        (_Tuple, "returns tuple, not Output"),
        (_Mixing, "depend on its batch"),
        (lambda request: _network(request).requires_grad_(False), "no weight has a gradient"),
    ],
)
def test_broken_models_are_found(build, message):
    with pytest.raises(AssertionError, match=message):
        testing.check_model(ModelSpec("broken", build), size=16)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda output, batch: output.logits, "must be a scalar"),
        (lambda output, batch: output.logits.sum() * float("nan"), "nan"),
        (lambda output, batch: output.logits.sum() * 0, "no gradient"),
    ],
)
def test_broken_losses_are_found(index, loss, message):
    with pytest.raises(AssertionError, match=message):
        testing.check_loss(LossSpec("broken", lambda request: loss), index)


def test_a_margin_loss_with_its_own_classifier_conforms(index):
    class Margin(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.classifier = nn.Linear(width, 1)

        def logits(self, output: Output) -> torch.Tensor:
            return self.classifier(output.embedding)

        def forward(self, output, batch):
            return nn.functional.binary_cross_entropy_with_logits(self.logits(output), batch.target)

    testing.check_loss(LossSpec("margin", lambda request: Margin(request.embedding)), index)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"check": lambda path, root: []}, "passes a csv"),
        ({"check": lambda path, root: [Finding("error", "never good")]}, "refuses what write"),
        ({"write": lambda predictions, index, path: path.write_text(f"{path}\n")}, "different bytes"),
    ],
)
def test_broken_submissions_are_found(index, change, message):
    with pytest.raises(AssertionError, match=message):
        testing.check_submission(replace(SUBMISSION, **change), index)
