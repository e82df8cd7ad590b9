"""How many files are in each split."""

import pytest

from helpers.trees import refusal
from kit_split_files.plan import split_sizes


def test_the_count_of_histopathology_is_divided_as_its_original_did():
    assert split_sizes(220_025, 3385, None) == [3385] * 65
    assert split_sizes(220_025, 3000, None) == [3385] * 65
    assert split_sizes(220_025, None, 65) == [3385] * 65


@pytest.mark.parametrize(
    ("count", "per_dir", "sizes"),
    [
        (12, 4, [4] * 3),
        (12, 5, [4] * 3),
        (15, 4, [3] * 5),
        (10, 4, [5, 5]),
        (7, 3, [3, 2, 2]),
        (7, 4, [4, 3]),
        (7, 7, [7]),
        (5, 100, [5]),
        (1, 1, [1]),
        (101, 10, [10, 10, *[9] * 9]),
        (3, 1, [1] * 3),
    ],
)
def test_files_per_directory(count, per_dir, sizes):
    assert split_sizes(count, per_dir, None) == sizes


def test_splits_differ_by_at_most_one_and_hold_all():
    for count in [*range(1, 80), 997, 1000, 57_458]:
        for asked in (1, 2, 3, 7, 10, 64):
            sizes = split_sizes(count, asked, None)
            assert sum(sizes) == count
            assert max(sizes) - min(sizes) <= 1
            assert max(sizes) <= 2 * asked
            assert min(sizes) * 2 >= min(asked, count) or len(set(sizes)) == 2
            if asked <= count:
                sizes = split_sizes(count, None, asked)
                assert (sum(sizes), len(sizes)) == (count, asked)
                assert max(sizes) - min(sizes) <= 1
    assert "give --splits 3 or fewer" in refusal(lambda: split_sizes(3, None, 4))
