"""Build the network of a configuration, with its loss and the normalisation of its input."""

import contextlib
import functools
import random
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from kit.config import TrainConfig
from kit.console import Console
from kit.data.index import Index
from kit.errors import KitError, PluginError, too_little_memory
from kit.hooks.foreign import MEND, place_in
from kit.hooks.learning import LossRequest, ModelRequest, ModelSpec
from kit.hooks.leash import place_of, reason
from kit.hooks.registry import Registry
from kit.hooks.returns import shown
from kit.hooks.specs import DatasetSpec
from kit.model import distributed
from kit.model.device import Runtime
from kit.model.losses import build_loss, loss_outputs, loss_terms, predicting_logits
from kit.model.network import KEYS, HeadName, HeadOptions, Network, Output
from kit.model.targets import ScaledTargets, check_targets
from kit.pixels.batches import Normalize
from kit.pixels.statistics import channel_statistics
from kit.record import Normalization
from kit.task import Task


@dataclass(frozen=True)
class Model:
    """A network on its device, its loss (which may carry the classifier) and the normalisation of its input.

    `outputs` is the task's number of outputs K; None: as many as the network has logits.
    """

    network: nn.Module
    loss: nn.Module
    normalize: Normalize
    runtime: Runtime
    task: Task
    outputs: int | None = None

    def copy(self) -> "Model":
        """Return a model with the same weights that does not learn."""
        network, loss = deepcopy(self.network), deepcopy(self.loss)
        return replace(self, network=network.requires_grad_(False), loss=loss.requires_grad_(False))

    def logits(self, output: Output) -> Tensor:
        """Return the logits BxK to predict from: the loss's own if it has any, otherwise the network's."""
        return predicting_logits(self.loss, output, self.outputs).float()

    def probabilities(self, output: Output) -> Tensor:
        """Return the probabilities of an output, BxK."""
        return self.task.probabilities(self.logits(output))


def seed_everything(*seed: int) -> None:
    """Seed torch, numpy and random from a tuple of numbers such as (seed, fold)."""
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


def normalization_of(
    config: TrainConfig, registry: Registry, dataset: DatasetSpec, index: Index, console: Console
) -> Normalization:
    """Return mean and standard deviation per channel: as configured, measured (`data`), or else the network's own.

    `data` measures them on the training images. The network's own are taken channel by channel, repeated where the
    data has more channels than the network knows.
    """
    spec, channels = registry.models.get(config.model), dataset.channels
    means, stds = spec.statistics(config.model) if spec.statistics is not None else (spec.mean, spec.std)
    wanted = (("mean", config.mean, means), ("std", config.std, stds))
    for name, configured, _ in wanted:
        if isinstance(configured, tuple) and len(configured) != channels:
            raise KitError(
                f"{name} has {len(configured)} numbers, the data has {channels} channels: --set {name}=[...]"
            )
    measured = channel_statistics(dataset, index, console) if "data" in (config.mean, config.std) else ([], [])
    mean, std = (
        found if configured == "data" else list(configured or [own[i % len(own)] for i in range(channels)])
        for (_, configured, own), found in zip(wanted, measured, strict=True)
    )
    return {"mean": mean, "std": std}


def request_of(
    config: TrainConfig, registry: Registry, channels: int, outputs: int, metadata: int, pretrained: bool
) -> ModelRequest:
    """Return the request for a configuration's network; raise `KitError` for an unknown head or what it can't have."""
    options = HeadOptions(**{option: getattr(config, key) for option, key in KEYS.items()})
    head = HeadName(registry.heads.get(config.head), options)
    return ModelRequest(config.model, channels, outputs, head, metadata, pretrained)


def build_network(spec: ModelSpec, request: ModelRequest) -> nn.Module:
    """Build the network of a request; raise `KitError` if its plugin leaves the options of the head out."""
    network = spec.build(request)
    wanted = request.head.options if isinstance(request.head, HeadName) else HeadOptions()
    if getattr(network, "head_options", HeadOptions()) != wanted:
        raise KitError(
            f"{request.name} has a head of its own: drop head_dropout, head_batch_norm and two_units, "
            "or choose another --model"
        )
    return network


def build_model(
    config: TrainConfig,
    registry: Registry,
    dataset: DatasetSpec,
    index: Index,
    normalization: Normalization,
    pretrained: bool,
    runtime: Runtime | None = None,
) -> Model:
    """Build a new network and loss for one fold; by default on the device that the configuration chooses."""
    check_targets(config, index)
    terms = loss_terms(config.loss, registry, index.task.name)
    outputs = loss_outputs(terms, index)
    request = request_of(config, registry, dataset.channels, outputs, len(index.metadata), pretrained)
    runtime = runtime or Runtime.choose(config.amp)
    network = build_network(registry.models.get(config.model), request)
    memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
    network = network.to(runtime.device, memory_format=memory_format)  # type: ignore[call-overload]
    *_, output = (_probe(network, side, request, runtime) for side in (*config.sizes, config.size))
    loss = build_loss(terms, LossRequest(config, index, output.embedding.shape[1]))
    if not index.task.has_classes:
        loss = ScaledTargets.of(loss, config, index)
    loss = loss.to(runtime.device)
    with torch.no_grad():
        predicting_logits(loss, output, index.outputs)  # a loss that can't predict is refused before it learns
    normalize = Normalize(normalization["mean"], normalization["std"]).to(runtime.device)
    return Model(network, loss, normalize, runtime, index.task, index.outputs)


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a module of the same weights that torch compiles when called; the network itself where it can't."""
    return cast(nn.Module, torch.compile(network)) if _compiles(device.type) else network


def compile_calls(network: nn.Module, device: torch.device) -> None:
    """Let torch compile a network when it is called, where it can; its `forward`, which hooks see, stays as it is."""
    if _compiles(device.type):
        network.compile()


@functools.cache
def _compiles(device: str) -> bool:
    """Return whether torch can compile here; warn once if not. A run may come from a machine with a compiler."""
    try:
        torch.compile(lambda numbers: numbers * 2 + 1)(torch.zeros(8, device=device))
    except Exception as error:  # each backend has its own
        why = " ".join(str(error).split("\n\n")[0].split())[:200]
        if distributed.is_main():
            Console().warn(f"torch can't compile here ({why}): going on without compiling, which is slower")
        return False
    finally:
        torch.compiler.reset()
    return True


@torch.no_grad()
def _probe(network: nn.Module, size: int, request: ModelRequest, runtime: Runtime) -> Output:
    """Pass two black images through a new network; check the shapes of its output and return it."""
    images = torch.zeros(2, request.channels, size, size, device=runtime.device)
    metadata = torch.zeros(2, request.metadata, device=runtime.device)
    try:
        output = network.eval()(images, metadata)
    except (KitError, MemoryError):
        raise
    except Exception as error:
        if too_little_memory(error):
            raise
        raise _failed(error, network, images, request) from error
    network.train()
    who = getattr(network, "strangers_head", "") or f"the plugin of {request.name}"
    if not isinstance(output, Output):
        raise PluginError(f"{who} returns {shown(output)}, not an Output: tell its author")
    if tuple(output.logits.shape) != (2, request.outputs) or output.embedding.ndim != 2:
        raise KitError(
            f"{who} returns logits {tuple(output.logits.shape)} for 2 images, not (2, {request.outputs}), and an "
            f"embedding {tuple(output.embedding.shape)}, which must be (2, D): tell its author"
        )
    return output


def _failed(error: Exception, network: nn.Module, images: Tensor, request: ModelRequest) -> KitError:
    """Return the error of a network that can't take images BxCxHxW: of its head, if the body can."""
    place = place_of(error, otherwise=place_in(type(network).forward))
    if isinstance(network, Network) and network.strangers_head:
        with contextlib.suppress(Exception):
            shape, head = tuple(network.body(images).shape), network.strangers_head
            return PluginError(f"{head} failed on features {shape} at {place} ({reason(error)}): {MEND}")
    if isinstance(error, (AssertionError, RuntimeError, ValueError)):
        return KitError(
            f"{request.name} can't take {images.shape[2]} px images of {request.channels} channels: {error}: "
            "choose another --size or --model, or tell the network's author"
        )
    return PluginError(f"{request.name} failed on 2 images and their metadata at {place} ({reason(error)}): {MEND}")
