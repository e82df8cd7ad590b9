"""Augmentation of whole batches: every flip, turn, zoom, shear, shift and enlargement is one warp, then brightness.

The same `Parameters` are worked off on the CPU from packed pixels (`warp_batch`, `warp_normalized`) or as one batch on
the training device (`DeviceWarp`). Steps and ranges are the configuration's, distributions are albumentations'.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kit.config import TrainConfig

THREADS = min(4, os.cpu_count() or 1)
GROUP = ("e", "r90", "r180", "r270", "v", "hvt", "h", "t")  # the names that albumentations gives the elements
# Output to input, x right and y down, about the centre; in the order of GROUP.
QUARTERS = np.stack([np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turns) for turns in range(4)])
DIHEDRAL = np.concatenate([QUARTERS, np.diag([1, -1]) @ QUARTERS])
LEVELS = np.arange(256, dtype=np.float32)
# Below this a warp is all but singular, and mirrored coordinates would run through the image a thousand times.
SMALLEST = 0.01


@dataclass(frozen=True)
class Parameters:
    """What is done to each of B images.

    matrices: Bx2x3 float64, (x, y, 1) of an output pixel's centre -> (x, y) in the input, pixels; then grey levels are
    multiplied by alpha (B float32, contrast), and beta is added (B float32, brightness, grey levels).
    """

    matrices: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray

    def packed(self) -> np.ndarray:
        """Bx8 float32, the matrices' rows, alpha and beta: one array to copy to a device beside its images."""
        return np.column_stack([self.matrices.reshape(-1, 6), self.alpha, self.beta]).astype(np.float32)


def draw(config: TrainConfig, seeds: np.ndarray, source: tuple[int, int], size: int) -> Parameters:
    """The parameters of B images from their B integer seeds: each from its own seed alone, whatever the batch.

    `source` is height and width of the stored images, `size` the side of the output, pixels.
    """
    element, degrees, zoom_x, zoom_y, shift_x, shift_y, shear_x, shear_y, light, contrast = _uniform(seeds, 10)
    if config.flip and config.rot90:
        elements = (element * 8).astype(np.intp)
    elif config.rot90:
        elements = (element * 4).astype(np.intp)
    else:
        elements = np.where((element < 0.5) & config.flip, GROUP.index("h"), 0)

    def between(limit: float, *unit: np.ndarray) -> np.ndarray:
        return limit * (2 * np.stack(unit, -1) - 1)

    scale, shear = 1 + between(config.zoom, zoom_x, zoom_y), between(config.shear, shear_x, shear_y)
    # albumentations shifts by whole pixels, cut off towards zero.
    shift = np.trunc(between(config.shift, shift_x, shift_y) * size)
    matrices = compose(elements, between(config.rotate, degrees)[:, 0], scale, shift, shear, source, size)
    alpha = 1 + between(config.contrast, contrast)[:, 0]
    beta = 255 * between(config.brightness, light)[:, 0]
    return Parameters(matrices, alpha.astype(np.float32), beta.astype(np.float32))


def compose(
    element: np.ndarray,
    degrees: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    shear: np.ndarray,
    source: tuple[int, int],
    size: int,
) -> np.ndarray:
    """Resizing to `size`, then `A.D4`, then `A.Affine`, as one Bx2x3 from output pixels to source pixels.

    Args:
        element, degrees: B numbers of `GROUP`; B angles, counter-clockwise.
        scale: Bx2, factors in x and y; above 1 enlarges.
        shift: Bx2, to the right and down, output pixels.
        shear: Bx2, degrees, with the sign of `A.Affine`.
        source, size: as of `draw`.
    """
    turn, slant = np.deg2rad(degrees), -np.tan(np.deg2rad(shear))
    cos, sin, one = np.cos(turn), np.sin(turn), np.ones_like(turn)
    area = 1 - slant[:, 0] * slant[:, 1]
    area = np.where(np.abs(area) < SMALLEST, SMALLEST, area) * np.maximum(scale, SMALLEST).T
    unsheared = np.stack([one, -slant[:, 0], -slant[:, 1], one], -1).reshape(-1, 2, 2)
    unturned = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    inverse = unturned @ unsheared / area.T[:, :, None]
    extent = np.array([source[1], source[0]], np.float64)
    linear = DIHEDRAL[element] @ inverse * (extent / size)[:, None]
    offset = (extent - 1) / 2 - (linear @ ((size - 1) / 2 + shift)[..., None])[..., 0]
    return np.concatenate([linear, offset[..., None]], -1)


def _uniform(seeds: np.ndarray, streams: int) -> np.ndarray:
    """Streams x B numbers in [0, 1): splitmix64 of (seed, stream), https://prng.di.unimi.it/splitmix64.c."""
    step = np.uint64(0x9E3779B97F4A7C15)

    def mixed(z: np.ndarray) -> np.ndarray:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    states = mixed(seeds.astype(np.uint64) + step) + np.arange(1, streams + 1, dtype=np.uint64)[:, None] * step
    return (mixed(states) >> np.uint64(11)) * 2.0**-53


def gather(images: np.ndarray, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Rows of NxHxWxC uint8 as BxHxWxC, into `out` where given: all that the CPU does beside a GPU."""
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(images):
        raise IndexError(f"rows {rows.min()}..{rows.max()} of {len(images)} images")
    # With its own check, mode="raise", np.take copies everything twice.
    return np.take(np.asarray(images), rows, 0, out, mode="clip")


def warp_batch(
    images: np.ndarray,
    rows: np.ndarray,
    parameters: Parameters | None,
    size: int,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Rows of the stored images, augmented, on the CPU; the number of threads changes nothing.

    Args:
        images: NxHxWxC uint8, no side longer than `size`; may be memory-mapped.
        rows, size: B numbers of images; side of the output, pixels.
        parameters: drawn for images of HxW and this size; None: only enlarge, as cv2.resize does.
        out: where the result goes, BxSxSxC uint8.
        threads: None: one a core, four at most.
    """
    mover = _Mover(images, rows, parameters, size)
    result = np.empty(mover.shape, np.uint8) if out is None else out
    _run(mover, _tables(parameters), result, threads)
    return result


def warp_normalized(
    images: np.ndarray,
    rows: np.ndarray,
    parameters: Parameters | None,
    size: int,
    mean: Sequence[float] | np.ndarray,
    std: Sequence[float] | np.ndarray,
    out: Tensor | None = None,
    threads: int | None = None,
) -> Tensor:
    """`Normalize(mean, std)` of `warp_batch`, to the bit: float32 BxCxSxS, channels-last in memory.

    Brightness, contrast and normalisation are one table an image. `out`, BxSxSxC float32, is the memory of the result;
    used again for every batch it saves up to half of the time, which new memory costs at 224 px. `mean` and `std` are
    C numbers, or BxC, those of each image.
    """
    mover = _Mover(images, rows, parameters, size)
    result = torch.empty(mover.shape) if out is None else out
    shaded = _tables(parameters)
    levels = (LEVELS if shaded is None else shaded.astype(np.float32)).reshape(-1, 1, 256, 1)
    centre, width = (np.float32(255) * np.array(values, np.float32)[..., None, None, :] for values in (mean, std))
    _run(mover, (levels - centre) / width, result.numpy(), threads)
    return result.permute(0, 3, 1, 2)


def _tables(parameters: Parameters | None) -> np.ndarray | None:
    """Bx256 uint8, grey level -> grey level, cut off like albumentations; None where no level changes."""
    if parameters is None or ((parameters.alpha == 1).all() and (parameters.beta == 0).all()):
        return None
    return np.clip(LEVELS * parameters.alpha[:, None] + parameters.beta[:, None], 0, 255).astype(np.uint8)


class _Mover:
    """The geometry of one batch: writes image after image, from any thread."""

    def __init__(self, images: np.ndarray, rows: np.ndarray, parameters: Parameters | None, size: int) -> None:
        height, width, channels = images.shape[1:]
        # As a plain array: every slice of a memory map costs microseconds.
        self.images, self.rows, self.size = np.asarray(images), rows.tolist(), size
        self.shape, self.border = (len(rows), size, size, channels), _border((height, width), size)
        extent = np.array([width, height], np.float64)
        still = np.column_stack([np.diag(extent / size), (extent / size - 1) / 2])
        matrices = np.tile(still, (len(rows), 1, 1)) if parameters is None else parameters.matrices
        if len(matrices) != len(rows):
            raise ValueError(f"parameters of {len(matrices)} images for {len(rows)} rows")
        reach = matrices @ np.array([[0, size - 1, 0, size - 1], [0, 0, size - 1, size - 1], [1, 1, 1, 1]])
        low, high = reach.min(2), reach.max(2)
        unit = matrices[:, :, :2] * (size / extent)[:, None]
        turns = np.rint(unit)
        whole = (np.abs(unit - turns) < 1e-9).all((1, 2)) & (np.abs(np.linalg.det(turns)) == 1)
        # Flips and turns alone stay on the image.
        exact = whole & (low >= -0.5).all(1) & (high <= extent - 0.5).all(1)
        self.turns = [turn if fits else None for turn, fits in zip(turns.tolist(), exact, strict=True)]
        pads = np.stack([-np.floor(low), np.ceil(high) - extent + 1], 2).clip(0)
        pads[pads.max((1, 2)) > 2 * size] = 0
        self.matrices = matrices.copy()
        self.matrices[:, :, 2] += pads[:, :, 0]
        self.pads = pads.astype(int).tolist()

    def write(self, place: int, out: np.ndarray) -> None:
        """The image of this place in the batch into `out`, SxSxC."""
        image, turn = self.images[self.rows[place]], self.turns[place]
        channels = image.shape[2]
        if turn is not None:
            # Of equal size this is a copy.
            cv2.resize(_turned(image, turn), (self.size, self.size), dst=out, interpolation=cv2.INTER_LINEAR)
        elif channels in (1, 4):
            self._warp(image, place, out)
        elif channels == 3:
            # cv2.warpAffine is twice as fast on four channels as on three, and takes no more.
            cv2.cvtColor(self._warp(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), place), cv2.COLOR_RGBA2RGB, dst=out)
        else:
            parts = [np.zeros((*image.shape[:2], 4), np.uint8) for _ in range(0, channels, 4)]
            there = [number for channel in range(channels) for number in (channel, channel)]
            cv2.mixChannels([image], parts, there)
            cv2.mixChannels([self._warp(part, place) for part in parts], [out], there)

    def _warp(self, image: np.ndarray, place: int, out: np.ndarray | None = None) -> np.ndarray:
        (left, right), (top, bottom) = self.pads[place]
        # Outside the image cv2.warpAffine is many times slower: it is mirrored before, unless that would be huge.
        if left or right or top or bottom:
            image = cv2.copyMakeBorder(image, top, bottom, left, right, self.border)
        flags, side = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (self.size, self.size)
        return cv2.warpAffine(image, self.matrices[place], side, dst=out, flags=flags, borderMode=self.border)


def _turned(image: np.ndarray, turn: list[list[float]]) -> np.ndarray:
    """The image flipped and turned by copying pixels; `turn` as in DIHEDRAL."""
    (a, b), (c, d) = turn
    if a == 0:
        image, a, d = cv2.transpose(image), c, b
    return image if a > 0 and d > 0 else cv2.flip(image, -1 if a < 0 and d < 0 else int(a < 0))


def _border(source: tuple[int, int], size: int) -> int:
    if max(source) > size:
        raise ValueError(f"a warp of {source[0]}x{source[1]} to {size} would lose detail: pack the images at {size}")
    # albumentations mirrors about the outermost pixel centres. An enlarged image reaches half a source pixel further:
    # mirroring about its edge gives there what cv2.resize gives.
    return cv2.BORDER_REFLECT_101 if source == (size, size) else cv2.BORDER_REFLECT


def _run(mover: _Mover, tables: np.ndarray | None, out: np.ndarray, threads: int | None) -> None:
    """Write all images through their tables; this thread and helpers take them one by one."""
    # OpenCV would silently leave another array as it is.
    wanted = (mover.shape, np.dtype(np.uint8) if tables is None else tables.dtype)
    if (out.shape, out.dtype) != wanted or not out.flags.c_contiguous:
        raise ValueError(f"out is {out.dtype} {out.shape} for images of {mover.shape}")
    # The iterator of a range gives each number once, whichever thread asks.
    places = iter(range(len(out)))

    def work() -> None:
        moved = np.empty(mover.shape[1:], np.uint8)
        for place in places:
            mover.write(place, out[place] if tables is None else moved)
            if tables is not None:
                cv2.LUT(moved, tables[place % len(tables)], dst=out[place])

    helpers = min(THREADS if threads is None else threads, len(out)) - 1
    running = [_pool(os.getpid(), helpers).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        wait(running)
    [helper.result() for helper in running]


@lru_cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # By process, since threads don't live on in a fork.
    return ThreadPoolExecutor(threads, thread_name_prefix=f"warp-{process}")


class DeviceWarp(nn.Module):
    """The steps of a configuration (None: only enlarging) for a batch on its device, in float32 even under autocast."""

    def __init__(self, config: TrainConfig | None, size: int) -> None:
        super().__init__()
        self.size, self.moves, self.shades = size, False, False
        if config is not None:
            steps = (config.flip, config.rot90, config.rotate, config.zoom, config.shift, config.shear)
            self.moves, self.shades = any(steps), bool(config.brightness or config.contrast)

    def forward(self, images: Tensor, parameters: Tensor | None) -> Tensor:
        """BxHxWxC uint8 and Bx8 (`Parameters.packed`, on the same device; None: only enlarge) -> BxCxSxS float32.

        The result is whole grey levels, 0..255, channels-last in memory. Nothing waits for the device.
        """
        source = (images.shape[1], images.shape[2])
        centres = _border(source, self.size) == cv2.BORDER_REFLECT_101
        with torch.autocast(images.device.type, enabled=False):
            result = images.permute(0, 3, 1, 2).float()
            if parameters is not None and self.moves:
                result = self._move(result, parameters.float(), centres).round_()
            elif source != (self.size, self.size):
                result = F.interpolate(result, (self.size, self.size), mode="bilinear").round_()
            if parameters is not None and self.shades:
                alpha, beta = parameters[:, 6:].float().reshape(-1, 2, 1, 1, 1).unbind(1)
                result = result.mul(alpha).add_(beta).clamp_(0, 255).floor_()
            return result.contiguous(memory_format=torch.channels_last)

    def _move(self, images: Tensor, parameters: Tensor, centres: bool) -> Tensor:
        height, width = images.shape[2:]
        steps = torch.arange(self.size, device=images.device, dtype=torch.float32)
        # Not a matrix product: those lose digits where TensorFloat-32 is allowed.
        rows = parameters[:, :6].reshape(-1, 2, 3, 1, 1).unbind(2)
        x, y = (rows[0] * steps + rows[1] * steps[:, None] + rows[2]).unbind(1)
        # The mirror stands in the outermost pixels' centres or at the image's edge.
        edge = 0 if centres else 1
        grid = torch.stack([(2 * x + edge) / (width - 1 + edge) - 1, (2 * y + edge) / (height - 1 + edge) - 1], -1)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=centres)
