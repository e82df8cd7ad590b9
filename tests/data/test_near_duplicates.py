"""Near-duplicates: the hash against its definition, pairs against all comparisons, groups against hand-made ones."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.fft import dctn

from kit.console import Console
from kit.data.folds import groups_spanning_folds, make_folds, near_duplicates_spanning_folds, new_folds
from kit.data.index import Index
from kit.data.near_duplicates import NEAR, clusters, hashes, near_pairs, perceptual_hash, with_near_duplicates
from kit.plugin import DatasetSpec

QUIET = Console(json=True)


def field(seed: int) -> np.ndarray:
    """Cells, more or less."""
    random = np.random.default_rng(seed)
    image = np.zeros((128, 128), np.uint8)
    for x, y in random.integers(0, 128, (12, 2)):
        cv2.circle(image, (int(x), int(y)), int(random.integers(5, 16)), int(random.integers(60, 220)), -1)
    return cv2.GaussianBlur(image, (0, 0), 2)


def again(image: np.ndarray, seed: int, shift: int = 2) -> np.ndarray:
    """The same field photographed a second time."""
    noise = np.random.default_rng(seed).normal(0, 4, image.shape)
    return np.clip(np.roll(image, shift, 1) * 1.2 + noise, 0, 255).astype(np.uint8)


def bits(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.unpackbits(one ^ other).sum())


def test_the_hash_is_that_of_the_definition():
    image = field(0)
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    low = dctn(small.astype(float), norm="ortho")[:16, :16].ravel()
    assert np.unpackbits(perceptual_hash(image)).tolist() == (low > np.median(low)).tolist()


def test_a_second_photograph_is_near_and_another_field_is_far():
    own = [perceptual_hash(field(seed)) for seed in range(30)]
    second = [perceptual_hash(again(field(seed), seed)) for seed in range(30)]
    assert max(map(bits, own, second)) <= NEAR
    others = [bits(own[a], own[b]) for a in range(30) for b in range(a)]
    assert min(others) > NEAR


def test_pairs_are_those_of_comparing_everything_with_everything(monkeypatch):
    monkeypatch.setattr("kit.data.near_duplicates.BLOCK", 256)
    random = np.random.default_rng(0)
    hashed = random.integers(0, 256, (1500, 32), dtype=np.uint8)
    for row in range(0, 600, 2):
        flipped = np.zeros(256, np.uint8)
        flipped[random.choice(256, int(random.integers(1, 2 * NEAR)), replace=False)] = 1
        hashed[row + 1] = hashed[row] ^ np.packbits(flipped)
    hashed = hashed[random.permutation(1500)]
    distance = np.bitwise_count(hashed[:, None] ^ hashed[None]).sum(2)
    expected = np.argwhere(np.triu(distance <= NEAR, 1))
    assert 100 < len(expected) < 250
    assert near_pairs(hashed, QUIET).tolist() == expected.tolist()


def test_of_equal_hashes_the_first_stands_for_the_others():
    hashed = np.zeros((6, 32), np.uint8)
    hashed[1] = 255
    hashed[4, :4] = 255
    hashed[5, :16] = 255
    assert near_pairs(hashed, QUIET).tolist() == [[0, 2], [0, 3], [0, 4]]
    assert len(near_pairs(np.zeros((5000, 32), np.uint8), QUIET)) == 4999
    assert near_pairs(np.empty((0, 32), np.uint8), QUIET).shape == (0, 2)


def test_clusters_follow_chains():
    assert clusters(5, np.array([[0, 3], [3, 4]]), np.empty((0, 2), int)).tolist() == [0, 1, 2, 0, 0]


def store_of(root: Path, images: list[np.ndarray], groups: list[str | None] | None = None) -> tuple[Any, Index]:
    for number, image in enumerate(images):
        cv2.imwrite(str(root / f"{number:03d}.png"), image)
    frame = pd.DataFrame({"id": [f"i{n:03d}" for n in range(len(images))], "target": np.arange(len(images)) % 2})
    frame["files"] = [(f"{n:03d}.png",) for n in range(len(images))]
    if groups is not None:
        frame["group"] = pd.Series(groups, dtype=object)
    index = Index(root, "binary", ("a", "b"), frame, frame[["id", "files"]], grouped_by="slide" if groups else "")
    spec = DatasetSpec("grey", 1, lambda root: index, read, likeness=lambda files: read(files)[..., 0])
    return SimpleNamespace(root=root, own=root / ".kit", dataset=spec, competition=SimpleNamespace(name="grey")), index


def read(files: tuple[Path, ...]) -> np.ndarray:
    return cv2.imread(str(files[0]), cv2.IMREAD_GRAYSCALE)[..., None]


def test_near_duplicates_stay_together_and_join_the_groups_that_are_there(tmp_path):
    images = [field(seed) for seed in range(8)]
    images += [again(images[0], 1), again(images[5], 2)]
    store, index = store_of(tmp_path, images, ["s", None, None, None, None, "s", None, "t", None, None])
    grouped = with_near_duplicates(store, index, QUIET)
    assert grouped.grouped_by == "slide and near-duplicates"
    found = grouped.train["group"].where(grouped.train["group"].notna(), None).tolist()
    assert found == ["i000", None, None, None, None, "i000", None, "i007", "i000", "i000"]
    folds = make_folds(grouped, 2, seed=0)
    assert groups_spanning_folds(index, folds) == 0
    assert near_duplicates_spanning_folds(store, index, folds, QUIET) == 0
    # Folds that know nothing of it are found out.
    careless = [make_folds(index, 2, seed) for seed in range(6)]
    assert max(near_duplicates_spanning_folds(store, index, each, QUIET) for each in careless) > 0


@pytest.mark.parametrize(("second", "said"), [(0, "1 pair among 2"), (1, "none among 2")])
def test_how_many_were_found_is_said(tmp_path, capsys, second, said):
    store, index = store_of(tmp_path, [field(0), field(second)])
    with_near_duplicates(store, index, Console())
    assert f"near-duplicates: {said} training images" in capsys.readouterr().out


def test_folds_remember_what_kept_samples_together(tmp_path):
    images = [field(seed) for seed in range(6)]
    images += [again(image, seed) for seed, image in enumerate(images)]
    store, index = store_of(tmp_path, images)
    folds = new_folds(store, index, 3, 0, None, QUIET)
    assert folds.grouped_by == "near-duplicates"
    assert len(np.unique(folds.groups(index.train))) == 6
    broken = type(folds)(folds.table.assign(fold=np.repeat([0, 1], 6)), 3, 0, "x")
    assert groups_spanning_folds(index, broken) == 6
    assert new_folds(store, index, 3, 0, False, QUIET).grouped_by == ""


def test_hashes_are_kept_until_a_file_changes(tmp_path, monkeypatch):
    store, index = store_of(tmp_path, [field(seed) for seed in range(5)])
    files, cache = index.train["files"].array, tmp_path / ".kit" / "likeness"
    first = hashes(store.dataset, tmp_path, files, cache, QUIET)
    monkeypatch.setattr("kit.data.near_duplicates.perceptual_hash", lambda image: pytest.fail("hashed again"))
    assert (hashes(store.dataset, tmp_path, files, cache, QUIET) == first).all()
    monkeypatch.undo()
    cv2.imwrite(str(tmp_path / "003.png"), field(99))
    changed = hashes(store.dataset, tmp_path, files, cache, QUIET)
    assert np.flatnonzero((changed != first).any(1)).tolist() == [3]
    assert len(list(cache.parent.iterdir())) == 1
