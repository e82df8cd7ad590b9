"""Draw a synthetic miniature in the real layout: cells in four colours of light, the green one shows the labels.

First a field of cells is laid out, independent of the labels: where each cell and its nucleus are. Then the blue, red
and yellow light is drawn as context, and the green light as the sum of one pattern per label. Each pattern lies in the
cell as its organelle does: a filled nucleus, its rim, spots inside, dots or worms or fibres around it, the cell's
outline. Labels co-occur as in the real data, rare ones more often than there. Some fields are twice in the training
set, photographed again with a small shift.
"""

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kit_protein.dataset import CLASSES, COLOURS

SIDE = 128
TRAIN, TEST = 1000, 200
TWINS = 20  # training images that are a second photograph of another one's field
LEAST = {"train": 12, "test": 2}  # smallest number of images per class
SHIFT = 2  # largest shift of a second photograph, pixels
CANVAS = SIDE + 2 * SHIFT
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 17)), np.sin(np.linspace(0, 2 * np.pi, 17))], -1)
SUBPIXEL = 4  # bits: cv2 draws with a precision of 1/16 pixel
AROUND = np.ones((3, 3), np.uint8)
# Frequencies are compressed by this power, or no image of a thousand would show Rods & rings.
POWER = 0.7
# Label sets of the 31,072 real training images with their counts: the frequent ones, and those of rare classes.
LABEL_SETS = """
0:2414 0+25:1998 23:1653 25:1470 7:1163 4:1077 21:1058 0+2:996 5:983 2:808 0+21:769 0+7:668 3:654 6:622 11:601
0+23:572 19:522 14:484 0+5:479 21+25:425 0+19:395 0+3:383 5+25:350 0+1:317 18:314 2+25:301 1:271 4+25:269
0+2+25:257 12:232 22:213 0+21+25:206 0+22:192 7+25:173 13:157 0+18:153 0+11:150 0+7+25:144 0+5+25:143 18+25:143
19+25:136 26:134 3+25:132 0+14:129 2+23:128 24:122 0+1+25:102 23+25:101 1+25:101 20:98 0+3+25:96 14+25:91
0+19+25:91 0+12:84 0+26:81 6+25:80 4+21:76 0+16:75 0+2+7:75 0+4:75 2+21:75 21+22:72 0+18+25:71 2+7:71 0+16+25:70
12+25:68 0+13:67 11+25:66 5+21:64 0+23+25:61 1+2:60 13+21:57 12+21:55 0+2+23:54 0+7+21:52 0+6:52 13+25:50 0+1+2:45
4+23:44 5+7:44 0+24:42 0+2+21:41 2+14:40 7+21:38 0+22+25:38 0+12+25:38 2+6+25:37 2+11:36 22+25:36 0+20:36
0+5+21:35 24+25:35 25+26:35 0+13+25:32 8:31 0+11+25:31 1+23:31 14+16:30 3+23:29 2+6:29 16+25:29 0+2+21+25:28
0+2+22:27 5+23:27 16:27 3+7:26 1+4:26 0+5+7:25 5+24:24 19+23:24 5+14:23 19+21:23 12+21+25:22 17+25:22 6+21:22
7+16:19 18+21:18 14+16+17:18 0+2+11+25:18 9+10:17 13+21+25:17 9:17 4+26:16 11+24:16 0+17+25:15 14+17:15
0+16+17+25:15 0+16+17+18:14 0+20+23:14 0+17:14 0+24+25:13 6+9+10:11 2+8:10 2+15+16:9 0+25+26:9 21+25+26:8 0+5+15:8
6+20:6 0+2+20:5 0+8:5 3+8:4 20+25:4 0+5+27:4 0+15:3 23+27:2 0+27:2 8+21+25:2 0+2+15:1 4+19+27:1 2+7+8:1
0+2+7+13+25:1 0+2+27:1 4+13+21+22+25:1 27:1
"""


def write_miniature(root: Path, seed: int) -> None:
    """Write 1,000 training and 200 test images of four files each with their csv files; equal seeds give equal bytes.

    The truth of the test set goes to `.kit/sample_test_labels.csv`, outside the real layout.
    """
    truth: dict[str, dict[str, str]] = {}
    for number, (split, count, twins) in enumerate((("train", TRAIN, TWINS), ("test", TEST, 0))):
        rng = np.random.default_rng([seed, number])
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        targets: dict[str, str] = {}
        for row, labels in enumerate(choose_labels(rng, count - twins, LEAST[split])):
            light = draw_light(rng, labels)
            aside = rng.integers(1, SHIFT + 1, 2) * rng.choice([-1, 1], 2)
            for shift in ((0, 0), tuple(aside)) if row < twins else ((0, 0),):
                id_ = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed} {split} {len(targets)}"))
                targets[id_] = " ".join(map(str, labels))
                for colour, channel in zip(COLOURS, photograph(rng, light, shift), strict=True):
                    png = cv2.imencode(".png", channel, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
                    (folder / f"{id_}_{colour}.png").write_bytes(png.tobytes())
        truth[split] = dict(sorted(targets.items()))
    _write_csv(root / "train.csv", "Target", truth["train"])
    _write_csv(root / "sample_submission.csv", "Predicted", dict.fromkeys(truth["test"], "0"))
    _write_csv(root / ".kit" / "sample_test_labels.csv", "Target", truth["test"])


def choose_labels(rng: np.random.Generator, count: int, least: int) -> list[tuple[int, ...]]:
    """Choose real label sets for `count` images, in random order; every class gets at least `least` images."""
    entries = [entry.split(":") for entry in LABEL_SETS.split()]
    sets = [tuple(map(int, labels.split("+"))) for labels, _ in entries]
    weights = np.array([float(number) ** POWER for _, number in entries])
    has = np.array([[label in labels for label in range(len(CLASSES))] for labels in sets])
    chosen = np.zeros(0, int)
    for label in np.argsort(weights @ has):
        lacking = max(0, least - has[chosen, label].sum())
        own = weights * has[:, label]
        chosen = np.append(chosen, rng.choice(len(sets), lacking, p=own / own.sum()))
    chosen = np.append(chosen, rng.choice(len(sets), count - len(chosen), p=weights / weights.sum()))
    return [sets[row] for row in rng.permutation(chosen)]


def draw_light(rng: np.random.Generator, labels: tuple[int, ...]) -> np.ndarray:
    """Draw the red, green, blue and yellow light of a new field, 4xCANVASxCANVAS, about 0..1, without noise."""
    field = lay_out(rng)
    red = 0.8 * _microtubules(field) + 0.25 * field.cytoplasm * np.exp(field.nuclear / 10)
    blue = field.fill * (0.8 + 0.12 * _noise(rng, 2))
    yellow = 0.6 * _reticulum(field) + 0.4 * field.cytoplasm * np.exp(field.nuclear / 8)
    green = sum(rng.uniform(0.6, 1) * PATTERNS[label](field) for label in labels)
    # Neighbouring cells express a protein in different amounts.
    return np.stack([red, green * rng.uniform(0.7, 1, len(field.cells) + 1)[field.owner], blue, yellow])


def photograph(rng: np.random.Generator, light: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """Photograph the light, moved by `shift` pixels, with random focus, gain and noise; return 4x128x128 uint8."""
    x, y = SHIFT + shift[0], SHIFT + shift[1]
    focus = rng.uniform(0.4, 0.8)
    seen = [cv2.GaussianBlur(channel[y : y + SIDE, x : x + SIDE], (0, 0), focus) for channel in light]
    gain, glow = rng.uniform(150, 250, (4, 1, 1)), rng.uniform(2, 12, (4, 1, 1))
    grey = glow + gain * np.stack(seen)
    grey += rng.standard_normal(grey.shape, np.float32) * (1.5 + 0.5 * np.sqrt(grey))
    return np.clip(grey, 0, 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Cell:
    """A cell: centre (x, y) and radius of its nucleus in pixels, and the angle of the side with its Golgi apparatus."""

    centre: np.ndarray
    radius: float
    side: float

    def at(self, angle: "float | np.ndarray", distance: "float | np.ndarray") -> np.ndarray:
        """Return the points ...x2 at an angle from the cell's side and at `distance` radii from its centre."""
        angle = np.asarray(angle) + self.side
        return (
            self.centre + np.stack([np.cos(angle), np.sin(angle)], -1) * self.radius * np.asarray(distance)[..., None]
        )

    def outwards(self, point: np.ndarray) -> np.ndarray:
        """Return the unit vector from the centre to a point."""
        offset = point - self.centre
        return offset / np.hypot(*offset)


@dataclass(frozen=True)
class Field:
    """The layout of the cells.

    Maps are CANVASxCANVAS: `owner` is the number of the cell, -1 on the glass; `edge` is the depth inside the cell's
    outline, pixels; `nuclear` is the depth inside the nucleus, pixels, negative outside; `fill` (nuclei) and
    `cytoplasm` (cells without their nuclei) are in 0..1.
    """

    rng: np.random.Generator
    cells: list[Cell]
    owner: np.ndarray
    edge: np.ndarray
    nuclear: np.ndarray
    fill: np.ndarray
    cytoplasm: np.ndarray

    def by_cell(self, draw: Callable[[np.random.Generator, np.ndarray, Cell], None]) -> np.ndarray:
        """Let `draw` draw on a canvas for each cell, and clip it at the cell's outline; return 0..1."""
        light = np.zeros((CANVAS, CANVAS), np.uint8)
        for number, cell in enumerate(self.cells):
            canvas = np.zeros_like(light)
            draw(self.rng, canvas, cell)
            np.copyto(light, canvas, where=self.owner == number)
        return light / 255

    def by_point(
        self,
        where: np.ndarray,
        each: tuple[int, int],
        draw: Callable[[np.random.Generator, np.ndarray, Cell, np.ndarray], None],
    ) -> np.ndarray:
        """Let `draw` draw at random points where `where` is true, `each` (from, to) points per cell; return 0..1."""
        canvas = np.zeros((CANVAS, CANVAS), np.uint8)
        for number, cell in enumerate(self.cells):
            ys, xs = np.nonzero(where & (self.owner == number))
            for row in self.rng.permutation(len(xs))[: self.rng.integers(each[0], each[1] + 1)]:
                draw(self.rng, canvas, cell, np.array([xs[row], ys[row]]) + self.rng.uniform(-0.5, 0.5, 2))
        return canvas / 255

    def dots(self, where: np.ndarray, each: tuple[int, int], radius: tuple[float, float]) -> np.ndarray:
        """Draw round dots at such points, with radii from the given range, pixels; return 0..1."""

        def draw(rng: np.random.Generator, canvas: np.ndarray, _: Cell, point: np.ndarray) -> None:
            _dot(canvas, point, rng.uniform(*radius), int(rng.integers(170, 256)))

        return self.by_point(where, each, draw)


def lay_out(rng: np.random.Generator) -> Field:
    """Lay out a colony of four to seven cells: each touches another one, and there is glass around them.

    Nuclei are ellipses, and cells divide the space by distance to their centres; noise bends both.
    """
    size, wanted = rng.uniform(11, 14), rng.integers(4, 8)
    cells: list[Cell] = []
    for _ in range(400):
        if len(cells) == wanted:
            break
        centre = rng.uniform(6, CANVAS - 6, 2)
        nearest = min((math.dist(centre, cell.centre) for cell in cells), default=3 * size)
        if 2.9 * size <= nearest <= 3.8 * size:
            cells.append(Cell(centre, size * rng.uniform(0.85, 1.15), rng.uniform(0, 2 * np.pi)))
    x, y = np.array([cell.centre for cell in cells], np.float32).T[:, :, None, None]
    radius = np.array([cell.radius for cell in cells], np.float32)[:, None, None]
    bend_x, bend_y = _noise(rng, 7), _noise(rng, 7)
    column, row = np.meshgrid(np.arange(CANVAS, dtype=np.float32), np.arange(CANVAS, dtype=np.float32))
    distance = np.hypot(column + 2.5 * bend_x - x, row + 2.5 * bend_y - y) / radius
    owner = np.where(distance.min(0) < rng.uniform(2.2, 2.6), distance.argmin(0), -1).astype(np.int16)
    inner = (cv2.erode(owner, AROUND) == cv2.dilate(owner, AROUND)) & (owner >= 0)
    edge = cv2.distanceTransform(inner.astype(np.uint8), cv2.DIST_L2, 5)
    turn = rng.uniform(0, np.pi, radius.shape).astype(np.float32)
    east, south = column + bend_x - x, row + bend_y - y
    along, across = east * np.cos(turn) + south * np.sin(turn), south * np.cos(turn) - east * np.sin(turn)
    nuclear = (radius - np.hypot(along / 1.15, across * 1.15)).max(0)
    fill = np.clip(nuclear + 0.5, 0, 1)
    return Field(rng, cells, owner, edge, nuclear, fill, np.clip(edge, 0, 1) * (1 - fill))


def _noise(rng: np.random.Generator, grain: float) -> np.ndarray:
    """Return smooth noise with mean 0, standard deviation 1 and a grain of about `grain` pixels."""
    values = cv2.GaussianBlur(rng.standard_normal((CANVAS, CANVAS), np.float32), (0, 0), grain)
    return (values - values.mean()) / values.std()


def _lines(canvas: np.ndarray, points: np.ndarray, width: int = 1, level: int = 255) -> None:
    """Draw one line through Nx2 points, or M lines through MxNx2."""
    fixed = np.rint(points * 2**SUBPIXEL).astype(np.int32).reshape(-1, *points.shape[-2:])
    cv2.polylines(canvas, list(fixed), False, level, width, cv2.LINE_AA, SUBPIXEL)


def _dot(canvas: np.ndarray, point: np.ndarray, radius: float, level: int = 255) -> None:
    # A polygon, because cv2 draws small circles as squares.
    cv2.fillConvexPoly(
        canvas, np.rint((point + radius * CIRCLE) * 2**SUBPIXEL).astype(np.int32), level, cv2.LINE_AA, SUBPIXEL
    )


def _fibrillar_center(field: Field) -> np.ndarray:
    """Draw tiny bright spots, clustered in one or two places of the nucleus."""

    def draw(rng: np.random.Generator, canvas: np.ndarray, _: Cell, point: np.ndarray) -> None:
        for shift in rng.normal(0, 1.8, (6, 2)):
            _dot(canvas, point + shift, 0.6)

    return field.by_point(field.nuclear > 4, (1, 2), draw)


def _reticulum(field: Field) -> np.ndarray:
    """Draw a net, dense around the nucleus: the zero lines of noise."""
    net = np.exp(-((_noise(field.rng, 1.8) / 0.35) ** 2))
    return 1.1 * net * field.cytoplasm * np.exp(field.nuclear / 9)


def _golgi(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
    angles = np.array([[-0.9], [-0.3], [0.3]]) + np.linspace(0, 0.7, 7)
    _lines(canvas, cell.at(angles, 1.3 + rng.normal(0, 0.08, angles.shape)), 3)


def _intermediate_filaments(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
    start, length, distance = rng.uniform((0, 0.8, 1.15), (2 * np.pi, 2, 2.3), (18, 3)).T[..., None]
    angles = start + length * np.linspace(0, 1, 12)
    wave = 0.12 * np.sin(6 * angles + rng.uniform(0, 2 * np.pi, (18, 1)))
    _lines(canvas, cell.at(angles, distance + wave))


def _actin_filaments(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
    along = np.array([np.cos(cell.side), np.sin(cell.side)])
    offset, start = np.arange(-30, 31, 4) + rng.normal(0, 0.5, 16), rng.normal(0, 8, 16)
    middle = cell.centre + offset[:, None] * (along[::-1] * (-1, 1)) + start[:, None] * along
    _lines(canvas, np.stack([middle - 22 * along, middle + 22 * along], 1))


def _microtubules(field: Field) -> np.ndarray:
    """Draw thin fibres from the nucleus in all directions."""

    def draw(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
        steps = np.linspace(0, 1, 9)
        start = np.linspace(0, 2 * np.pi, 26, endpoint=False) + rng.normal(0, 0.08, 26)
        bend = rng.normal(0, 0.25, (26, 1)) * steps + rng.normal(0, 0.06, (26, 1)) * np.sin(9 * steps)
        _lines(canvas, cell.at(start[:, None] + bend, 0.9 + 2.3 * steps))

    return 0.9 * field.by_cell(draw) * (1 - field.fill)


def _focal_adhesion(rng: np.random.Generator, canvas: np.ndarray, cell: Cell, point: np.ndarray) -> None:
    _lines(canvas, point + np.outer([-3, 3], cell.outwards(point)), 2)


def _comet(rng: np.random.Generator, canvas: np.ndarray, cell: Cell, point: np.ndarray) -> None:
    _lines(canvas, point + np.outer([-4, 0], cell.outwards(point)), 1, 130)
    _dot(canvas, point, 0.7)


def _cytokinetic_bridge(field: Field) -> np.ndarray:
    """Draw a bright bar from each cell to its nearest neighbour, across their common outline."""
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    for cell in field.cells:
        near = min((c for c in field.cells if c is not cell), key=lambda c: math.dist(c.centre, cell.centre))
        middle = (cell.centre + near.centre) / 2
        _lines(canvas, middle + np.outer([-9, 9], cell.outwards(near.centre)), 4)
        _dot(canvas, middle, 3.5)
    return canvas / 255


def _mitotic_spindle(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
    steps, bulge = np.linspace(-1, 1, 9), np.linspace(-0.8, 0.8, 7)[:, None]
    along, across = np.broadcast_arrays(1.25 * steps, bulge * (1 - steps**2))
    _lines(canvas, cell.at(np.arctan2(across, along), np.hypot(across, along)))
    for pole in (0, np.pi):
        _dot(canvas, cell.at(pole, 1.25), 1.6)


def _organizing_center(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
    seat, angles = cell.at(0, 1.45), rng.uniform(0, 2 * np.pi, (12, 1))
    _lines(canvas, seat + np.stack([np.cos(angles), np.sin(angles)], -1) * [[1], [8]], level=150)
    _dot(canvas, seat, 1.8)


def _centrosome(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
    for angle in (-0.17, 0.17):
        _dot(canvas, cell.at(angle, 1.3), 1.6)


def _lipid_droplet(rng: np.random.Generator, canvas: np.ndarray, cell: Cell, point: np.ndarray) -> None:
    _lines(canvas, point + rng.uniform(2.2, 3.2) * CIRCLE)


def _cell_junctions(field: Field) -> np.ndarray:
    """Draw the outlines only where two cells touch."""
    around, owned = np.ones((7, 7), np.uint8), field.owner >= 0
    lowest = cv2.erode(np.where(owned, field.owner, np.int16(len(field.cells))), around)
    return np.exp(-((field.edge / 1.3) ** 2)) * (owned & (cv2.dilate(field.owner, around) != lowest))


def _mitochondrion(rng: np.random.Generator, canvas: np.ndarray, cell: Cell, point: np.ndarray) -> None:
    turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.5, 5))
    steps = 1.5 * np.cumsum(np.stack([np.cos(turns), np.sin(turns)], -1), 0)
    _lines(canvas, point + steps - steps.mean(0), 1, int(rng.integers(170, 256)))


def _aggresome(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
    for shift in rng.normal(0, 1.3, (3, 2)):
        _dot(canvas, cell.at(0, 1.4) + shift, 5.5)


def _rod_and_ring(rng: np.random.Generator, canvas: np.ndarray, cell: Cell) -> None:
    angle, turn = rng.uniform(0, np.pi, 2)
    _lines(canvas, cell.at(angle, 1.6) + 4.5 * CIRCLE, 2)
    _lines(canvas, cell.at(angle + np.pi, 1.6) + np.outer([-8, 8], [np.cos(turn), np.sin(turn)]), 2)


# The green light of each class, by class number; about 0..1.
PATTERNS: tuple[Callable[[Field], np.ndarray], ...] = (
    lambda f: 0.4 * f.fill * (1 + 0.1 * _noise(f.rng, 1.5)),  # Nucleoplasm
    lambda f: np.exp(-((f.nuclear / 1.4) ** 2)),  # Nuclear membrane
    lambda f: f.dots(f.nuclear > 4, (2, 3), (2.8, 3.8)),  # Nucleoli: large
    _fibrillar_center,
    lambda f: np.clip(2 * _noise(f.rng, 1.1) - 0.6, 0, 1) * (f.nuclear > 1),  # Nuclear speckles: many, irregular
    lambda f: f.dots(f.nuclear > 2, (4, 6), (1.4, 1.8)),  # Nuclear bodies: few, small, apart
    _reticulum,
    lambda f: f.by_cell(_golgi),
    lambda f: f.dots((f.nuclear < -1) & (f.edge > 1), (70, 90), (0.7, 1)),  # Peroxisomes: tiny, very many
    lambda f: f.dots((f.nuclear < -4) & (f.edge > 2) & (f.edge < 8), (14, 18), (1.3, 1.9)),  # Endosomes: far out
    lambda f: f.dots((f.nuclear < -2) & (f.nuclear > -6) & (f.edge > 1), (8, 11), (2.2, 3)),  # Lysosomes: large
    lambda f: f.by_cell(_intermediate_filaments),
    lambda f: f.by_cell(_actin_filaments),
    lambda f: f.by_point((f.edge > 2) & (f.edge < 5), (9, 13), _focal_adhesion),
    _microtubules,
    lambda f: f.by_point((f.nuclear < -4) & (f.edge > 1), (16, 22), _comet),
    _cytokinetic_bridge,
    lambda f: f.by_cell(_mitotic_spindle),
    lambda f: f.by_cell(_organizing_center),
    lambda f: f.by_cell(_centrosome),
    lambda f: f.by_point((f.nuclear < -3) & (f.edge > 3), (9, 13), _lipid_droplet),
    lambda f: np.exp(-((f.edge / 1.3) ** 2)) * (f.owner >= 0),  # Plasma membrane
    _cell_junctions,
    lambda f: f.by_point((f.nuclear < -1) & (f.edge > 2), (25, 32), _mitochondrion),
    lambda f: f.by_cell(_aggresome),
    lambda f: 0.35 * f.cytoplasm * (1 + 0.1 * _noise(f.rng, 2)),  # Cytosol
    lambda f: f.dots((f.nuclear < -3) & (f.edge > 3), (4, 5), (1.9, 2.3)),  # Cytoplasmic bodies: few, all alike
    lambda f: f.by_cell(_rod_and_ring),
)


def _write_csv(path: Path, column: str, rows: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"Id,{column}", *(f"{id_},{value}" for id_, value in rows.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
