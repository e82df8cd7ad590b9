"""Draw a synthetic miniature in the real layout: seven kinds of lesion on skin, many photographed several times.

A lesion is drawn once, as a map of skin larger than a photograph: an outline, its colours, and the marks by which
textbooks recognise its kind (melanoma is ragged and of several browns, a dermatofibroma has a pale centre, ...). No
lesion is a textbook case: outline, colours and marks vary, and some belong to another kind. A photograph is a crop with
its own rotation, zoom and light. So images of one lesion are far more alike than images of one kind, which a random
split rewards. Age and body site follow the kind roughly as they do in reality.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd

from kit_ham10000.dataset import CLASSES

WIDTH, HEIGHT = 64, 48
MAP = 112  # side of a lesion's map of skin, pixels
# How many lesions of each kind have 1, 2, 3 and 4 photographs: 272 images, of which 46 % share their lesion. Rare kinds
# are photographed more often than in reality, so that a random split flatters at this size too.
LESIONS = {
    "mel": (4, 5, 4, 1),
    "nv": (118, 4, 1, 0),
    "bcc": (5, 5, 3, 0),
    "akiec": (4, 4, 3, 0),
    "bkl": (7, 6, 3, 1),
    "df": (4, 7, 0, 0),
    "vasc": (4, 7, 0, 0),
}
TEST = {"mel": 10, "nv": 30, "bcc": 7, "akiec": 5, "bkl": 10, "df": 4, "vasc": 4}  # one photograph each
FIRST_TRAIN, FIRST_TEST = 24306, 34524  # numbers of the first image of each, as in the ISIC archive
UNKNOWN = {"age": 6, "sex": 4, "localization": 6}  # number of lesions without this fact
SKIN = np.array([[236, 190, 190], [222, 150, 130], [205, 170, 165], [238, 205, 185], [200, 172, 195]]) / 255
OWN, FOREIGN, HAIRY = 0.95, 0.1, 0.3  # probability of each mark of its own kind, of another kind, and of hairs
PATCHED = 0.3  # probability of a patch in a colour of another kind
SUBPIXEL = 4  # bits: cv2 draws with a precision of 1/16 pixel


@dataclass(frozen=True)
class Mark:
    """A mark on a lesion: shape, RGB colour, smallest and largest count, smallest and largest size in pixels."""

    shape: Literal["dots", "lines", "centre"]
    colour: tuple[int, int, int]
    count: tuple[int, int]
    size: tuple[float, float]


HAIRS = Mark("lines", (70, 45, 35), (2, 7), (30, 70))


@dataclass(frozen=True)
class Kind:
    """How lesions of one dx look and where they occur.

    Args:
        colours: RGB colours in 0..255; each covers a region of the lesion.
        ragged: deviation of the outline from an ellipse, as a share of the radius.
        soft: width of the border, as a share of the radius.
        dense: share of the skin's colour that is covered.
        marks: what may lie on it.
        age: mean and standard deviation in the real metadata, years.
        sites: its most frequent sites with their real shares, percent.
        confirmed: how the dx may have been confirmed (`dx_type`).
    """

    colours: tuple[tuple[int, int, int], ...]
    ragged: float
    soft: float
    dense: float
    marks: tuple[Mark, ...]
    age: tuple[float, float]
    sites: Mapping[str, int]
    confirmed: tuple[str, ...] = ("histo",)


KINDS = {
    "mel": Kind(
        ((92, 52, 40), (45, 28, 30), (140, 85, 60), (85, 80, 100)),
        0.30,
        0.12,
        0.9,
        (Mark("dots", (40, 25, 25), (0, 6), (0.8, 1.6)),),
        (61, 15),
        {"back": 29, "upper extremity": 19, "lower extremity": 17, "face": 9, "abdomen": 6},
    ),
    "nv": Kind(
        ((120, 70, 52), (140, 84, 62)),
        0.10,
        0.22,
        0.8,
        (),
        (46, 15),
        {"lower extremity": 22, "back": 21, "trunk": 19, "abdomen": 13, "upper extremity": 10},
        ("follow_up", "histo", "consensus"),
    ),
    "bcc": Kind(
        ((215, 150, 165), (185, 115, 135)),
        0.20,
        0.15,
        0.6,
        (
            Mark("lines", (165, 40, 50), (2, 6), (7, 16)),
            Mark("dots", (95, 90, 115), (0, 5), (1, 2.2)),
            Mark("dots", (250, 240, 245), (0, 4), (0.8, 1.6)),
        ),
        (67, 14),
        {"back": 36, "face": 20, "lower extremity": 11, "upper extremity": 10, "chest": 9},
    ),
    "akiec": Kind(
        ((190, 90, 70), (165, 80, 60)),
        0.26,
        0.35,
        0.6,
        (Mark("dots", (240, 225, 205), (6, 24), (0.6, 1.5)),),
        (67, 11),
        {"face": 35, "lower extremity": 20, "upper extremity": 19, "back": 9},
    ),
    "bkl": Kind(
        ((150, 115, 85), (125, 95, 75)),
        0.18,
        0.06,
        0.75,
        (Mark("dots", (80, 55, 40), (2, 9), (0.9, 1.8)), Mark("dots", (225, 210, 180), (2, 8), (0.8, 1.5))),
        (64, 14),
        {"face": 29, "back": 18, "lower extremity": 16, "upper extremity": 9, "trunk": 7},
        ("histo", "consensus", "confocal"),
    ),
    "df": Kind(
        ((165, 105, 85), (150, 100, 85)),
        0.12,
        0.35,
        0.7,
        (Mark("centre", (238, 215, 210), (1, 1), (3.5, 7)),),
        (53, 14),
        {"lower extremity": 71, "upper extremity": 21},
        ("histo", "consensus"),
    ),
    "vasc": Kind(
        ((170, 40, 60), (115, 45, 85)),
        0.12,
        0.10,
        0.8,
        (Mark("dots", (120, 15, 45), (2, 8), (1.6, 3.2)), Mark("dots", (65, 30, 75), (0, 5), (1.5, 3))),
        (51, 22),
        {"trunk": 22, "abdomen": 19, "lower extremity": 19, "back": 15},
        ("histo", "consensus"),
    ),
}


def write_miniature(root: Path, seed: int) -> None:
    """Write 272 training images of 200 lesions with their metadata, and 70 test images; equal seeds give equal bytes.

    The truth of the test images is not written: see `test_truth`.
    """
    rng = np.random.default_rng([seed, 0])
    metadata = draw_metadata(rng)
    for number in ("1", "2"):
        (root / f"HAM10000_images_part_{number}").mkdir(parents=True, exist_ok=True)
    middle = _id(FIRST_TRAIN + len(metadata) // 2)
    for _, images in metadata.groupby("lesion_id", sort=False):
        skin = draw_lesion(rng, images["dx"].iat[0])
        for id_ in images["image_id"]:
            _write(root / f"HAM10000_images_part_{1 if id_ < middle else 2}", id_, photograph(rng, skin))
    metadata.to_csv(root / "HAM10000_metadata.csv", index=False, lineterminator="\n")

    rng = np.random.default_rng([seed, 1])
    folder = root / "ISIC2018_Task3_Test_Input"
    folder.mkdir(exist_ok=True)
    for id_, dx in test_truth(seed).itertuples(index=False):
        _write(folder, id_, photograph(rng, draw_lesion(rng, dx)))


def test_truth(seed: int) -> pd.DataFrame:
    """Return `image_id` and `dx` of the test images in the miniature of this seed, sorted by id."""
    dx = np.random.default_rng([seed, 2]).permutation(np.repeat(list(TEST), list(TEST.values())))
    return pd.DataFrame({"image_id": [_id(FIRST_TEST + row) for row in range(len(dx))], "dx": dx})


def draw_metadata(rng: np.random.Generator) -> pd.DataFrame:
    """Return the rows of the metadata, lesion by lesion; lesions and images are numbered at random."""
    lesions = pd.DataFrame(
        [(dx, photographs) for dx in CLASSES for photographs, count in enumerate(LESIONS[dx], 1) for _ in range(count)],
        columns=["dx", "photographs"],
    )
    lesions.insert(0, "lesion_id", [f"HAM_{number:07}" for number in rng.permutation(len(lesions))])
    kinds = [KINDS[dx] for dx in lesions["dx"]]
    lesions["dx_type"] = [rng.choice(kind.confirmed) for kind in kinds]
    lesions["age"] = [float(np.clip(5 * round(rng.normal(*kind.age) / 5), 0, 85)) for kind in kinds]
    lesions["sex"] = rng.choice(["female", "male"], len(lesions))
    shares = [np.array(list(kind.sites.values())) for kind in kinds]
    lesions["localization"] = [
        rng.choice(list(kind.sites), p=share / share.sum()) for kind, share in zip(kinds, shares, strict=True)
    ]
    for column, count in UNKNOWN.items():
        lesions.loc[rng.choice(len(lesions), count, replace=False), column] = None if column == "age" else "unknown"
    images = lesions.loc[lesions.index.repeat(lesions["photographs"])].drop(columns="photographs")
    images.insert(1, "image_id", [_id(FIRST_TRAIN + number) for number in rng.permutation(len(images))])
    return images


def draw_lesion(rng: np.random.Generator, dx: str) -> np.ndarray:
    """Draw a new lesion of this dx with the skin around it, MAPxMAPx3 float, RGB of about 0..1."""
    kind, other = KINDS[dx], KINDS[str(rng.choice([name for name in CLASSES if name != dx]))]
    tone = _vary(rng, SKIN[rng.integers(len(SKIN))])
    skin = tone * (1 + 0.03 * _noise(rng, 10) + 0.02 * _noise(rng, 1.2))[..., None]
    depth = _depth(rng, kind.ragged)
    # Which colour lies where: one field of smooth noise per colour, and the highest wins, softly.
    palette = kind.colours + (other.colours[:1] if rng.random() < PATCHED else ())
    colours = np.array([_vary(rng, np.array(colour) / 255) for colour in palette])
    fields = np.stack([np.exp(4 * _noise(rng, rng.uniform(2, 6))) for _ in palette])
    pigment = np.einsum("khw,kc->hwc", fields / fields.sum(0), colours) * (1 + 0.06 * _noise(rng, 1))[..., None]
    border = kind.soft * rng.uniform(0.6, 1.5)
    cover = kind.dense * rng.uniform(0.7, 1.1) * (0.5 + 0.5 * np.tanh(2 * depth / border))
    skin = _paint(skin, cover, pigment)
    for marks, probability in ((kind.marks, OWN), (other.marks, FOREIGN)):
        for mark in marks:
            if rng.random() < probability:
                cover = rng.uniform(0.3, 0.9) * _cover(rng, mark, np.argwhere(depth > 0.15))
                skin = _paint(skin, cover, np.array(mark.colour) / 255)
    if rng.random() < HAIRY:
        anywhere = np.argwhere(np.ones((MAP, MAP)))
        skin = _paint(skin, 0.7 * _cover(rng, HAIRS, anywhere), np.array(HAIRS.colour) / 255)
    return skin


def photograph(rng: np.random.Generator, skin: np.ndarray) -> np.ndarray:
    """Return a crop of a lesion's map with its own rotation, zoom and light, 48x64x3 uint8."""
    turn = cv2.getRotationMatrix2D((MAP / 2, MAP / 2), rng.uniform(-15, 15), rng.uniform(0.92, 1.09))
    shift = (np.array([WIDTH, HEIGHT]) - MAP) / 2 + rng.uniform(-2, 2, 2)
    turn = turn + np.outer(shift, [0, 0, 1])
    view = cv2.warpAffine(skin, turn, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    view = cv2.GaussianBlur(view, (0, 0), rng.uniform(0.4, 0.7))
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    vignette = 1 - rng.uniform(0, 0.15) * (x**2 + y**2)
    light = rng.uniform(0.88, 1.05) * rng.normal(1, 0.02, 3) * vignette[..., None]
    return np.clip(255 * view * light + rng.normal(0, 2, view.shape), 0, 255).round().astype(np.uint8)


def _depth(rng: np.random.Generator, ragged: float) -> np.ndarray:
    """Return how deep each point lies inside a new lesion, MAPxMAP: in radii, negative outside, 0 on the outline."""
    y, x = np.mgrid[:MAP, :MAP] - MAP / 2
    angle, radius, longer = rng.uniform(0, np.pi), rng.uniform(9, 17), rng.uniform(1, 1.35)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    distance, direction = np.hypot(along / longer, across * longer) / radius, np.arctan2(across, along)
    ragged *= rng.uniform(0.6, 1.4)
    waves = [rng.normal() / turns * np.cos(turns * direction + rng.uniform(0, 2 * np.pi)) for turns in range(2, 8)]
    return 1 + ragged * sum(waves) + 0.5 * ragged * _noise(rng, 2) - distance


def _cover(rng: np.random.Generator, mark: Mark, places: np.ndarray) -> np.ndarray:
    """Return the share of each point that a mark covers, MAPxMAP in 0..1; `places` (nx2, y and x) are those allowed."""
    canvas = np.zeros((MAP, MAP), np.uint8)
    for _ in range(rng.integers(mark.count[0], mark.count[1] + 1)):
        place, size = places[rng.integers(len(places)), ::-1], rng.uniform(*mark.size)
        if mark.shape == "dots":
            _dot(canvas, place, size)
        elif mark.shape == "centre":
            _dot(canvas, MAP / 2 + rng.normal(0, 1.2, 2), size)
        else:
            bends = np.cumsum(rng.normal(0, 0.25, 12)) + rng.uniform(0, 2 * np.pi)
            path = place + (size / 12) * np.cumsum(np.stack([np.cos(bends), np.sin(bends)], -1), 0)
            cv2.polylines(canvas, [np.round(path * 2**SUBPIXEL).astype(np.int32)], False, 255, 1, cv2.LINE_AA, SUBPIXEL)
    return cv2.GaussianBlur(canvas, (0, 0), 1.5 if mark.shape == "centre" else 0.5) / 255


def _dot(canvas: np.ndarray, place: np.ndarray, radius: float) -> None:
    x, y = np.round(place * 2**SUBPIXEL).astype(int).tolist()
    cv2.circle(canvas, (x, y), round(radius * 2**SUBPIXEL), 255, -1, cv2.LINE_AA, SUBPIXEL)


def _vary(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Return a similar colour: lighter or darker, with a slightly different hue."""
    return colour * rng.normal(1, 0.08) + rng.normal(0, 0.015, 3)


def _paint(image: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Paint a colour (3, or HxWx3) over an image (HxWx3), covering a share (HxW) of each point."""
    return image + cover[..., None] * (colour - image)


def _noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Return smooth noise, MAPxMAP, mean 0 and standard deviation 1, with a grain of about `sigma` pixels."""
    values = cv2.GaussianBlur(rng.normal(size=(MAP, MAP)), (0, 0), sigma)
    return (values - values.mean()) / values.std()


def _id(number: int) -> str:
    return f"ISIC_{number:07}"


def _write(folder: Path, id_: str, rgb: np.ndarray) -> None:
    jpg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    (folder / f"{id_}.jpg").write_bytes(jpg.tobytes())
