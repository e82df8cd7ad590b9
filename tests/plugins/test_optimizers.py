"""Optimisers through their hook: the built-in ones against torch, those of strangers checked, saved and resumed."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from kit.config import validate
from kit.errors import KitError, PluginError
from kit.hooks import registry as registries
from kit.hooks.hookspecs import hookimpl
from kit.hooks.learning import OptimizerSpec
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.model.checkpoint import pack_optimizer, settings_of, unpack_optimizer
from kit.training.optim import make_optimizer

NAMES = [spec.name for spec in Registry().optimizers]


@pytest.fixture
def with_own():
    """Let a stranger's optimiser be installed, under the name `own`."""
    before = registries.shared()

    def install(build) -> None:
        plugins = load_plugins()
        module = SimpleNamespace(kit_optimizers=hookimpl(lambda: [OptimizerSpec("own", build)]))
        plugins.add(module, "own", "kit-own", "1")
        registries.share(Registry(plugins))

    yield install
    registries._shared.set(before)


def config(**values):
    return validate({"competition": "c", "dataset": "d", "loss": "bce", "optimizer": "own", **values})


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, first: int, count: int) -> None:
    for step in range(first, first + count):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / (1 + step)
        optimizer.zero_grad()
        images = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        net(images).square().sum().backward()
        optimizer.step()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("nadam", torch.optim.NAdam, {"decoupled_weight_decay": True}),
        ("radam", torch.optim.RAdam, {"decoupled_weight_decay": True}),
        ("rmsprop", torch.optim.RMSprop, {"momentum": 0.8}),
    ],
)
def test_they_are_those_of_torch(name, kind, options):
    ours, theirs = net(), net()
    mine = make_optimizer(config(optimizer=name, lr=0.01, weight_decay=0.1, momentum=0.8), ours, nn.Identity())
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim <= 1], "weight_decay": 0},
    ]
    steps(ours, mine, 0, 6)
    steps(theirs, kind(groups, lr=0.01, foreach=False, **options), 0, 6)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


class Counting(torch.optim.Optimizer):
    """A stranger's optimiser: Python numbers per parameter, a mask, None, and numbers of its groups that change."""

    def __init__(self, groups, lr: float) -> None:
        super().__init__(groups, {"lr": lr, "k": 0, "d": 1e-3, "best": None})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] += 1
            group["d"] = group["d"] * 1.1 + 1e-9
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(step=0, scale=1.0, last=None, mask=p.grad > 0)
                state["step"] += 1
                state["scale"] = state["scale"] * 0.9 + 1e-12
                assert isinstance(state["step"], int)
                assert isinstance(state["scale"], float)
                p -= group["lr"] * group["scale"] * state["scale"] * p.grad * (1 + state["mask"]) * (1 + group["d"])


def counting(request):
    return Counting(request.groups, request.lr)


@pytest.mark.parametrize("name", [*NAMES, "own"])
def test_a_run_that_resumes_ends_as_one_that_was_never_stopped(name, with_own):
    with_own(counting)
    settings = config(optimizer=name, lr="1e-4..1e-2")
    whole = net()
    steps(whole, make_optimizer(settings, whole, nn.Identity()), 0, 7)
    stopped = net()
    optimizer = make_optimizer(settings, stopped, nn.Identity())
    first = settings_of(optimizer)
    steps(stopped, optimizer, 0, 3)
    tensors = load(save({key: value.contiguous() for key, value in pack_optimizer(optimizer, first).items()}))
    if name != "own":  # as ever: a checkpoint of a built-in optimiser has its tensors alone
        assert not any(key.split(".")[1] in ("number", "group") for key in tensors)
    again = make_optimizer(settings, stopped, nn.Identity())
    unpack_optimizer(tensors, again)
    steps(stopped, again, 3, 4)
    for ours, theirs in zip(stopped.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda request: torch.optim.SGD([p for g in request.groups for p in g["params"]], request.lr),
            r"build of optimizer own \(plugin own of kit-own\) drops the scale of its groups",
        ),
        (lambda request: torch.optim.SGD(request.groups[:1], request.lr), "leaves out 2 of 4 parameters: hand on"),
        (lambda request: None, "build of optimizer own .* returned None, not a torch.optim.Optimizer"),
        (lambda request: torch.optim.SGD(request.groups, lr=-1), "build of optimizer own .* failed at .*ValueError"),
    ],
)
def test_one_that_goes_wrong_is_named_with_its_plugin(build, said, with_own):
    with_own(build)
    with pytest.raises(PluginError, match=said):
        make_optimizer(config(), net(), nn.Identity())


def test_what_a_checkpoint_can_not_hold_is_named(with_own):
    class Listing(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.state[self.param_groups[0]["params"][0]]["seen"] = [1, 2]

    with_own(lambda request: Listing(request.groups, request.lr))
    own = net()
    optimizer = make_optimizer(config(), own, nn.Identity())
    steps(own, optimizer, 0, 1)
    with pytest.raises(PluginError, match=r"the optimiser .*Listing keeps list under 'seen'"):
        pack_optimizer(optimizer, settings_of(optimizer))


def test_an_unknown_one_is_refused_with_the_nearest():
    with pytest.raises(KitError, match="no optimiser is called 'adamv': did you mean adam"):
        make_optimizer(config(optimizer="adamv"), net(), nn.Identity())
