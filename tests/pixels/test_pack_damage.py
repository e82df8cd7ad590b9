"""Packs that are damaged: never used, always named, and mended by the command that the message names."""

import copy
import multiprocessing

import numpy as np
import pytest

from helpers.packs_made import CONSOLE, Made
from kit.config import validate
from kit.errors import KitError
from kit.files import read_json, write_json
from kit.pixels import pack_workers
from kit.pixels.pack import mend_packed
from kit.pixels.packed import verify_packs
from kit.pixels.samples import Samples
from kit.pixels.statistics import row_statistics

NAMED = r"rows 12 to 15 are damaged on this disk: kit pack made --split train --verify --size 8 repairs it"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(pack_workers, "CHUNK_ROWS", 4)


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path / "made", [(8, 8)] * 30)


def flip(path, place: int, bits: int = 16) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= bits
    path.write_bytes(content)


def samples_of(made: Made, pack) -> Samples:
    return Samples.of(made.index, made.index.train, made.store.dataset, 8, {8: pack})


@pytest.mark.parametrize(
    "use",
    [
        lambda made, pack: pack.pixels,
        lambda made, pack: pack.verified(np.array([3, 14])),
        lambda made, pack: samples_of(made, pack).stored(np.array([0, 13, 20])),
        lambda made, pack: samples_of(made, pack).image(15),
        lambda made, pack: copy.copy(pack).verified(np.array([12])),
        lambda made, pack: row_statistics(made.store, made.index, "train", config(), CONSOLE),
    ],
    ids=["all", "rows", "batch", "image", "another process", "statistics"],
)
def test_a_damaged_chunk_is_never_used(made, use):
    pack = made.pack()
    flip(pack.path, 13 * 192 + 5)
    with pytest.raises(KitError, match=NAMED):
        use(made, made.find())
    samples_of(made, made.find()).stored(np.array([0, 11, 16, 29]))
    assert mend_packed(made.store, made.index, "train", 8, CONSOLE) == [range(12, 16)]
    use(made, made.find())


def config():
    facts = {"competition": "made", "dataset": "grey", "loss": "bce", "folds": 2, "size": 8, "normalize": "image"}
    return validate(facts)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_each_process_verifies_for_itself(made, start):
    pack = made.pack()
    assert pack.pixels.size
    flip(pack.path, 5)
    context = multiprocessing.get_context(start)
    with context.Pool(1) as pool:
        answer = pool.apply(_first, (made.find(),))
    assert f"rows 0 to {3 if start == 'fork' else 29} are damaged" in answer  # a new process knows no small chunks


def _first(pack) -> str:
    try:
        return str(pack.verified(np.array([0])).shape)
    except KitError as error:
        return str(error)


def test_a_chunk_is_verified_once(made, monkeypatch):
    made.pack()
    pack, sums = made.find(), []
    monkeypatch.setattr("zlib.crc32", lambda data: sums.append(1) or pack.checksums[len(sums) - 1])
    for _ in range(3):
        pack.verified(np.arange(10))
    assert len(sums) == 3


@pytest.mark.parametrize("byte", range(0, 900, 37))
def test_every_byte_of_a_manifest_counts(made, byte, capsys):
    """A pack with a damaged manifest is made anew, with a line that says so."""
    content = made.pack().path.read_bytes()
    note = made.path("json")
    flip(note, byte % note.stat().st_size, 1)
    [(path, what)] = verify_packs(made.store, CONSOLE)
    assert path == note
    assert "\n" not in what
    assert made.find() is None
    capsys.readouterr()
    pack = made.pack()
    assert pack.images_per_second is not None
    assert pack.path.read_bytes() == content
    assert capsys.readouterr().err.count("the pack is made anew") == 1
    assert verify_packs(made.store, CONSOLE) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "null", "\0", "[" * 100_000, '{"format": 2}', '{"format": "1"}'])
def test_a_manifest_by_hand_is_no_manifest(made, text, capsys):
    made.pack()
    made.path("json").write_text(text)
    assert made.find() is None
    assert len(verify_packs(made.store, CONSOLE)) == 1
    assert mend_packed(made.store, made.index, "train", 8, CONSOLE) == [range(30)]
    assert made.find() is not None


def test_checksums_that_were_exchanged_are_noticed(made):
    """A seal can be made by anybody who writes the manifest; its digest is that of its checksums."""
    made.pack()
    manifest = read_json(made.path("json"))
    manifest["checksums"][2] += 1
    write_json(made.path("json"), manifest)
    assert made.find() is None


def test_a_manifest_without_a_seal_is_read(made):
    """Kit wrote none before version 0.4."""
    pack = made.pack()
    note = made.path("json")
    lines = note.read_text().splitlines()
    assert "sha256" in lines[-2]
    note.write_text("\n".join([*lines[:-3], "  ]", "}"]) + "\n")
    assert made.find().digest == pack.digest
    assert verify_packs(made.store, CONSOLE) == []


@pytest.mark.parametrize("place", range(0, 30 * 192, 577))
def test_every_byte_of_the_pixels_counts(made, place):
    pack = made.pack()
    made.pack(6)
    flip(pack.path, place, 1)
    [(path, what)] = verify_packs(made.store, CONSOLE)
    assert path == pack.path
    first = place // 192 // 4 * 4
    assert what == f"rows {first} to {min(first + 3, 29)} are damaged"
    with pytest.raises(KitError, match=f"rows {first} to"):
        made.find().verified(np.array([first + 1]))


def test_pixels_that_are_cut_or_gone_are_named(made):
    pack = made.pack()
    pack.path.write_bytes(pack.path.read_bytes()[:-1])
    [(path, what)] = verify_packs(made.store, CONSOLE)
    assert "has 5,759 bytes, not 5,760" in what
    pack.path.unlink()
    assert verify_packs(made.store, CONSOLE) == [(path, "its pixels are gone: kit pack makes them again")]
    made.pack()
    assert verify_packs(made.store, CONSOLE) == []


@pytest.mark.parametrize("ending", ["part", "journal", "json", "pixels"])
def test_nothing_is_written_through_a_link(made, tmp_path, ending):
    path = made.pack().path.with_suffix(f".{ending}")
    mine = tmp_path / "mine"
    mine.write_text("the person's own")
    made.take(made.find())
    path.parent.mkdir()
    path.symlink_to(mine)
    if ending in ("part", "journal"):
        with pytest.raises(KitError, match=f"{path.name} is a link or a device, and kit opens plain files only there"):
            made.pack()
    else:
        made.pack()
    assert mine.read_text() == "the person's own"


def test_no_command_uses_damaged_pixels(kit, store):
    """Of the test part, which predict reads; train reads the other."""
    options = ("--folds", 2, "--fold", 0, "--epochs", 1, "--model", "small_cnn", "--size", 16)
    run = kit("train", "histo", *options, "--json").json["run"]
    kit("predict")
    packs = {split: next((store.own / "packed").glob(f"*-{split}-*.pixels")) for split in ("train", "test")}
    for split, commands in {"test": [("predict",)], "train": [("evaluate",), ("train", "histo", *options)]}.items():
        flip(packs[split], 999)
        for command in commands:
            error = kit(*command, code=2).err
            assert f"{packs[split].name}: rows 0 to 3 are damaged" in error
            assert f"kit pack histopathology --split {split} --verify --size 16 repairs it" in error
        kit("pack", "histo", "--split", split, "--verify", "--size", 16, code=2)
        for command in commands:
            kit(*command, *([run] if command == ("evaluate",) else []))
