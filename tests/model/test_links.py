"""Losses that need another number of logits than the task has outputs, and predict from them by a link of their own."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.loss_cases import INDEX
from kit import testing
from kit.config import validate
from kit.errors import KitError, PluginError
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.model.build import build_model
from kit.model.losses import loss_outputs, loss_terms, predicting_logits
from kit.model.network import Output
from kit.plugin import LossSpec, hookimpl


class Pairs(nn.Module):
    """A link from twice as many logits as classes: each class's logit is the difference of two."""

    def logits(self, output):
        halves = output.logits.chunk(2, 1)
        return halves[0] - halves[1]

    def forward(self, output, batch):
        return functional.cross_entropy(self.logits(output), batch.target)


class Unlinked(nn.Module):
    def forward(self, output, batch):
        return output.logits.mean()


class Narrow(Unlinked):
    def logits(self, output):
        return output.logits[:, :2]


def twice(index):
    return 2 * index.outputs


class Links:
    @hookimpl
    def kit_losses(self):
        return [
            LossSpec("pairs", lambda request: Pairs(), ("multiclass",), outputs=twice),
            LossSpec("other_pairs", lambda request: Pairs(), ("multiclass",), outputs=twice),
            LossSpec("unlinked", lambda request: Unlinked(), outputs=twice),
            LossSpec("narrow", lambda request: Narrow()),
            LossSpec("none", lambda request: Pairs(), outputs=lambda index: 0),
        ]


@pytest.fixture(scope="module")
def registry():
    plugins = load_plugins()
    plugins.add(Links(), "links", "test", "1")
    return Registry(plugins)


def model_of(registry, loss):
    config = validate({"competition": "x", "dataset": "x", "loss": loss, "model": "small_cnn", "size": 16})
    normalization = {"mean": [0.5] * 3, "std": [0.5] * 3}
    return build_model(config, registry, SimpleNamespace(channels=3), INDEX["multiclass"], normalization, False)


@pytest.mark.parametrize("loss", ["pairs", "0.7*pairs+0.3*other_pairs"])
def test_the_network_has_the_logits_that_the_loss_needs_and_the_task_its_outputs(registry, loss):
    model = model_of(registry, loss)
    images = torch.randn(3, 3, 16, 16)
    output = model.network.eval()(images, torch.zeros(3, 0))
    assert output.logits.shape == (3, 8)
    wanted = (output.logits[:, :4] - output.logits[:, 4:]).softmax(1)
    torch.testing.assert_close(model.probabilities(output), wanted)
    torch.testing.assert_close(model.copy().probabilities(output), wanted)


@pytest.mark.parametrize(
    ("loss", "kind", "message"),
    [
        ("pairs+0.5*cross_entropy", KitError, "loss pairs needs 8 outputs of the network and cross_entropy 4: .*loss="),
        ("unlinked", PluginError, "test_links.Unlinked has no method logits, which must return 2x4: correct it at"),
        ("narrow", PluginError, "test_links.Narrow returned the logits torch.float32 of 2x2, not 2x4: correct it at"),
        ("none", PluginError, "outputs of loss none .*returned 0, not a number of logits, 1 or more"),
    ],
)
def test_what_can_not_predict_is_refused_before_it_learns(registry, loss, kind, message):
    with pytest.raises(kind, match=message):
        model_of(registry, loss)


def test_without_a_word_a_loss_takes_the_outputs_of_its_task(registry):
    for task, number in (("binary", 1), ("multiclass", 4), ("multilabel", 4)):
        assert loss_outputs(loss_terms("focal", registry, task), INDEX[task]) == number
    output = Output(torch.zeros(2, 4), torch.zeros(2, 4))
    assert predicting_logits(nn.Identity(), output, 4) is output.logits


def test_a_link_conforms():
    testing.check_loss(LossSpec("pairs", lambda request: Pairs(), outputs=twice), INDEX["multiclass"])
