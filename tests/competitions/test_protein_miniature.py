"""The miniature of protein: real label sets, every class, patterns that tell the labels, fields photographed twice."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import kit_protein
from kit import testing
from kit.data.near_duplicates import NEAR, perceptual_hash
from kit_protein import miniature


@pytest.fixture
def few(monkeypatch):
    """A reduced miniature: every class once, two fields twice."""
    for name, value in (("TRAIN", 44), ("TEST", 6), ("TWINS", 2), ("LEAST", {"train": 1, "test": 0})):
        monkeypatch.setattr(miniature, name, value)


def drawn(seed: int, *labels: int) -> np.ndarray:
    """The four channels of a field of these labels, as photographed."""
    rng = np.random.default_rng([seed, 7])
    return miniature.photograph(rng, miniature.draw_light(rng, labels), (0, 0))


@pytest.mark.parametrize("seed", [0, 1])
def test_every_class_has_its_images_and_labels_are_as_many_as_in_reality(seed):
    for count, least in ((980, 12), (200, 2)):
        labels = miniature.choose_labels(np.random.default_rng(seed), count, least)
        assert len(labels) == count
        counts = np.bincount(np.concatenate(labels), minlength=28)
        assert counts.min() >= least
        several = np.bincount([len(row) for row in labels], minlength=6) / count
        assert several[0] == 0
        # Of the real 31,072: .487, .402, .102; rare classes made more frequent stand beside others more often.
        assert several[1] == pytest.approx(0.487, abs=0.15)
        assert several[2] == pytest.approx(0.402, abs=0.12)
        assert several[3] > 0.08


def test_labels_come_together_as_they_do_in_reality():
    """Lifts P(a, b) / P(a) P(b), counted by hand in the real train.csv."""
    labels = miniature.choose_labels(np.random.default_rng(0), 5000, 12)
    hot = np.zeros((len(labels), 28))
    for row, numbers in enumerate(labels):
        hot[row, list(numbers)] = 1
    share = hot.mean(0)

    def lift(a: int, b: int) -> float:
        return float((hot[:, a] * hot[:, b]).mean() / share[a] / share[b])

    assert lift(9, 10) > 20  # endosomes and lysosomes: nearly always together
    assert lift(16, 17) > 5  # cytokinetic bridge and mitotic spindle
    assert lift(14, 16) > 2
    assert lift(0, 23) < 1  # nucleoplasm and mitochondria avoid each other
    assert lift(7, 23) == 0


def test_frequent_pairs_keep_their_order():
    """Images with both labels, counted in the real train.csv; compressed, so it is their logarithms that agree."""
    real = {
        (0, 25): 3631,
        (0, 2): 1735,
        (0, 21): 1343,
        (0, 7): 1092,
        (21, 25): 921,
        (0, 5): 806,
        (2, 25): 782,
        (0, 19): 614,
        (0, 3): 571,
        (4, 25): 329,
        (0, 18): 279,
        (2, 23): 226,
        (14, 25): 157,
        (21, 22): 125,
    }
    labels = miniature.choose_labels(np.random.default_rng(0), 5000, 12)
    drawn_too = [sum(a in row and b in row for row in labels) for a, b in real]
    assert np.corrcoef(np.log(list(real.values())), np.log(drawn_too))[0, 1] > 0.9


def test_the_label_sets_are_the_real_ones(archives):
    table = pd.read_csv(archives / "protein_train_full.csv")
    real = table["Target"].map(lambda text: tuple(sorted(map(int, text.split())))).value_counts()
    for entry in miniature.LABEL_SETS.split():
        labels, count = entry.split(":")
        assert real[tuple(map(int, labels.split("+")))] == int(count)


def test_it_has_the_real_layout(few, tmp_path):
    miniature.write_miniature(tmp_path, 0)
    names = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert names == ["sample_submission.csv", "test", "train", "train.csv"]
    index = kit_protein.kit_datasets()[0].index(tmp_path)
    assert (len(index.train), len(index.test)) == (44, 6)
    assert not any(index.missing.values())
    assert len({len(id_) for id_ in index.train["id"]} | {36}) == 1
    truth = pd.read_csv(tmp_path / ".kit" / "sample_test_labels.csv")
    assert truth["Id"].tolist() == pd.read_csv(tmp_path / "sample_submission.csv")["Id"].tolist()
    for path in list((tmp_path / "train").iterdir())[::20]:
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((128, 128), "L")


def test_it_conforms_and_repeats(few, tmp_path):
    index = testing.check_dataset(kit_protein.kit_datasets()[0], tmp_path)
    testing.check_submission(kit_protein.kit_submissions()[0], index)


def test_the_full_size_is_within_the_limit():
    assert miniature.TRAIN + miniature.TEST <= 1200
    assert miniature.LEAST["train"] >= 12


def test_twins_are_near_duplicates_of_equal_labels(few, tmp_path):
    miniature.write_miniature(tmp_path, 3)
    spec = kit_protein.kit_datasets()[0]
    index = spec.index(tmp_path)
    hashed = np.array([perceptual_hash(spec.likeness(files)) for files in index.paths(index.train)])
    distance = np.unpackbits(hashed[:, None] ^ hashed[None], axis=2).sum(2)
    pairs = np.argwhere(np.triu(distance <= NEAR, 1))
    assert len(pairs) == 2
    # Without the hash: moved by up to 2 pixels, the inner part of one green image correlates with the other's.
    green = [spec.likeness(files).astype(float) for files in index.paths(index.train)]

    def alike(a: int, b: int) -> float:
        inner = green[a][8:-8, 8:-8].ravel()
        moves = [(8 + y, 8 + x) for y in range(-2, 3) for x in range(-2, 3)]
        return max(np.corrcoef(inner, green[b][y : y + 112, x : x + 112].ravel())[0, 1] for y, x in moves)

    likest = [(a, b) for a in range(44) for b in range(a + 1, 44) if alike(a, b) > 0.8]
    assert likest == [tuple(pair) for pair in pairs.tolist()]
    for a, b in pairs:
        assert index.train["target"].iat[a] == index.train["target"].iat[b]
        images = [spec.read(index.paths(index.train.iloc[[row]])[0]) for row in (a, b)]
        assert not np.array_equal(*images)


def share_inside(image: np.ndarray) -> float:
    """How much of the green light lies in the nuclei."""
    _, green, blue, _ = image.astype(float)
    nuclei = blue > 90
    light = np.clip(green - np.median(green), 0, None)
    return float(light[nuclei].sum() / light.sum())


def test_green_tells_where_the_protein_is_and_the_other_colours_do_not():
    labels = (0, 2, 5, 7, 21, 25)
    inside = {label: np.array([share_inside(drawn(seed, label)) for seed in range(8)]) for label in labels}
    for nuclear in (0, 2, 5):
        for outside in (7, 21, 25):
            assert inside[nuclear].min() > inside[outside].max()
    # One field, two proteins: the light before the photograph differs in green alone.
    one, other = (miniature.draw_light(np.random.default_rng(5), labels) for labels in ((0,), (21,)))
    assert not np.array_equal(one[1], other[1])
    for colour in (0, 2, 3):
        np.testing.assert_array_equal(one[colour], other[colour])


def test_every_class_has_a_pattern_of_its_own():
    """A simple reader tells them apart: the nearest mean of a few features of green light, well above chance."""

    def features(image: np.ndarray) -> np.ndarray:
        green, blue = image[1].astype(float), image[2].astype(float)
        light = np.clip(green - np.median(green), 0, None)
        light /= light.sum()
        spectrum = np.abs(np.fft.fft2(light)) ** 2
        ring = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
        power = [np.log(spectrum[(ring >= low) & (ring < low + 0.05)].mean()) for low in np.arange(0.01, 0.45, 0.05)]
        return np.array([*power, light[blue > 90].sum() * 5, np.log((light > light.max() / 4).mean()) * 2])

    def table(seeds: range) -> np.ndarray:
        return np.array([[features(drawn(100 * label + seed, label)) for seed in seeds] for label in range(28)])

    learned, judged = table(range(5)), table(range(5, 8))
    centre, spread = learned.mean(1), learned.reshape(-1, learned.shape[2]).std(0)
    distance = np.abs((judged[:, :, None] - centre[None, None]) / spread).sum(3)
    right = (distance.argmin(2) == np.arange(28)[:, None]).mean()
    assert right > 0.4  # chance is .036
