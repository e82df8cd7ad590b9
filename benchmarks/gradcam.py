"""`kit gradcam` beside the package grad-cam: the same maps, and images a second in one run, by turns.

Both explain the predicted class of the same batches at the same layers, in the same process and on the same device:
kit's time is that of its loader's batch on to maps at the input's size, grad-cam's that of the same tensors to the
same. grad-cam depends on opencv-python, which shares a folder with opencv-python-headless and breaks it, so it is
installed beside kit's environment, not in it:

    pip install --no-deps --target /tmp/grad-cam grad-cam ttach
    PYTHONPATH=/tmp/grad-cam python benchmarks/gradcam.py [IMAGES]
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import machine
import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import Tensor, nn

from kit.explain.cam import at_size, raw_maps
from kit.explain.layers import Layer, find_layers
from kit.hooks.learning import ModelRequest
from kit.hooks.registry import Registry
from kit.model.build import Model
from kit.model.device import Runtime
from kit.pixels.batches import Batch, Normalize
from kit.task import MULTICLASS

IMAGES, BATCH, ROUNDS, CLASSES = 128, 16, 5, 5
# Network, side of its input, the layer (stride 16 or the last), and how grad-cam's users make maps of its output.
CASES = [
    ("small_cnn", 96, "body.23", None),
    ("efficientnet_lite0", 96, "body.blocks.4.2", None),
    ("resnet18", 224, "body.7.1", None),
    ("timm/vit_tiny_patch16_224", 224, "body.blocks.10", lambda out: out[:, 1:].unflatten(1, (14, 14)).movedim(3, 1)),
]


class Logits(nn.Module):
    """The network as grad-cam wants it: images -> logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).logits


def build(name: str) -> Model:
    torch.manual_seed(0)
    network = Registry().models.get(name).build(ModelRequest(name, 3, CLASSES, "linear", 0, pretrained=False))
    runtime = Runtime.choose("off")
    network = network.to(runtime.device, memory_format=torch.channels_last).eval()
    return Model(network, nn.Module(), Normalize([0], [1]), runtime, MULTICLASS)


def of_kit(model: Model, layer: Layer, images: Tensor) -> np.ndarray:
    batch = Batch(images, torch.zeros(len(images)), images.new_zeros(len(images), 0), torch.arange(len(images)))
    maps = raw_maps(model, [layer], "gradcam", batch, lambda shares: shares.argmax(1))[2]
    return at_size(maps[layer.name], images.shape[2]).cpu().numpy()


def seconds(work: Callable[[Tensor], np.ndarray], batches: list[Tensor]) -> float:
    began = time.perf_counter()
    for images in batches:
        work(images)
    return time.perf_counter() - began


def compare(name: str, size: int, layer: str, reshape: Callable[[Tensor], Tensor] | None, count: int) -> dict:
    """Images a second of both and the largest distance between their maps."""
    model = build(name)
    found = find_layers(model, 3, 0, size)[layer]
    noise = torch.Generator().manual_seed(0)
    batches = [
        torch.randn(BATCH, 3, size, size, generator=noise).to(model.runtime.device) for _ in range(count // BATCH)
    ]
    batches = [images.contiguous(memory_format=torch.channels_last) for images in batches]
    other = GradCAM(Logits(model.network), [model.network.get_submodule(layer)], reshape_transform=reshape)
    theirs = other(batches[0], None)
    # grad-cam takes the smallest value of each map from it before it divides by the largest.
    difference = float(np.abs(scale_cam_image(of_kit(model, found, batches[0])) - theirs).max())
    times: dict[str, list[float]] = {"kit": [], "grad-cam": []}
    for _ in range(ROUNDS):
        # grad-cam's hooks stay on the network and its weights must have gradients: not while kit works.
        other.activations_and_grads.release()
        model.network.requires_grad_(False)
        of_kit(model, found, batches[0])
        times["kit"].append(seconds(lambda images: of_kit(model, found, images), batches))
        model.network.requires_grad_(True)
        other = GradCAM(Logits(model.network), [model.network.get_submodule(layer)], reshape_transform=reshape)
        other(batches[0], None)
        times["grad-cam"].append(seconds(partial(other, targets=None), batches))
    other.activations_and_grads.release()
    images = len(batches) * BATCH
    ratios = [theirs / ours for ours, theirs in zip(times["kit"], times["grad-cam"], strict=True)]
    return {
        "size": size,
        "layer": layer,
        "kit_images_per_second": round(images / float(np.median(times["kit"])), 1),
        "grad_cam_images_per_second": round(images / float(np.median(times["grad-cam"])), 1),
        "kit_over_grad_cam": round(float(np.median(ratios)), 2),
        "lowest_of_rounds": round(min(ratios), 2),
        "largest_difference": difference,
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    machine.write(
        "gradcam",
        {
            "images": count,
            "batch": BATCH,
            "rounds": ROUNDS,
            "networks": {case[0]: compare(*case, count) for case in CASES},
        },
    )


if __name__ == "__main__":
    main()
