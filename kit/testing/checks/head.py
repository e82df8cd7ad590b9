"""Checks of a head: on random feature maps."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kit.hooks.learning import HeadRequest
from kit.hooks.leash import place_of, reason
from kit.model.network import Output
from kit.testing.check import Broken, Skipped, check, need, suppose
from kit.testing.subject import Subject

FEATURES, SIDE, BATCH = 24, 5, 4
REQUESTS = (HeadRequest("", FEATURES, 4, 0), HeadRequest("", FEATURES, 1, 3))
CLOSE = 1e-4


@check("head/builds", "return a torch.nn.Module, for any number of features, outputs and columns of metadata")
def builds(subject: Subject) -> None:
    """It can be built with and without metadata, for one output and for several."""
    for request in REQUESTS:
        try:
            head = _build(subject, request)
        except Exception as error:
            raise Broken(f"{_said(request)}: it raises {reason(error)} at {place_of(error)}") from None
        need(isinstance(head, nn.Module), f"build() returns {type(head).__name__}, not a torch.nn.Module")


@check("head/output", "return kit.plugin.network.Output(logits BxK, embedding BxD)")
def output(subject: Subject) -> None:
    """`forward` maps a feature map and metadata to logits BxK and an embedding BxD."""
    for request in REQUESTS:
        head = _built(subject, request)
        try:
            found = head(*_given(request))
        except Exception as error:
            raise Broken(f"{_said(request)}: forward() raises {reason(error)} at {place_of(error)}") from None
        need(isinstance(found, Output), f"forward() returns {type(found).__name__}, not Output(logits, embedding)")
        shape = tuple(found.logits.shape)
        need(shape == (BATCH, request.outputs), f"{_said(request)}: the logits are of {shape}")
        good = found.embedding.ndim == 2 and len(found.embedding) == BATCH
        need(good, f"{_said(request)}: the embedding is of {tuple(found.embedding.shape)}, not BxD")


@check("head/embedding-width", "give embeddings of one width, whatever the size of the map")
def embedding_width(subject: Subject) -> None:
    """The embedding's width does not depend on the size of the feature map."""
    for request, head in _heads(subject):
        features, metadata = _given(request)
        widths = [head(each, metadata).embedding.shape[1] for each in (features, torch.randn(BATCH, FEATURES, 7, 3))]
        need(widths[0] == widths[1], f"the embedding is {widths[0]} wide, and {widths[1]} of another feature map")


@check("head/metadata", "append it to the features, or to the embedding")
def metadata(subject: Subject) -> None:
    """The metadata makes a difference."""
    for request, head in _heads(subject):
        features, columns = _given(request)
        if columns is not None:
            same = torch.allclose(head(features, columns).logits, head(features, columns + 5).logits, atol=1e-7)
            need(not same, f"{_said(request)}: the metadata is ignored")


@check("head/every-feature", "let every channel of the map reach the logits")
def every_feature(subject: Subject) -> None:
    """Every channel of the feature map makes a difference."""
    for request, head in _heads(subject):
        features, columns = _given(request)
        plain = head(features, columns).logits
        for channel in range(FEATURES):
            changed = features.clone()
            changed[:, channel] += 3
            need(not torch.equal(plain, head(changed, columns).logits), f"feature {channel} is ignored")


@check("head/pooled-features", "take BxF too, or leave average=False: some bodies pool themselves")
def pooled(subject: Subject) -> None:
    """One that only averages takes pooled features BxF."""
    suppose(subject.spec.average, "it takes maps alone")
    for request, head in _heads(subject):
        head(torch.randn(BATCH, FEATURES), _given(request)[1])


@check("head/rows-apart", "let no layer mix the rows of a batch in eval mode")
def rows_apart(subject: Subject) -> None:
    """In eval mode, a row's logits do not depend on the others of its batch."""
    for request, head in _heads(subject):
        features, columns = _given(request)
        alone = head(features[:1], None if columns is None else columns[:1]).logits
        together = head(features, columns).logits[:1]
        need(torch.allclose(alone, together, rtol=1e-3, atol=CLOSE), "in eval mode a row's logits depend on its batch")


@check("head/same-from-a-seed", "draw weights from torch's own random numbers, while it is built")
def same_from_seed(subject: Subject) -> None:
    """Two heads of one seed have the same weights."""
    for request in REQUESTS:
        one, other = (_built(subject, request).state_dict() for _ in range(2))
        need(all(torch.equal(one[key], other[key]) for key in one), "two heads of one seed have different weights")


@check("head/gradient", "compute with torch alone, and leave requires_grad as it is")
def gradient(subject: Subject) -> None:
    """The body and the head's own weights learn through it."""
    for request, head in _heads(subject):
        features, columns = _given(request)
        features.requires_grad_()
        head.train()
        with torch.enable_grad():
            head(features, columns).logits.square().sum().backward()
        need(features.grad is not None and bool(features.grad.any()), "the feature map has no gradient")
        idle = [name for name, each in head.named_parameters() if each.grad is None]
        need(not idle, f"no gradient reaches {idle[0] if idle else ''}")


@check("head/options", "heed request.dropout, or leave it out of the spec's options")
def options(subject: Subject) -> None:
    """A dropout that is asked for is there."""
    suppose("dropout" in subject.spec.options, "it has no dropout")
    request = replace(REQUESTS[0], dropout=0.9)
    head = _built(subject, request).train()
    features, columns = _given(request)
    one, other = head(features, columns).logits, head(features, columns).logits
    need(not torch.equal(one, other), "dropout=0.9 makes no difference")


@check("head/description", "give description=..., half a line for lists", "advice")
def description(subject: Subject) -> None:
    """It says what it is."""
    need(subject.spec.description.strip(), "it has no description")


def _said(request: HeadRequest) -> str:
    return f"{request.outputs} outputs, {request.metadata} columns of metadata"


def _build(subject: Subject, request: HeadRequest) -> Any:
    torch.manual_seed(0)
    return subject.spec.build(replace(request, name=subject.name))


def _built(subject: Subject, request: HeadRequest) -> Any:
    try:
        head = _build(subject, request)
    except Exception:
        raise Skipped("it can't be built: see head/builds") from None
    suppose(isinstance(head, nn.Module), "it is no module: see head/builds")
    return head.eval()


def _given(request: HeadRequest) -> tuple[Tensor, Tensor | None]:
    torch.manual_seed(1)
    features = torch.randn(BATCH, FEATURES, SIDE, SIDE)
    return features, torch.randn(BATCH, request.metadata) if request.metadata else None


def _heads(subject: Subject) -> list[tuple[HeadRequest, Any]]:
    """Return heads that give outputs, in eval mode."""
    found = []
    for request in REQUESTS:
        head = _built(subject, request)
        try:
            good = isinstance(head(*_given(request)), Output)
        except Exception:
            good = False
        suppose(good, "it gives no output: see head/output")
        found.append((request, head))
    return found
