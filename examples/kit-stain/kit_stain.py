"""Stain jitter: the optical density of each channel is scaled, as if its stain were stronger or weaker.

Light passes a stain by 10^-density, so a density times f is the light to the power of f.
"""

from kit.plugin import AugmentationSpec, hookimpl


@hookimpl
def kit_augmentations():
    """Add the step `density`: kit train COMPETITION --set steps=density=0.2."""
    what = "scale each channel's optical density by 1 - strength to 1 + strength"
    return [AugmentationSpec("density", draw, array, tensor, high=0.9, description=what, text=text)]


def draw(request):
    """Draw a factor for each image and channel."""
    return 1 + request.strength * (2 * request.uniform(request.channels) - 1)


def array(image, factors):
    """Apply them to HxWxC uint8."""
    return 255 * (image.astype("float32") / 255) ** factors


def tensor(images, factors):
    """Apply them to BxCxHxW."""
    return 255 * (images / 255) ** factors[:, :, None, None]


def text(factors):
    """Say what was drawn, for kit explore --augmented."""
    return "density x " + " ".join(f"{factor:.2f}" for factor in factors)
