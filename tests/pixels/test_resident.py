"""Pixels that lie on the GPU: which of them, what is said, and that they change no number."""

import numpy as np
import pytest
import torch

from helpers.leaf_images import Leaves
from helpers.warp_cases import EVERY, config
from kit.console import Console
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.pixels import resident
from kit.pixels.augment import make_augment
from kit.pixels.batches import Loader, Normalize
from kit.pixels.sampler import training_plan

CPU = torch.device("cpu")


@pytest.fixture
def leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "_held", {})
    monkeypatch.setattr(resident, "_full", set())
    return Leaves(tmp_path)


def free(monkeypatch, count: int | None) -> None:
    monkeypatch.setattr(resident, "free_memory", lambda device: count)


@pytest.mark.parametrize(("size", "crop"), [(20, 1.0), (16, 1.0), (31, 1.0), (10, 0.5)])
@pytest.mark.parametrize("steps", [None, {}, EVERY])
def test_batches_are_those_that_are_copied_to_the_bit(leaves, monkeypatch, size, crop, steps):
    free(monkeypatch, 10**6)
    samples = leaves.samples(size, True, crop)
    augment = None if steps is None else make_augment(config(size=size, crop=crop, **steps), None, Registry())
    loader = Loader(samples, augment, 0, CPU, Normalize([0.5] * 3, [0.25] * 3))
    loader.on_device = True
    # Batches of several sizes, in several blocks.
    plan = [batch for epoch in range(3) for step in training_plan(6, 4, (0, 0, epoch)) for batch in step]
    monkeypatch.setattr("kit.pixels.on_device.BLOCK", 9)
    copied = [batch._replace(images=batch.images.clone()) for batch in loader.batches(plan)]
    resident.keep(samples.packs.values(), CPU, "auto", Console(silent=True))
    there = resident.held(samples.pack, CPU)
    assert torch.equal(there, torch.tensor(samples.pack.pixels))
    there.copy_(255 - there)  # what follows can only come from there
    inverted = [batch.images.clone() for batch in loader.batches(plan)]
    assert not any(torch.equal(ours.images, theirs) for ours, theirs in zip(copied, inverted, strict=True))
    there.copy_(255 - there)
    monkeypatch.setattr(type(samples), "stored", None)  # the host reads no pixel
    for ours, theirs in zip(copied, loader.batches(plan), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


BYTES = 6 * 20 * 20 * 3


@pytest.mark.parametrize(
    ("pixels", "memory", "there", "said"),
    [
        ("auto", 2 * BYTES, True, "stay on the GPU"),
        ("auto", 2 * BYTES - 1, False, "copied to the GPU batch by batch"),
        ("gpu", BYTES, True, "stay on the GPU"),
        ("host", 10**9, False, ""),
        ("auto", None, False, ""),  # a CPU has no memory of its own
        ("gpu", None, False, ""),
    ],
)
def test_pixels_lie_where_the_configuration_says_and_memory_allows(
    leaves, monkeypatch, capsys, pixels, memory, there, said
):
    free(monkeypatch, memory)
    pack = leaves.samples(20, True).pack
    for _ in range(2):  # the second fold finds them, and is told nothing
        resident.keep([pack], CPU, pixels, Console())
        assert (resident.held(pack, CPU) is not None) == there
    out = capsys.readouterr().out
    assert said in out
    assert out.count("stay on") == there
    resident.keep([], CPU, pixels, Console())
    assert resident.held(pack, CPU) is None


def test_pixels_that_must_lie_there_and_do_not_fit_are_an_error(leaves, monkeypatch):
    free(monkeypatch, BYTES - 1)
    with pytest.raises(KitError, match=r"do not fit .*--set pixels=auto"):
        resident.keep([leaves.samples(20, True).pack], CPU, "gpu", Console(silent=True))


def test_memory_that_a_network_needed_stays_with_it(leaves, monkeypatch):
    free(monkeypatch, 10**9)
    pack = leaves.samples(20, True).pack
    assert not resident.release(CPU)
    resident._full.clear()
    resident.keep([pack], CPU, "auto", Console(silent=True))
    assert resident.release(CPU)
    assert resident.held(pack, CPU) is None
    resident.keep([pack], CPU, "auto", Console(silent=True))
    assert resident.held(pack, CPU) is None


def test_damaged_pixels_are_not_held(leaves, monkeypatch):
    free(monkeypatch, 10**9)
    pack = leaves.samples(20, True).pack
    pixels = bytearray(pack.path.read_bytes())
    pixels[100] ^= 1
    pack.path.write_bytes(pixels)
    with pytest.raises(KitError, match="damaged"):
        resident.keep([leaves.samples(20, True).pack], CPU, "auto", Console(silent=True))
    assert resident.held(pack, CPU) is None


def test_a_pipeline_of_ones_own_sees_every_image_wherever_pixels_lie(leaves, monkeypatch):
    free(monkeypatch, 10**9)
    samples = leaves.samples(20, True)
    resident.keep([samples.pack], CPU, "auto", Console(silent=True))
    black = Loader(samples, lambda image, seed: np.zeros_like(image), 0, CPU, Normalize([0.0] * 3, [1.0] * 3))
    black.on_device = True
    assert all((batch.images == 0).all() for batch in black.batches([(np.arange(6), np.arange(6))]))
