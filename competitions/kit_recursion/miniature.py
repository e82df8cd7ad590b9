"""Draw a synthetic miniature in the real layout: siRNAs change how cells look, and so do experiments.

A handful of knobs sets the look of a well: how many cells there are, how large their nuclei are, how strong the ER's
stain is, how clumped the mitochondria are. A siRNA turns a few of them by its own amounts, a little differently in each
cell type. Each experiment turns all of them by its own amounts (a batch effect: density, stains, reagents) and has its
own optics; each plate turns them a little more. So the same siRNA looks different in the next experiment, while wells
of one experiment are comparable: a network that has seen other wells of an experiment does far better than on a new
experiment, and normalisation by experiment removes much of that difference.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kit_recursion.dataset import CELL_TYPES, NEGATIVE, SITES

SIDE = 64
GROUPS, GROUP = 4, 8  # groups of siRNAs, one per plate, and siRNAs per group
TRAIN = {"HEPG2": 3, "HUVEC": 3, "RPE": 3, "U2OS": 3}  # number of experiments
TEST = {"HEPG2": 1, "HUVEC": 1, "RPE": 1, "U2OS": 1}
WELLS = [row + column for row in "BCD" for column in ("02", "03", "04", "05")]
UNTREATED, EMPTY = "UNTREATED", "B02"
POSITIVE_WELLS = ("B05", "C03", "D04")
KNOBS = (
    "count",
    "spread",
    "nucleus",
    "dna",
    "er",
    "er_reach",
    "actin",
    "fibres",
    "nucleoli",
    "rna",
    "mito",
    "clumps",
    "golgi",
    "golgi_spread",
)
STAINS = ("dna", "er", "actin", "rna", "mito", "golgi")  # the knob for the strength of each channel
BRIGHTNESS = 0.8 * np.array([42, 75, 50, 110, 60, 110])  # per channel, grey levels
ACTIVE, EFFECT = 4, 1.8  # number of knobs that a siRNA turns, and how far
BATCH, PLATE = 1.0, 0.25  # how far an experiment and a plate turn each knob (standard deviations)
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 13)), np.sin(np.linspace(0, 2 * np.pi, 13))], -1)
SUBPIXEL = 4  # bits: cv2 draws with a precision of 1/16 pixel
AROUND = np.ones((3, 3), np.uint8)
WELL = ["id_code", "experiment", "plate", "well"]


@dataclass(frozen=True)
class Kind:
    """A cell type: cells per site, radius of cell and nucleus in pixels, elongation, share of cells that cluster."""

    count: float
    radius: float
    nucleus: float
    longer: float
    colony: float


KINDS = {
    "HEPG2": Kind(15, 9, 4.2, 1.05, 1.0),
    "HUVEC": Kind(11, 11, 4.4, 1.5, 0.0),
    "RPE": Kind(9, 13, 5.2, 1.2, 0.3),
    "U2OS": Kind(8, 12, 5.6, 1.3, 0.0),
}


@dataclass(frozen=True)
class Optics:
    """An experiment's microscope: haze and noise per channel, blur in pixels, tilt of the light along y and x."""

    haze: np.ndarray
    noise: np.ndarray
    blur: float
    tilt: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Optics":
        """Draw one at random."""
        return cls(rng.uniform(1, 8, 6), rng.uniform(0.4, 1.6, 6), rng.uniform(0.35, 0.8), rng.normal(0, 0.2, 2))


@dataclass(frozen=True)
class Library:
    """The siRNAs: names (treatments by group, then positive controls), effects on the knobs, strength by cell type."""

    names: list[str]
    effects: np.ndarray
    strengths: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Library":
        """Draw siRNAs whose numbers have gaps and do not follow the groups, like the real ones."""
        count = GROUPS * GROUP + len(POSITIVE_WELLS)
        names = [f"sirna_{number}" for number in rng.choice(1138, count, replace=False)]
        effects = np.zeros((count, len(KNOBS)))
        for effect in effects:
            turned = rng.choice(len(KNOBS), ACTIVE, replace=False)
            effect[turned] = EFFECT * rng.uniform(0.7, 1.3, ACTIVE) * rng.choice([-1, 1], ACTIVE)
        return cls(names, effects, rng.uniform(0.6, 1.4, (len(CELL_TYPES), count, len(KNOBS))))


def write_miniature(root: Path, seed: int) -> None:
    """Write 12 training and 4 test experiments with their csv files to `root`; equal seeds give equal bytes.

    The truth of the test wells goes to `.kit/sample_test_labels.csv`, outside the real layout.
    """
    library = Library.draw(np.random.default_rng([seed, 0]))
    wells: dict[str, list[tuple[object, ...]]] = {"train": [], "test": []}
    statistics: list[tuple[object, ...]] = []
    number = 0
    for cell_type in CELL_TYPES:
        for own in range(TRAIN[cell_type] + TEST[cell_type]):
            number += 1
            split = "train" if own < TRAIN[cell_type] else "test"
            rng = np.random.default_rng([seed, number])
            for well, measured in _experiment(root / split, f"{cell_type}-{own + 1:02}", library, rng):
                wells[split].append(well)
                statistics += measured
    _write_tables(root, wells, library.names[0])
    columns = [*WELL, "site", "channel", "mean", "std", "median", "min", "max"]
    _write_csv(root / "pixel_stats.csv", pd.DataFrame(statistics, columns=columns))


def _experiment(
    folder: Path, name: str, library: Library, rng: np.random.Generator
) -> Iterator[tuple[tuple[object, ...], list[tuple[object, ...]]]]:
    """Write an experiment's images; yield each well's row and the rows of its images' statistics."""
    cell_type = name.rsplit("-", 1)[0]
    batch, optics = BATCH * rng.normal(size=len(KNOBS)), Optics.draw(rng)
    rotation = int(rng.integers(GROUPS))
    for plate in range(GROUPS):
        on_plate = batch + PLATE * rng.normal(size=len(KNOBS))
        place = folder / name / f"Plate{plate + 1}"
        place.mkdir(parents=True, exist_ok=True)
        for well, sirna in _layout(rng, (plate + rotation) % GROUPS).items():
            knobs, label, kind = on_plate, UNTREATED, NEGATIVE
            if sirna is not None:
                knobs = on_plate + library.effects[sirna] * library.strengths[CELL_TYPES.index(cell_type), sirna]
                label = library.names[sirna]
                kind = "treatment" if sirna < GROUPS * GROUP else "positive_control"
            row = (f"{name}_{plate + 1}_{well}", name, plate + 1, well)
            measured: list[tuple[object, ...]] = []
            for site in SITES:
                image = draw_site(rng, KINDS[cell_type], dict(zip(KNOBS, knobs.tolist(), strict=True)), optics)
                for channel, grey in enumerate(image, 1):
                    png = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
                    (place / f"{well}_s{site}_w{channel}.png").write_bytes(png.tobytes())
                    values = (grey.mean(), grey.std(), np.median(grey), grey.min(), grey.max())
                    measured.append((*row, site, channel, *values))
            yield (*row, label, kind), measured


def _layout(rng: np.random.Generator, group: int) -> dict[str, int | None]:
    """Return the siRNA in each well of a plate: controls in fixed wells, the group's treatments shuffled in others."""
    held: dict[str, int | None] = {EMPTY: None}
    held |= {well: GROUPS * GROUP + number for number, well in enumerate(POSITIVE_WELLS)}
    free = [well for well in WELLS if well not in held]
    held |= dict(zip(free, (group * GROUP + rng.permutation(GROUP)).tolist(), strict=True))
    return {well: held[well] for well in WELLS}


def _write_tables(root: Path, wells: dict[str, list[tuple[object, ...]]], example: str) -> None:
    for split, rows in wells.items():
        table = pd.DataFrame(rows, columns=[*WELL, "sirna", "well_type"])
        treated = table["well_type"] == "treatment"
        _write_csv(root / f"{split}_controls.csv", table[~treated])
        treatments = table[treated].drop(columns="well_type")
        if split == "train":
            _write_csv(root / "train.csv", treatments)
            continue
        _write_csv(root / "test.csv", treatments.drop(columns="sirna"))
        _write_csv(root / ".kit" / "sample_test_labels.csv", treatments[["id_code", "sirna"]])
        _write_csv(root / "sample_submission.csv", treatments[["id_code"]].assign(sirna=example))


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, lineterminator="\n", float_format="%.4f")


@dataclass(frozen=True)
class Field:
    """The layout of the cells of a site.

    For N cells: `centres` Nx2 and `radii` N of nuclei, pixels; `axes` N, angles. Maps are SIDExSIDE: `owner` is the
    number of the cell, -1 on the glass; `edge` is the depth inside the cell's outline, pixels; `nuclear` is the depth
    inside the nucleus, pixels, negative outside; `fill` (nuclei) and `cytoplasm` are in 0..1.
    """

    rng: np.random.Generator
    centres: np.ndarray
    radii: np.ndarray
    axes: np.ndarray
    owner: np.ndarray
    edge: np.ndarray
    nuclear: np.ndarray
    fill: np.ndarray
    cytoplasm: np.ndarray


def draw_site(rng: np.random.Generator, kind: Kind, knobs: dict[str, float], optics: Optics) -> np.ndarray:
    """Draw one site as 6xSIDExSIDE uint8: nuclei, ER, actin, nucleoli, mitochondria, Golgi apparatus."""
    field = lay_out(rng, kind, knobs)
    cytoplasm = field.cytoplasm
    # Each cell takes up its own amount of each stain.
    uptake = np.exp(0.15 * rng.normal(size=(6, len(field.centres) + 1)))[:, field.owner]
    dna = field.fill * (1 + 0.15 * _noise(rng, 0.9))
    net = np.exp(-((_noise(rng, 1.3) / 0.6) ** 2))
    er = cytoplasm * np.exp(field.nuclear / (5 * math.exp(0.3 * knobs["er_reach"]))) * (0.5 + net)
    cortex = np.exp(-((field.edge / 1.1) ** 2)) * (field.owner >= 0)
    actin = 0.5 * cortex + 0.15 * cytoplasm + 0.55 * math.exp(0.4 * knobs["fibres"]) * _fibres(field)
    nucleoli = 0.9 * _nucleoli(field, knobs["nucleoli"]) + 0.2 * cytoplasm + 0.25 * field.fill
    worms = np.clip(_noise(rng, 1.1 * math.exp(0.25 * knobs["clumps"])) * 0.9 - 0.1, 0, 2)
    mitochondria = cytoplasm * worms * np.exp(field.nuclear / 7)
    golgi = 0.9 * _golgi(field, knobs["golgi_spread"]) + 0.2 * cytoplasm
    light = np.stack([dna, er, actin, nucleoli, mitochondria, golgi]) * uptake
    light *= (BRIGHTNESS * np.exp(0.22 * np.array([knobs[name] for name in STAINS])))[:, None, None]
    ramp = np.linspace(-1, 1, SIDE)
    light *= 1 + optics.tilt[0] * ramp[:, None] + optics.tilt[1] * ramp
    grey = np.stack([cv2.GaussianBlur(channel, (0, 0), optics.blur) for channel in light]) + optics.haze[:, None, None]
    grey += rng.standard_normal(grey.shape) * (optics.noise[:, None, None] + 0.15 * np.sqrt(grey))
    return np.clip(grey, 0, 255).round().astype(np.uint8)


def lay_out(rng: np.random.Generator, kind: Kind, knobs: dict[str, float]) -> Field:
    """Lay out cells, as many and as large as the knobs say; they divide the space by distance, bent by noise."""
    wanted = int(kind.count * math.exp(0.2 * knobs["count"]) + rng.random())
    radius, nucleus = kind.radius * math.exp(0.1 * knobs["spread"]), kind.nucleus * math.exp(0.1 * knobs["nucleus"])
    centres = _places(rng, kind, wanted, 2.1 * nucleus)
    x, y = centres.T.astype(np.float32)[:, :, None, None]
    radii = (nucleus * rng.uniform(0.88, 1.12, len(centres))).astype(np.float32)
    bend_x, bend_y = _noise(rng, 5), _noise(rng, 5)
    column, row = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32))
    axes = rng.uniform(0, np.pi) + rng.normal(0, 0.5, len(centres))
    cos, sin = (turn(axes).astype(np.float32)[:, None, None] for turn in (np.cos, np.sin))

    def reach(bend: float, longer: float) -> np.ndarray:
        east, south = column + bend * bend_x - x, row + bend * bend_y - y
        return np.asarray(np.hypot((east * cos + south * sin) / longer, (south * cos - east * sin) * longer))

    distance = reach(1.5, kind.longer)
    owner = np.where(distance.min(0) < radius, distance.argmin(0), -1).astype(np.int16)
    inner = (cv2.erode(owner, AROUND) == cv2.dilate(owner, AROUND)) & (owner >= 0)
    edge = cv2.distanceTransform(inner.astype(np.uint8), cv2.DIST_L2, 5)
    nuclear = (radii[:, None, None] - reach(0.5, 1 + (kind.longer - 1) / 2)).max(0)
    fill = np.clip(nuclear + 0.5, 0, 1)
    return Field(rng, centres, radii, axes, owner, edge, nuclear, fill, np.clip(edge, 0, 1) * (1 - fill))


def _places(rng: np.random.Generator, kind: Kind, wanted: int, apart: float) -> np.ndarray:
    """Place the centres of cells, Nx2: beside another cell if the kind clusters, otherwise anywhere."""
    centres = [rng.uniform(0, SIDE, 2)]
    for _ in range(400):
        if len(centres) >= wanted:
            break
        if rng.random() < kind.colony:
            step = 2.4 * kind.nucleus * _direction(rng.uniform(0, 2 * np.pi))
            point = centres[rng.integers(len(centres))] + step
        else:
            point = rng.uniform(-4, SIDE + 4, 2)
        inside = point.min() >= -4 and point.max() <= SIDE + 4
        if inside and min(math.dist(point, other) for other in centres) > apart:
            centres.append(point)
    return np.array(centres)


def _direction(angle: float) -> np.ndarray:
    return np.array([math.cos(angle), math.sin(angle)])


def _noise(rng: np.random.Generator, grain: float) -> np.ndarray:
    """Return smooth noise with mean 0, standard deviation 1 and a grain of about `grain` pixels."""
    values = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE), np.float32), (0, 0), grain)
    return np.asarray((values - values.mean()) / values.std())


def _dot(canvas: np.ndarray, point: np.ndarray, radius: float, level: int) -> None:
    # A polygon, because cv2 draws small circles as squares.
    fixed = np.rint((point + radius * CIRCLE) * 2**SUBPIXEL).astype(np.int32)
    cv2.fillConvexPoly(canvas, fixed, level, cv2.LINE_AA, SUBPIXEL)


def _nucleoli(field: Field, more: float) -> np.ndarray:
    """Draw some bright spots in each nucleus, 0..1."""
    canvas, rng = np.zeros((SIDE, SIDE), np.uint8), field.rng
    for centre, radius in zip(field.centres, field.radii, strict=True):
        for _ in range(int(2.5 * math.exp(0.35 * more) + rng.random())):
            angle, distance = rng.uniform(0, 2 * np.pi), radius * 0.7 * math.sqrt(rng.random())
            _dot(canvas, centre + distance * _direction(angle), rng.uniform(0.8, 1.2), int(rng.integers(180, 256)))
    return canvas / 255


def _golgi(field: Field, spread: float) -> np.ndarray:
    """Draw dots on one side of each nucleus, close together or spread around it, 0..1."""
    canvas, rng = np.zeros((SIDE, SIDE), np.uint8), field.rng
    sides, wide = rng.uniform(0, 2 * np.pi, len(field.centres)), 0.55 * math.exp(0.35 * spread)
    for centre, radius, side in zip(field.centres, field.radii, sides, strict=True):
        for _ in range(7):
            angle, distance = side + rng.normal(0, wide), radius + rng.uniform(0.8, 1.2 + 2.5 * wide)
            _dot(canvas, centre + distance * _direction(angle), 0.8, int(rng.integers(150, 256)))
    return canvas / 255


def _fibres(field: Field) -> np.ndarray:
    """Draw stress fibres along each cell, 0..1."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for number, (centre, axis) in enumerate(zip(field.centres, field.axes, strict=True)):
        canvas, along = np.zeros((SIDE, SIDE), np.uint8), _direction(axis)
        across = np.array([-along[1], along[0]])
        for offset in np.arange(-14, 15, 3.2) + field.rng.normal(0, 0.5, 10):
            ends = field.rng.uniform((-15, 5), (-5, 15))[:, None] * along
            fixed = np.rint((centre + offset * across + ends) * 2**SUBPIXEL).astype(np.int32)
            cv2.polylines(canvas, [fixed], False, 255, 1, cv2.LINE_AA, SUBPIXEL)
        total += np.where(field.owner == number, canvas, 0)
    return np.asarray(total / 255 * np.clip(field.edge, 0, 1))
