"""Augment whole batches: every flip, turn, zoom, shear, shift and enlargement is one warp, followed by brightness.

The same `Parameters` are applied on the CPU to packed pixels (`warp_batch`, `warp_normalized`) or to one batch on the
training device (`DeviceWarp`). Steps and ranges are the configuration's, distributions are albumentations'.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kit.config import TrainConfig
from kit.pixels.draw import Drawn, draw_steps, moves, shades
from kit.pixels.steps import DeviceSteps, DrawnStep, Step, apply

THREADS = min(4, os.cpu_count() or 1)
GROUP = ("e", "r90", "r180", "r270", "v", "hvt", "h", "t")  # albumentations' names for the elements
# Output to input, x right and y down, about the centre; in the order of GROUP.
QUARTERS = np.stack([np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turns) for turns in range(4)])
DIHEDRAL = np.concatenate([QUARTERS, np.diag([1, -1]) @ QUARTERS])
WARP_COLUMNS = 8  # of `Parameters.packed`: matrix, alpha and beta; those of further steps follow
LEVELS = np.arange(256, dtype=np.float32)
# Below this a warp is nearly singular, and mirrored coordinates would run through the image a thousand times.
SMALLEST = 0.01


@dataclass(frozen=True)
class Parameters:
    """What to do to each of B images: warp it, then multiply its grey levels by alpha and add beta.

    Args:
        matrices: Bx2x3 float64, (x, y, 1) of an output pixel's centre -> (x, y) in the input, pixels.
        alpha: B float32, contrast.
        beta: B float32, brightness, in grey levels.
        crop: share of the input's sides that the output shows before it is moved.
        further: what further steps do to each image after that.
    """

    matrices: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    crop: float = 1.0
    further: tuple[DrawnStep, ...] = ()

    def packed(self) -> np.ndarray:
        """Return Bx(8 + further) float32, one array to copy to a device beside its images.

        It holds the matrices' rows, alpha and beta, then the further steps' parameters.
        """
        further = [drawn.packed for drawn in self.further]
        return np.column_stack([self.matrices.reshape(-1, 6), self.alpha, self.beta, *further]).astype(np.float32)


def draw(config: TrainConfig, seeds: np.ndarray, source: tuple[int, int], size: int) -> Parameters:
    """Draw the parameters of B images from their B integer seeds: each from its own seed alone, in any batch.

    `source` is the height and width of the stored images, `size` the side of the output, in pixels.
    """
    return parameters_of(draw_steps(config, seeds, size), config.crop, source, size)


def parameters_of(drawn: Drawn, crop: float, source: tuple[int, int], size: int) -> Parameters:
    """Return what was drawn as one warp and one shade an image; `crop` and the sizes as in `compose`."""
    matrices = compose(drawn.element, drawn.degrees, drawn.scale, drawn.shift, drawn.shear, source, size, crop)
    # Brightness as a factor comes first, as a step of its own would; only the end is clipped.
    alpha, beta = drawn.contrast * drawn.factor, 255 * drawn.light
    return Parameters(matrices, alpha.astype(np.float32), beta.astype(np.float32), crop)


def cropped(count: int, crop: float, source: tuple[int, int], size: int) -> Parameters:
    """Return the parameters of B images that are only cropped."""
    none, no = np.zeros(count), np.zeros((count, 2))
    drawn = Drawn(np.zeros(count, np.intp), none, no + 1, no, no, none + 1, none, none + 1)
    return parameters_of(drawn, crop, source, size)


@dataclass(frozen=True)
class Steps:
    """All steps of a run.

    Args:
        config: the configuration, whose own steps are done as one warp and one shade.
        further: the steps of plugins, which come after them.
    """

    config: TrainConfig
    further: tuple[Step, ...] = ()


def steps_of(
    steps: Steps | None, seeds: np.ndarray, count: int, crop: float, source: tuple[int, int, int], size: int
) -> Parameters | None:
    """Return what to do to `count` images of `source`, HxWxC (without steps, no seeds); None: only enlarge them."""
    sides = (source[0], source[1])
    if steps is None:
        return None if crop == 1 else cropped(count, crop, sides, size)
    drawn = draw(steps.config, seeds, sides, size)
    further = tuple(step.draw(seeds, size, source[2]) for step in steps.further)
    return replace(drawn, further=further) if further else drawn


def compose(
    element: np.ndarray,
    degrees: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    shear: np.ndarray,
    source: tuple[int, int],
    size: int,
    crop: float = 1.0,
) -> np.ndarray:
    """Compose cropping and resizing, then `A.D4`, then `A.Affine`, into one Bx2x3 from output to source pixels.

    Args:
        element, degrees: B indices into `GROUP`; B angles, counter-clockwise.
        scale: Bx2, factors in x and y; above 1 enlarges.
        shift: Bx2, to the right and down, output pixels.
        shear: Bx2, degrees, with the sign of `A.Affine`.
        source, size: as in `draw`.
        crop: share of each of the input's sides; what lies beyond it comes into sight when it is turned or moved there.
    """
    turn, slant = np.deg2rad(degrees), -np.tan(np.deg2rad(shear))
    cos, sin, one = np.cos(turn), np.sin(turn), np.ones_like(turn)
    area = 1 - slant[:, 0] * slant[:, 1]
    area = np.where(np.abs(area) < SMALLEST, SMALLEST, area) * np.maximum(scale, SMALLEST).T
    unsheared = np.stack([one, -slant[:, 0], -slant[:, 1], one], -1).reshape(-1, 2, 2)
    unturned = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    inverse = unturned @ unsheared / area.T[:, :, None]
    extent = np.array([source[1], source[0]], np.float64)
    linear = DIHEDRAL[element] @ inverse * (crop * extent / size)[:, None]
    offset = (extent - 1) / 2 - (linear @ ((size - 1) / 2 + shift)[..., None])[..., 0]
    return np.concatenate([linear, offset[..., None]], -1)


def gather(images: np.ndarray, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Copy rows of NxHxWxC uint8 to BxHxWxC, into `out` if given; with a GPU, this is all the CPU does to pixels."""
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
    """Augment rows of the stored images on the CPU; the number of threads does not change the result.

    Args:
        images: NxHxWxC uint8, no side longer than `size`; may be memory-mapped.
        rows, size: B indices into `images`; side of the output, pixels.
        parameters: drawn for images of HxW and this size; None: only enlarge, as cv2.resize does.
        out: memory for the result, BxSxSxC uint8.
        threads: None: one per core, at most four.
    """
    mover = _Mover(images, rows, parameters, size)
    result = np.empty(mover.shape, np.uint8) if out is None else out
    shaded, further = _tables(parameters), _further(parameters)
    _run(mover, further, shaded if further else None, None if further else shaded, result, threads)
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
    """Return `Normalize(mean, std)` of `warp_batch`, bit for bit: float32 BxCxSxS, channels-last in memory.

    Brightness, contrast and normalisation are one table per image. `out`, BxSxSxC float32, is memory for the result:
    reusing it for every batch saves up to half the time, which new memory costs at 224 px. `mean` and `std` are C
    numbers, or BxC, one row per image.
    """
    mover = _Mover(images, rows, parameters, size)
    result = torch.empty(mover.shape) if out is None else out
    shaded, further = _tables(parameters), _further(parameters)
    # Further steps come between shades and normalisation.
    levels = (LEVELS if shaded is None or further else shaded.astype(np.float32)).reshape(-1, 1, 256, 1)
    centre, width = (np.float32(255) * np.array(values, np.float32)[..., None, None, :] for values in (mean, std))
    _run(mover, further, shaded if further else None, (levels - centre) / width, result.numpy(), threads)
    return result.permute(0, 3, 1, 2)


def _tables(parameters: Parameters | None) -> np.ndarray | None:
    """Return Bx256 uint8, grey level -> grey level, clipped as albumentations does; None if no level changes."""
    if parameters is None or ((parameters.alpha == 1).all() and (parameters.beta == 0).all()):
        return None
    return np.clip(LEVELS * parameters.alpha[:, None] + parameters.beta[:, None], 0, 255).astype(np.uint8)


def _further(parameters: Parameters | None) -> tuple[DrawnStep, ...]:
    return () if parameters is None else parameters.further


class _Mover:
    """The geometry of one batch; writes one image at a time, from any thread."""

    def __init__(self, images: np.ndarray, rows: np.ndarray, parameters: Parameters | None, size: int) -> None:
        height, width, channels = images.shape[1:]
        # A plain array, because every slice of a memory map costs microseconds.
        self.images, self.rows, self.size = np.asarray(images), rows.tolist(), size
        crop = 1.0 if parameters is None else parameters.crop
        self.shape, self.border = (len(rows), size, size, channels), _border((height, width), size, crop)
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
        # Only flips and turns without a shift stay on the image.
        exact = whole & (low >= -0.5).all(1) & (high <= extent - 0.5).all(1)
        self.turns = [turn if fits else None for turn, fits in zip(turns.tolist(), exact, strict=True)]
        pads = np.stack([-np.floor(low), np.ceil(high) - extent + 1], 2).clip(0)
        pads[pads.max((1, 2)) > 2 * size] = 0
        self.matrices = matrices.copy()
        self.matrices[:, :, 2] += pads[:, :, 0]
        self.pads = pads.astype(int).tolist()

    def write(self, place: int, out: np.ndarray) -> None:
        """Write the image at this place in the batch to `out`, SxSxC."""
        image, turn = self.images[self.rows[place]], self.turns[place]
        channels = image.shape[2]
        if turn is not None:
            # At equal size this is a copy.
            cv2.resize(_turned(image, turn), (self.size, self.size), dst=out, interpolation=cv2.INTER_LINEAR)
        elif channels in (1, 4):
            self._warp(image, place, out)
        elif channels == 3:
            # cv2.warpAffine takes at most four channels, and is twice as fast on four as on three.
            cv2.cvtColor(self._warp(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), place), cv2.COLOR_RGBA2RGB, dst=out)
        else:
            fours = [np.zeros((*image.shape[:2], 4), np.uint8) for _ in range(0, channels, 4)]
            pairs = [number for channel in range(channels) for number in (channel, channel)]
            cv2.mixChannels([image], fours, pairs)
            cv2.mixChannels([self._warp(four, place) for four in fours], [out], pairs)

    def _warp(self, image: np.ndarray, place: int, out: np.ndarray | None = None) -> np.ndarray:
        (left, right), (top, bottom) = self.pads[place]
        # cv2.warpAffine is many times slower outside the image: add mirrored borders first, unless they would be huge.
        if left or right or top or bottom:
            image = cv2.copyMakeBorder(image, top, bottom, left, right, self.border)
        flags, side = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (self.size, self.size)
        return cv2.warpAffine(image, self.matrices[place], side, dst=out, flags=flags, borderMode=self.border)


def _turned(image: np.ndarray, turn: list[list[float]]) -> np.ndarray:
    """Flip and turn the image by copying pixels; `turn` as in DIHEDRAL."""
    (a, b), (c, d) = turn
    if a == 0:
        # cv2.transpose knows no pixels of 5, 7 or 9 bytes.
        image, a, d = np.ascontiguousarray(image.swapaxes(0, 1)) if image.shape[2] > 4 else cv2.transpose(image), c, b
    return image if a > 0 and d > 0 else cv2.flip(image, -1 if a < 0 and d < 0 else int(a < 0))


def _border(source: tuple[int, int], size: int, crop: float = 1.0) -> int:
    if max(source) * crop > size + 0.5:  # a share rounds the side to pack at
        raise ValueError(f"a warp of {source[0]}x{source[1]} to {size} would lose detail: pack the images at {size}")
    # albumentations mirrors about the outermost pixel centres. An enlarged image extends half a source pixel further;
    # there, mirroring about its edge gives what cv2.resize gives.
    return cv2.BORDER_REFLECT_101 if min(source) >= size else cv2.BORDER_REFLECT


def _run(
    mover: _Mover,
    further: Sequence[DrawnStep],
    shaded: np.ndarray | None,
    tables: np.ndarray | None,
    out: np.ndarray,
    threads: int | None,
) -> None:
    """Write all images through their tables; this thread and its helpers take them one by one.

    With further steps, images go through `shaded`, the steps and `tables` in turn, otherwise through `tables` alone.
    """
    # OpenCV would silently leave an array of another shape or type as it is.
    wanted = (mover.shape, np.dtype(np.uint8) if tables is None else tables.dtype)
    if (out.shape, out.dtype) != wanted or not out.flags.c_contiguous:
        raise ValueError(f"out is {out.dtype} {out.shape} for images of {mover.shape}")
    # The iterator of a range yields each number once, whichever thread asks.
    places = iter(range(len(out)))

    def work() -> None:
        moved = np.empty(mover.shape[1:], np.uint8)
        for place in places:
            mover.write(place, out[place] if tables is None and not further else moved)
            image = moved
            if further:
                image = moved if shaded is None else cv2.LUT(moved, shaded[place % len(shaded)]).reshape(moved.shape)
                image = apply(further, image, place)
            if tables is not None:
                cv2.LUT(image, tables[place % len(tables)], dst=out[place])
            elif further:
                out[place] = image

    helpers = min(THREADS if threads is None else threads, len(out)) - 1
    running = [_pool(os.getpid(), helpers).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        wait(running)
    [helper.result() for helper in running]


@lru_cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # One pool per process, because threads don't survive a fork.
    return ThreadPoolExecutor(threads, thread_name_prefix=f"warp-{process}")


class DeviceWarp(nn.Module):
    """Apply a configuration's own steps (None: only crop, enlarge) to a batch on its device, always in float32."""

    def __init__(self, config: TrainConfig | None, size: int, crop: float = 1.0) -> None:
        super().__init__()
        self.size, self.crop = size, crop
        self.moves = crop < 1 or (config is not None and moves(config))
        self.shades = config is not None and shades(config)
        self._known: dict[tuple[int, int, int, torch.device], tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, images: Tensor, parameters: Tensor | None) -> Tensor:
        """Warp BxHxWxC uint8 by `Parameters.packed` (on the same device; None: only enlarge) -> BxCxSxS float32.

        The result is whole grey levels, 0..255, channels-last in memory. Nothing waits for the device.
        """
        source = (images.shape[1], images.shape[2])
        centres = _border(source, self.size, self.crop) == cv2.BORDER_REFLECT_101
        with torch.autocast(images.device.type, enabled=False):
            result = images.permute(0, 3, 1, 2).float()
            if parameters is not None and self.moves:
                result = self._move(result, parameters, centres).round_()
            elif source != (self.size, self.size):
                result = F.interpolate(result, (self.size, self.size), mode="bilinear").round_()
            if parameters is not None and self.shades:
                alpha, beta = parameters[:, 6:WARP_COLUMNS, None, None, None].unbind(1)
                result = result.mul_(alpha).add_(beta).clamp_(0, 255).floor_()
            return result.contiguous(memory_format=torch.channels_last)

    def _move(self, images: Tensor, parameters: Tensor, centres: bool) -> Tensor:
        height, width = images.shape[2:]
        # Mirror about the outermost pixels' centres or about the image's edge. grid_sample counts from -1 to 1.
        edge = 0 if centres else 1
        scale, start, steps = self._constants(height, width, edge, images.device)
        # Not a matrix product, which loses digits where TensorFloat-32 is allowed.
        across, down, place = torch.addcmul(start, parameters[:, :6].view(-1, 2, 3), scale)[:, None, None].unbind(4)
        grid = torch.addcmul(torch.addcmul(place, down, steps[:, None, None]), across, steps[:, None])
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=centres)

    def _constants(self, height: int, width: int, edge: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return factors and summands 2x1 and 2x3 from pixels to what grid_sample counts, and the output's steps."""
        key = (height, width, edge, device)
        if key not in self._known:
            self._known[key] = _constants(height, width, edge, self.size, device)
        return self._known[key]


class DeviceAugment(nn.Module):
    """Apply all steps of a run (None: only crop, enlarge) to a batch on its device.

    Args:
        steps: the run's steps.
        size, crop: as in `DeviceWarp`.
        channels: C.
    """

    def __init__(self, steps: Steps | None, size: int, crop: float, channels: int) -> None:
        super().__init__()
        self.warp = DeviceWarp(None if steps is None else steps.config, size, crop)
        self.further = DeviceSteps(steps.further if steps else (), size, channels)

    def forward(self, images: Tensor, parameters: Tensor | None) -> Tensor:
        """BxHxWxC uint8 and `Parameters.packed` -> BxCxSxS float32 of whole grey levels, channels-last in memory."""
        moved: Tensor = self.warp(images, parameters)
        return moved if parameters is None else self.further(moved, parameters[:, WARP_COLUMNS:])


def _constants(height: int, width: int, edge: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    extent = torch.tensor([[width - 1 + edge], [height - 1 + edge]], dtype=torch.float32)
    start = torch.zeros(2, 3)
    start[:, 2:] = edge / extent - 1
    return (2 / extent).to(device), start.to(device), torch.arange(size, dtype=torch.float32, device=device)
