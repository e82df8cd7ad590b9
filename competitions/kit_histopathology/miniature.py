"""Draw a synthetic miniature in the real layout: the centre decides, the rim misleads.

Each patch is drawn as stain, the way a microscope sees it: two dyes lie on the glass (haematoxylin on nuclei, eosin on
the rest), each absorbs light by its optical density, and the sum of both gives the colour. Tumour is a crowd of large,
dark, irregular nuclei. A positive patch has one in the centre. The rim has zero to six such crowds, whatever the label,
so counting large nuclei anywhere misleads.
"""

import hashlib
from pathlib import Path

import cv2
import numpy as np

SIDE = 96
TRAIN, TEST = 240, 60
POSITIVE = 0.4
RIM = 6  # most crowds in the rim
SCALE = 4  # nuclei are drawn at this scale, then averaged down for smooth edges

# Optical density of the two dyes in red, green and blue light.
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.14, 0.85, 0.40])

Nucleus = tuple[float, float, float]  # x and y from the patch's centre, radius; all in pixels


def write_miniature(root: Path, seed: int) -> None:
    """Write 240 training and 60 test patches with their csv files to `root`; equal seeds give equal bytes.

    The truth of the test patches goes to `.kit/sample_test_labels.csv`, outside the real layout.
    """
    truth = {}
    for number, (split, count) in enumerate((("train", TRAIN), ("test", TEST))):
        rng = np.random.default_rng([seed, number])
        tumour = rng.permutation(np.arange(count) < round(POSITIVE * count))
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        ids = [hashlib.sha1(f"{seed} {split} {row}".encode()).hexdigest() for row in range(count)]
        for id_, centre in zip(ids, tumour, strict=True):
            (folder / f"{id_}.tif").write_bytes(_tif(draw_patch(rng, bool(centre))))
        truth[split] = list(zip(ids, tumour.astype(int), strict=True))
    _write_csv(root / "train_labels.csv", truth["train"])
    _write_csv(root / "sample_submission.csv", [(id_, 0) for id_, _ in truth["test"]])
    _write_csv(root / ".kit" / "sample_test_labels.csv", truth["test"])


def draw_patch(rng: np.random.Generator, centre: bool) -> np.ndarray:
    """Draw one patch, 96x96x3 uint8 RGB, with or without tumour in its centre."""
    nuclei = _draw(rng, _tumour(rng, centre), _normal(rng))
    stroma = rng.uniform(0.25, 0.5) + 0.12 * _noise(rng, 6) + rng.uniform(0.02, 0.08) * _fibres(rng)
    stroma += 0.03 * _noise(rng, 0.6)
    stroma *= 1 - 0.5 * np.clip(nuclei, 0, 1)
    nuclei *= 1 + 0.15 * _noise(rng, 0.8)  # chromatin is grainy
    haze = rng.uniform(0.02, 0.22) + 0.04 * _noise(rng, 8)
    # Laboratories stain differently: strength and hue of both dyes vary from patch to patch.
    haematoxylin = HAEMATOXYLIN * rng.normal(1, 0.08, 3) * rng.uniform(0.85, 1.2)
    eosin = EOSIN * rng.normal(1, 0.12, 3) * rng.uniform(0.7, 1.3)
    density = (nuclei + haze)[..., None] * haematoxylin + np.clip(stroma, 0.02, None)[..., None] * eosin
    light = rng.uniform(232, 250) * np.exp(-density) + rng.normal(0, 1.5, density.shape)
    return np.clip(light, 0, 255).round().astype(np.uint8)


def _tumour(rng: np.random.Generator, centre: bool) -> list[Nucleus]:
    """Place large nuclei: a crowd in the centre if `centre`, and up to `RIM` crowds that stay clear of the centre."""
    nuclei: list[Nucleus] = []
    if centre:
        _crowd(rng, nuclei, seat=rng.uniform(-3, 3, 2), reach=(0, 13))
    for _ in range(rng.integers(RIM + 1)):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(32, 44)
        _crowd(rng, nuclei, seat=distance * np.array([np.cos(angle), np.sin(angle)]), reach=(25, 50))
    return nuclei


def _crowd(rng: np.random.Generator, nuclei: list[Nucleus], seat: np.ndarray, reach: tuple[float, float]) -> None:
    """Add five to eight nuclei around `seat`; their larger distance from the centre along an axis is within `reach`."""
    wanted = len(nuclei) + int(rng.integers(5, 9))
    for _ in range(100):
        x, y = seat + rng.normal(0, 7, 2)
        radius = rng.uniform(4.0, 6.5)
        apart = all(np.hypot(x - u, y - v) > 0.75 * (radius + r) for u, v, r in nuclei)
        if apart and reach[0] <= max(abs(x), abs(y)) <= reach[1]:
            nuclei.append((x, y, radius))
        if len(nuclei) == wanted:
            return


def _normal(rng: np.random.Generator) -> list[Nucleus]:
    """Place small nuclei anywhere, few or many: lymphocytes and fibroblasts, which carry no information."""
    count = rng.integers(6, 45)
    places = rng.uniform(-SIDE / 2, SIDE / 2, (count, 2))
    return [(x, y, radius) for (x, y), radius in zip(places, rng.uniform(1.6, 2.8, count), strict=True)]


def _draw(rng: np.random.Generator, tumour: list[Nucleus], normal: list[Nucleus]) -> np.ndarray:
    """Draw the haematoxylin at each pixel, 96x96: tumour nuclei irregular and dark, normal ones round and paler."""
    canvas = np.zeros((SIDE * SCALE, SIDE * SCALE), np.uint8)
    for nuclei, ragged, low, high in ((normal, 0.06, 60, 130), (tumour, 0.16, 130, 210)):
        for x, y, radius in nuclei:
            angles = np.linspace(0, 2 * np.pi, 18, endpoint=False) + rng.uniform(0, 2 * np.pi)
            bumps = 1 + ragged * (np.sin(2 * angles) + rng.normal(0, 0.5, len(angles)))
            outline = np.stack([np.cos(angles), np.sin(angles)], 1) * (radius * bumps)[:, None] + (x, y) + SIDE / 2
            cv2.fillPoly(canvas, [np.round(outline * SCALE).astype(np.int32)], int(rng.integers(low, high)))
    return cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / 170


def _noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Return smooth noise, 96x96, mean 0 and standard deviation 1, with a grain of about `sigma` pixels."""
    return _standard(cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), sigma))


def _fibres(rng: np.random.Generator) -> np.ndarray:
    """Return collagen fibres: noise stretched along one direction, 96x96, mean 0 and standard deviation 1."""
    strands = cv2.GaussianBlur(rng.normal(size=(SIDE * 2, SIDE * 2)), (0, 0), sigmaX=9, sigmaY=1.1)
    turn = cv2.getRotationMatrix2D((SIDE, SIDE), rng.uniform(0, 180), 1)
    return _standard(cv2.warpAffine(strands, turn - [[0, 0, SIDE / 2]] * 2, (SIDE, SIDE)))


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def _tif(rgb: np.ndarray) -> bytes:
    uncompressed = [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_NONE]
    return cv2.imencode(".tif", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), uncompressed)[1].tobytes()


def _write_csv(path: Path, rows: list[tuple[str, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["id,label", *(f"{id_},{label}" for id_, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
