"""The built-in heads; each takes a `HeadRequest`."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from kit.plugin import HeadRequest
from kit.plugin.network import Output, TwoUnits, last_layer, need_map, with_metadata

HIDDEN = 512


class PooledHead(nn.Module, ABC):
    """Pooling, the metadata appended to the pooled features, one linear layer.

    The embedding is the input of that layer, of width F + E: a margin loss on it sees the metadata too. On request it
    is batch-normalised, and dropout comes after it.
    """

    def __init__(self, request: HeadRequest) -> None:
        super().__init__()
        width = request.features + request.metadata
        self.name = request.name
        self.norm = nn.BatchNorm1d(width) if request.batch_norm else nn.Identity()
        self.dropout = nn.Dropout(request.dropout) if request.dropout else nn.Identity()
        self.classifier = last_layer(width, request)

    @abstractmethod
    def pool(self, features: Tensor) -> Tensor:
        """Pool a feature map BxFxhxw to BxF."""

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw (or what `pool` takes besides) and metadata BxE to an output."""
        embedding = self.norm(with_metadata(self.pool(features), metadata))
        return Output(self.classifier(self.dropout(embedding)), embedding)


class LinearHead(PooledHead):
    """Global average pooling and one linear layer."""

    def pool(self, features: Tensor) -> Tensor:
        """Average a map; what is pooled already, BxF, stays as it is."""
        return average(features)

    def weights(self) -> Tensor:
        """Return how much each pooled feature counts for each logit when it predicts, Kx(F + E): for CAM."""
        weights = self.classifier.weight
        if isinstance(self.classifier, TwoUnits):
            weights = weights[1:] - weights[:1]
        if isinstance(self.norm, nn.BatchNorm1d) and self.norm.running_var is not None:
            weights = weights * self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        return weights


class GemHead(PooledHead):
    """Generalised mean pooling (Radenovic et al. 2018): mean(x^p)^(1/p) of each channel, with one learned p from 3.

    p = 1 averages, a large p takes the maximum. As in the authors' code, features below 1e-6 count as that much.
    """

    LEAST = 1e-6
    FLATTEST = 0.1  # p; 0 divides by 0

    def __init__(self, request: HeadRequest) -> None:
        super().__init__(request)
        self.p = nn.Parameter(torch.tensor([3.0]))

    def pool(self, features: Tensor) -> Tensor:
        """Pool through logarithms in float32: powers of half-precision features would overflow."""
        need_map(features, self.name)
        with torch.autocast(features.device.type, enabled=False):
            p = self.p.float().clamp(min=self.FLATTEST)
            places = features.float().clamp(min=self.LEAST).log().flatten(2)
            # Minus the largest, so that exp can't overflow.
            largest = places.detach().amax(2, keepdim=True)
            mean = ((places - largest) * p).exp().mean(2).log() / p + largest[:, :, 0]
            return mean.exp().to(features.dtype)


class AttentionHead(PooledHead):
    """Gated attention over the places of a map (Ilse et al. 2018): their mean, weighted by what the network learns.

    A place h has the weight softmax(w (tanh(V h) * sigmoid(U h))), V and U with 128 outputs. w starts at 0: as an
    average. Tokens BxNxF are places too.
    """

    WIDTH = 128

    def __init__(self, request: HeadRequest) -> None:
        super().__init__(request)
        self.tanh, self.gate = (nn.Linear(request.features, self.WIDTH) for _ in range(2))
        self.score = nn.Linear(self.WIDTH, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def pool(self, features: Tensor) -> Tensor:
        """Pool a map BxFxhxw or tokens BxNxF."""
        if features.ndim != 3:
            need_map(features, self.name)
        places = features.flatten(2).transpose(1, 2) if features.ndim == 4 else features
        scores = self.score(self.tanh(places).tanh() * self.gate(places).sigmoid())
        return (places * scores.softmax(1)).sum(1)


class MlpHead(nn.Module):
    """Average pooling, the metadata appended, linear 512, batch norm, GELU, dropout .3, linear.

    The embedding is the 512 features in front of the dropout.
    """

    def __init__(self, request: HeadRequest) -> None:
        super().__init__()
        norm = nn.Identity if request.batch_norm is False else nn.BatchNorm1d
        self.hidden = nn.Sequential(nn.Linear(request.features + request.metadata, HIDDEN), norm(HIDDEN), nn.GELU())
        self.dropout = nn.Dropout(0.3 if request.dropout is None else request.dropout)
        self.classifier = last_layer(HIDDEN, request)

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw, or already pooled features BxF, and metadata BxE to an output."""
        embedding = self.hidden(with_metadata(average(features), metadata))
        return Output(self.classifier(self.dropout(embedding)), embedding)


class ConcatPoolHead(nn.Module):
    """fastai's head (Howard and Gugger 2020): maximum and average pooling side by side, one hidden layer of 512.

    BN, dropout .25, linear 512, ReLU, BN, dropout .5, linear; both linear layers without bias, as in fastai. The
    metadata is appended to the pooled features. The embedding is the 512 features after the second BN: the logits are
    computed from it alone, a margin loss on it trains the hidden layer, and BN centres it, so angles use the whole
    sphere. Of another dropout, the first layer has half, as of fastai's `ps`.
    """

    def __init__(self, request: HeadRequest) -> None:
        super().__init__()
        pooled = 2 * request.features + request.metadata
        dropout = 0.5 if request.dropout is None else request.dropout
        norm = nn.Identity if request.batch_norm is False else nn.BatchNorm1d
        self.hidden = nn.Sequential(
            norm(pooled),
            nn.Dropout(dropout / 2),
            nn.Linear(pooled, HIDDEN, bias=False),
            nn.ReLU(inplace=True),
            norm(HIDDEN),
        )
        self.classifier = nn.Sequential(nn.Dropout(dropout), last_layer(HIDDEN, request, bias=False))

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw and metadata BxE to an output; pooled features or tokens raise `KitError`."""
        need_map(features, "concat_pool")
        pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)
        embedding = self.hidden(with_metadata(pooled, metadata))
        return Output(self.classifier(embedding), embedding)


class VggHead(nn.Module):
    """The classifier of VGG (Simonyan and Zisserman 2015): average pooling to 7x7, two hidden layers of 4,096.

    Linear 4096, ReLU, dropout .5, linear 4096, ReLU, dropout .5, linear. On request a batch norm follows each hidden
    linear layer. The embedding is the input of the last dropout with the metadata appended, of width 4096 + E, so that
    the hidden layers of a pretrained network fit whatever the metadata.
    """

    POOLED, WIDTH = 7, 4096

    def __init__(self, request: HeadRequest) -> None:
        super().__init__()
        dropout = 0.5 if request.dropout is None else request.dropout
        norm = nn.BatchNorm1d if request.batch_norm else nn.Identity
        self.first = nn.Linear(request.features * self.POOLED**2, self.WIDTH)
        self.second = nn.Linear(self.WIDTH, self.WIDTH)
        self.after_first = nn.Sequential(norm(self.WIDTH), nn.ReLU(inplace=True), nn.Dropout(dropout))
        self.after_second = nn.Sequential(norm(self.WIDTH), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(nn.Dropout(dropout), last_layer(self.WIDTH + request.metadata, request))

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw and metadata BxE to an output; pooled features or tokens raise `KitError`."""
        need_map(features, "vgg")
        pooled = nn.functional.adaptive_avg_pool2d(features, self.POOLED).flatten(1)
        hidden = self.after_second(self.second(self.after_first(self.first(pooled))))
        embedding = with_metadata(hidden, metadata)
        return Output(self.classifier(embedding), embedding)


def average(features: Tensor) -> Tensor:
    """Average a feature map BxFxhxw -> BxF; what is pooled already stays as it is."""
    return features.mean((2, 3)) if features.ndim == 4 else features
