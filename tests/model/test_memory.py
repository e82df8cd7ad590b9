"""Fewer images at once where memory is too small: every row once and in order, whatever fails and where."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers.little_memory import SAID, TEXT
from kit.console import Console
from kit.errors import KitError
from kit.model.device import Runtime
from kit.model.memory import AtOnce, Kept
from kit.pixels.batches import Batch
from kit.pixels.sampler import ordered_plan
from kit.training.batch_norm import settle

FULL = torch.OutOfMemoryError(TEXT)


class Memory:
    """Loads batches of rows; a batch of more rows than `loads` fails in the loader."""

    def __init__(self, loads: int = 10**9) -> None:
        self.loads, self.asked = loads, []

    def batches(self, plan):
        for rows, _ in plan:
            self.asked.append(len(rows))
            if len(rows) > self.loads:
                raise FULL
            random = torch.Generator().manual_seed(int(rows[0]))
            images = torch.randn(len(rows), 3, 4, 4, generator=random) * (1 + float(rows[0]))
            yield Batch(images, torch.zeros(len(rows)), torch.zeros(len(rows), 0), torch.from_numpy(rows))


def passed(at_once: AtOnce, loader: Memory, count: int, size: int, most: int, views: int = 1) -> list[list[int]]:
    """Pass rows through work for which `most` images are not too many; return the rows of each batch."""

    def work(batch: Batch) -> list[int]:
        if min(len(batch.rows) * views, at_once.most or 10**9) > most:
            raise FULL
        return batch.rows.tolist()

    return [found for _, found in at_once.each(loader, ordered_plan(np.arange(count), size), work, views)]


CASES = [  # rows, in a batch, images that fit, views, rows of the largest batch in the end
    (10, 4, 4, 1, 4),
    (10, 4, 3, 1, 2),
    (10, 4, 1, 1, 1),
    (11, 7, 3, 1, 2),
    (10, 4, 16, 8, 2),
    (10, 4, 3, 8, 1),
    (3, 1, 1, 8, 1),
    (0, 4, 1, 1, 0),
]


@pytest.mark.parametrize(
    ("where", "count", "size", "most", "views", "largest"),
    [(where, *case) for case in CASES for where in ("network", "loader") if where == "network" or case[3] == 1],
)
def test_every_row_passes_once_and_in_order(capsys, where, count, size, most, views, largest):
    loader = Memory(most if where == "loader" else 10**9)
    found = passed(AtOnce(Console()), loader, count, size, most if where == "network" else 10**9, views)
    assert [row for rows in found for row in rows] == list(range(count))
    assert max(map(len, found), default=0) == largest
    assert capsys.readouterr().err.count("too little memory") == (size * views > most and count > 0)


def test_the_next_pass_begins_with_what_fitted_and_says_nothing(capsys):
    at_once = AtOnce(Console())
    passed(at_once, Memory(), 16, 8, 3)
    said = f"warning: {SAID} for 8 images at once: going on with 2, which changes no result\n"
    assert capsys.readouterr().err == said
    loader = Memory()
    passed(at_once, loader, 16, 8, 3)
    assert loader.asked == [2] * 8
    assert capsys.readouterr().err == ""


def test_memory_that_fails_in_the_middle_repeats_no_row():
    calls = []

    def work(batch):
        calls.append(batch.rows.tolist())
        if len(calls) == 3:
            raise FULL

    rows = [batch.rows.tolist() for batch, _ in AtOnce().each(Memory(), ordered_plan(np.arange(16), 4), work)]
    assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10, 11], [12, 13], [14, 15]]
    assert calls == [*rows[:2], [8, 9, 10, 11], *rows[2:]]


def test_one_image_that_does_not_fit_ends_the_pass():
    with pytest.raises(KitError) as caught:
        passed(AtOnce(Console()), Memory(), 8, 4, 0)
    assert caught.value.code == 5
    assert str(caught.value).startswith(f"{SAID} for fewer than 2 images at once: end what else uses it")


@pytest.mark.parametrize("error", [ValueError("other"), RuntimeError("other"), KitError("out of memory?")])
def test_other_errors_are_raised(error):
    def work(batch):
        raise error

    with pytest.raises(type(error)) as caught:
        next(AtOnce().each(Memory(), ordered_plan(np.arange(4), 2), work))
    assert caught.value is error


def test_tensors_are_set_back_whatever_their_types():
    tensors = [torch.ones(3), torch.tensor(5), torch.zeros(2, 2, dtype=torch.float64), torch.tensor([True])]
    kept = Kept(tensors)
    tensors[0].fill_(2)
    kept.keep()
    for tensor in tensors:
        tensor.zero_()
    kept.restore()
    assert [tensor.tolist() for tensor in tensors] == [[2, 2, 2], 5, [[0, 0], [0, 0]], [True]]


class Normed(nn.Module):
    """The second layer is reached only by batches that fit: of those that don't, the first has seen all."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.first, self.second, self.most = nn.BatchNorm2d(3), nn.BatchNorm2d(3), most

    def forward(self, images, metadata=None):
        images = self.first(images)
        if len(images) > self.most:
            raise FULL
        return self.second(images)


@pytest.mark.parametrize(("most", "sizes"), [(100, [7, 7, 4]), (4, [4, 3, 4, 3, 4]), (2, None)])
def test_settling_averages_over_the_parts_each_by_its_images(most, sizes):
    network = Normed(most)
    network.first.num_batches_tracked += 17
    plan = [(np.arange(a, b), np.zeros(b - a, np.int64)) for a, b in ((0, 7), (7, 14), (14, 18))]
    model, loader = SimpleNamespace(network=network, runtime=Runtime(torch.device("cpu"), None)), Memory()
    if sizes is None:  # 7 images can't be divided into twos alone
        with pytest.raises(KitError, match="for fewer than 4 images at once"):
            settle(model, loader, plan)
        return
    settle(model, loader, plan)
    edges = np.cumsum([0, *sizes]).tolist()
    parts = [(np.arange(a, b), None) for a, b in itertools.pairwise(edges)]
    seen = [batch.images.double().transpose(0, 1).flatten(1) for batch in Memory().batches(parts)]
    for name, of in (("running_mean", lambda each: each.mean(1)), ("running_var", lambda each: each.var(1))):
        mean = sum(size / 18 * of(each) for size, each in zip(sizes, seen, strict=True))
        torch.testing.assert_close(getattr(network.first, name).double(), mean, rtol=1e-5, atol=1e-6)
    assert int(network.first.num_batches_tracked) == 17
    assert int(network.second.num_batches_tracked) == 0
