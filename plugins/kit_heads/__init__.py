"""Heads: what makes logits of a network's features. docs/models.md describes them."""

from kit.plugin import HeadSpec, hookimpl, lazy

OPTIONS = ("dropout", "batch_norm", "two_units")


@hookimpl
def kit_heads() -> list[HeadSpec]:
    """Add the built-in heads."""
    return [
        _head("linear", "LinearHead", "average pooling, one linear layer", average=True),
        _head("mlp", "MlpHead", "average pooling, a hidden layer of 512 with batch norm and GELU", average=True),
        _head("concat_pool", "ConcatPoolHead", "fastai's: maximum and average pooling, a hidden layer of 512"),
        _head("gem", "GemHead", "generalised mean pooling with a learned exponent, one linear layer"),
        _head("attention", "AttentionHead", "pooling by learned weights of the map's places, one linear layer"),
        _head("vgg", "VggHead", "VGG's classifier: pooling to 7x7, two hidden layers of 4,096"),
    ]


def _head(name: str, cls: str, description: str, average: bool = False) -> HeadSpec:
    return HeadSpec(name, lazy(f"kit_heads.heads:{cls}"), description, OPTIONS, average)
