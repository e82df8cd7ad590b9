"""Checks of a network: small ones are built without pretrained weights, and see random images."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kit.errors import KitError
from kit.hooks.learning import ModelRequest
from kit.hooks.leash import place_of, reason
from kit.model.network import Output
from kit.testing import watch
from kit.testing.check import Broken, Skipped, check, need, suppose
from kit.testing.subject import Subject

SIDE, OTHER_SIDE, BATCH = 64, 96, 3
CLOSE = 1e-3
ASKED = ((3, 4, 0), (5, 1, 2), (1, 4, 0))  # channels, outputs, columns of metadata


@dataclass(frozen=True)
class Built:
    """A network with what it was asked to be, and what it sees."""

    request: ModelRequest
    network: nn.Module
    images: Tensor
    metadata: Tensor | None

    def output(self, images: Tensor | None = None, metadata: Tensor | None = None) -> Output:
        """Return its output in eval mode."""
        self.network.eval()
        with torch.no_grad():
            found: Output = self.network(
                self.images if images is None else images, self.metadata if metadata is None else metadata
            )
        return found


@check("model/builds", "return a torch.nn.Module, for any number of channels, outputs and columns of metadata")
def builds(subject: Subject) -> None:
    """It can be built for 1, 3 and 5 channels, 1 and 4 outputs, with and without metadata."""
    for channels, outputs, metadata in ASKED:
        request = _request(subject, channels, outputs, metadata)
        try:
            network = _build(subject, request)
        except Exception as error:
            raise Broken(f"{_said(request)}: it raises {_told(error)}") from None
        need(isinstance(network, nn.Module), f"build() returns {type(network).__name__}, not a torch.nn.Module")


@check(
    "model/output",
    "take images of request.channels and metadata BxE or None, return kit.plugin.network.Output(logits, embedding)",
)
def output_type(subject: Subject) -> None:
    """`forward` returns an Output."""
    for built in _networks(subject):
        try:
            found = built.output()
        except Exception as error:
            raise Broken(f"{_said(built.request)}: forward() raises {_told(error)}") from None
        need(isinstance(found, Output), f"forward() returns {type(found).__name__}, not Output(logits, embedding)")


@check("model/logits", "make as many logits as the request's outputs")
def logits(subject: Subject) -> None:
    """The logits are BxK."""
    for built in _working(subject):
        shape = tuple(built.output().logits.shape)
        need(shape == (BATCH, built.request.outputs), f"{_said(built.request)}: the logits are of {shape}")


@check("model/embedding", "return what the last layer sees, BxD, of the same width D for every batch")
def embedding(subject: Subject) -> None:
    """The embedding is BxD."""
    for built in _working(subject):
        found = built.output().embedding
        good = found.ndim == 2 and len(found) == BATCH
        need(good, f"{_said(built.request)}: the embedding is of {tuple(found.shape)}, not BxD")


@check("model/finite", "normalise what grows: the images are normalised floats")
def finite(subject: Subject) -> None:
    """Logits and embedding are finite."""
    for built in _working(subject):
        need(all(part.isfinite().all() for part in built.output()), f"{_said(built.request)}: not all is finite")


@check("model/every-channel", "widen the first layer: kit.plugin.network.widen_stem, or Conv2d(request.channels, ...)")
def every_channel(subject: Subject) -> None:
    """Every channel of the image makes a difference."""
    for built in _working(subject):
        images = built.images.clone().requires_grad_()
        counts = _counts(built.network.eval()(images, built.metadata).logits, images)
        idle = [number for number, counted in enumerate(counts or [False]) if not counted]
        need(not idle, f"{_said(built.request)}: channel {idle[0] if idle else 0} is ignored")


@check("model/metadata", "append it to the features: Network(body, features, outputs, head, metadata) does")
def metadata(subject: Subject) -> None:
    """The metadata makes a difference."""
    for built in _working(subject):
        if built.metadata is not None:
            columns = built.metadata.clone().requires_grad_()
            counts = _counts(built.network.eval()(built.images, columns).logits, columns)
            need(counts and all(counts), f"{_said(built.request)}: the metadata is ignored")


@check("model/without-metadata", "take None, or BxE with E = 0, where there is none")
def without_metadata(subject: Subject) -> None:
    """Without metadata, `forward` takes None, and an empty BxE."""
    built = _working(subject)[0]
    for nothing in (None, torch.zeros(BATCH, 0)):
        built.network.eval()
        with torch.no_grad():
            built.network(built.images, nothing)


@check("model/eval-mode", "call .train() nowhere in forward(): kit says when the network trains")
def eval_mode(subject: Subject) -> None:
    """In eval mode every layer is in eval mode, also after `forward`."""
    for built in _working(subject):
        built.output()
        training = [name or "the network" for name, each in built.network.named_modules() if each.training]
        need(not training, f"in eval mode {training[0] if training else ''} is in training mode")


@check("model/images-apart", "let no layer mix the images of a batch in eval mode")
def images_apart(subject: Subject) -> None:
    """In eval mode, an image's logits do not depend on the others of its batch."""
    for built in _working(subject):
        rows = None if built.metadata is None else built.metadata[:1]
        others = 3 * built.images[1:] + 2  # much unlike the first
        together = built.output(torch.cat([built.images[:1], others])).logits[:1]
        built.network.eval()
        with torch.no_grad():
            alone = built.network(built.images[:1], rows).logits
        need(
            torch.allclose(alone, together, rtol=CLOSE, atol=1e-4), "in eval mode an image's logits depend on its batch"
        )


@check("model/same-again", "draw nothing at random in eval mode, and keep nothing from call to call")
def same_again(subject: Subject) -> None:
    """In eval mode the same images give the same logits, from call to call."""
    for built in _working(subject):
        torch.manual_seed(1)
        one = built.output().logits
        built.output(torch.randn_like(built.images))
        torch.manual_seed(2)
        other = built.output().logits
        need(torch.equal(one, other), "in eval mode the same images give other logits the second time")


@check("model/same-from-a-seed", "draw weights from torch's own random numbers, while it is built")
def same_from_seed(subject: Subject) -> None:
    """Two networks of one seed have the same weights."""
    one, other = _drawn(subject), _build(subject, _networks(subject)[0].request).state_dict()
    same = all(torch.equal(one[key], other[key]) for key in one)
    need(same, "two networks of one seed have different weights")


@check("model/not-pretrained", "heed request.pretrained: False means random weights, and nothing to download")
def not_pretrained(subject: Subject) -> None:
    """Without pretrained weights, another seed gives other weights, and no network is asked."""
    request, before = _networks(subject)[0].request, len(watch.asked)
    one, other = _drawn(subject), _build(subject, request, seed=1).state_dict()
    need(len(watch.asked) == before, f"pretrained=False asks for {watch.asked[-1] if watch.asked else ''}")
    varied = [key for key in one if one[key].is_floating_point() and one[key].numel() > 1 and one[key].std() > 0]
    fixed = [key for key in varied if torch.equal(one[key], other[key])]  # a code of positions may be
    few = sum(one[key].numel() for key in fixed) <= sum(one[key].numel() for key in varied) / 2
    need(varied and few, "pretrained=False gives the same weights for every seed")


@check("model/gradient", "leave requires_grad as it is: freezing is for --set freeze")
def gradient(subject: Subject) -> None:
    """The first layer and the last learn."""
    for built in _working(subject):
        parameters = [(name, each) for name, each in built.network.named_parameters()]
        need(parameters, "it has no weights")
        built.network.zero_grad()
        built.network.train()
        found = built.network(built.images, built.metadata).logits
        need(found.requires_grad, "no weight has a gradient")
        found.square().sum().backward()
        reached = [name for name, each in parameters if each.grad is not None and bool(each.grad.any())]
        need(reached, "no weight has a gradient")
        name = parameters[0][0]
        need(name in reached, f"the first layer ({name}) has no gradient: what learns is {reached[0]} and after")


@check("model/trains", "give batches of two rows something to normalise: BatchNorm needs more than one value")
def trains(subject: Subject) -> None:
    """In training mode it takes a batch of two."""
    for built in _working(subject):
        built.network.train()
        built.network(built.images[:2], None if built.metadata is None else built.metadata[:2])


@check("model/any-size", "pool before the linear layer: AdaptiveAvgPool2d(1), or Network(body, ...)", "advice")
def any_size(subject: Subject) -> None:
    """It takes images of other sizes."""
    built = _working(subject)[0]
    try:
        built.output(torch.randn(BATCH, built.request.channels, OTHER_SIDE, OTHER_SIDE))
    except Exception as error:
        raise Broken(f"of {OTHER_SIDE} pixels it raises {_told(error)}") from None


@check("model/weights-come-back", "keep all that it learns in parameters and buffers")
def weights_come_back(subject: Subject) -> None:
    """Its weights, saved and loaded into another network, give the same logits."""
    built = _working(subject)[0]
    other = Built(built.request, _build(subject, built.request, seed=5), built.images, built.metadata)
    other.network.load_state_dict(built.network.state_dict())
    same = torch.allclose(built.output().logits, other.output().logits, rtol=CLOSE, atol=1e-5)
    need(same, "its weights, loaded into another network, give other logits")


@check(
    "model/every-weight-learns",
    "remove what no logit depends on: it stops training on several GPUs",
    "advice",
)
def every_weight_learns(subject: Subject) -> None:
    """Every weight has a gradient."""
    built = _working(subject)[0]
    built.network.zero_grad()
    built.network.train()
    built.network(built.images, built.metadata).logits.square().sum().backward()
    idle = [name for name, each in built.network.named_parameters() if each.requires_grad and each.grad is None]
    need(not idle, f"{len(idle)} weights have no gradient, such as {idle[0] if idle else ''}")


@check("model/statistics", "give as many means as standard deviations above 0")
def statistics(subject: Subject) -> None:
    """Mean and standard deviation fit each other."""
    spec = subject.spec
    mean, std = (spec.mean, spec.std) if spec.statistics is None else spec.statistics(_name(subject))
    need(len(mean) == len(std) > 0, f"{len(mean)} means and {len(std)} standard deviations")
    need(min(std) > 0, "a standard deviation is not above 0")


@check("model/description", "give description=..., half a line for kit models", "advice")
def description(subject: Subject) -> None:
    """It says what it is."""
    need(subject.spec.description.strip(), "it has no description")


@check("model/family", "give names=(pattern) -> full names, which kit models lists", "advice")
def family(subject: Subject) -> None:
    """A family lists its networks."""
    suppose(subject.spec.name.endswith("/*"), "it is a single network")
    need(subject.spec.names is not None, "the family lists no networks")
    names, prefix = subject.spec.names(subject.spec.name), subject.spec.name[:-1]
    need(names and all(name.startswith(prefix) for name in names), f"names() gives {names[:2]}, not names of {prefix}")


def _name(subject: Subject) -> str:
    """Return the full name of a network to build: of a family one that is usual and small, or its first."""
    spec = subject.spec
    if not spec.name.endswith("/*"):
        return str(spec.name)
    prefix = spec.name[:-1]
    for pattern in ("resnet18*", "*small*", "*"):
        names = spec.names(f"{prefix}{pattern}") if spec.names is not None else []
        if names:
            return str(min(names, key=len))
    raise Skipped("the family lists no networks to build")


def _request(subject: Subject, channels: int, outputs: int, metadata: int) -> ModelRequest:
    return ModelRequest(_name(subject), channels, outputs, "linear", metadata, pretrained=False)


def _said(request: ModelRequest) -> str:
    return f"{request.channels} channels, {request.outputs} outputs, {request.metadata} columns of metadata"


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, KitError) else f"{reason(error)} at {place_of(error)}"


def _build(subject: Subject, request: ModelRequest, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return subject.spec.build(request)


def _networks(subject: Subject) -> list[Built]:
    """Return two networks, built once: of three channels, and of five with metadata; raise `Skipped` without them."""
    if subject.kept.get("networks", ("",))[0] != subject.name:  # those of one model: large ones would fill the memory
        made = []
        for channels, outputs, columns in ASKED[:2]:
            request = _request(subject, channels, outputs, columns)
            try:
                network = _build(subject, request)
            except Exception:
                raise Skipped("it can't be built: see model/builds") from None
            suppose(isinstance(network, nn.Module), "it is no module: see model/builds")
            torch.manual_seed(3)
            seen = torch.randn(BATCH, columns) if columns else None
            made.append(Built(request, network, torch.randn(BATCH, channels, SIDE, SIDE), seen))
        drawn = {key: value.clone() for key, value in made[0].network.state_dict().items()}
        subject.kept["networks"] = (subject.name, made, drawn)
    return list(subject.kept["networks"][1])


def _drawn(subject: Subject) -> dict[str, Tensor]:
    """Return the first network's weights as they were when it was built."""
    _networks(subject)
    weights: dict[str, Tensor] = subject.kept["networks"][2]
    return weights


def _counts(output: Tensor, given: Tensor) -> list[bool]:
    """Return which columns or channels of an input count for an output, by the gradient."""
    if not output.requires_grad:
        return []
    (found,) = torch.autograd.grad(output.sum(), given, allow_unused=True)
    return [] if found is None else found.abs().sum([each for each in range(found.ndim) if each != 1]).gt(0).tolist()


def _working(subject: Subject) -> list[Built]:
    """Return them; raise `Skipped` if they do not return an output."""
    networks = _networks(subject)
    for built in networks:
        try:
            good = isinstance(built.output(), Output)
        except Exception:
            good = False
        suppose(good, "it gives no output: see model/output")
    return networks
