"""Bad input, third part: files that people bring: archives, csv of several kinds, pipelines."""

import struct
import zipfile

from helpers.bad_input import BYTES, Harm, Place, Row, both, each, fifo, folder, nothing, put, zip_of, zipped

ROWS: dict[str, Row] = {}
TRUTH = "grade histo --run H0 --truth t.csv"
FILE = "submit histo --dry-run --file s.csv"


def submission(change: "dict[int, str] | None" = None, head: str = "id,label", drop: int = 0, add: str = "") -> Harm:
    """The submission of H0 as s.csv, with other lines (by number, from 0), another heading, fewer or more lines."""

    def harm(place: Place) -> None:
        lines = place.path("H0/submission.csv").read_text().splitlines()[1:]
        for number, line in (change or {}).items():
            lines[number] = line.replace("ID", lines[number].split(",")[0]).replace("NEXT", lines[1].split(",")[0])
        lines = lines[: len(lines) - drop]
        place.path("s.csv").write_text("\n".join([head, *lines]) + "\n" + add, encoding="utf-8")

    return harm


# A csv to be sent: what the check finds.
for _name, (_harm, _pattern) in {
    "not there": (nothing, "not there"),
    "empty": (put("s.csv", ""), "can't be read|empty"),
    "of bytes": (put("s.csv", BYTES), r"can't be read|header"),
    "a folder": (folder("s.csv"), "not there|folder"),
    "another heading": (submission(head="Id,label"), "header"),
    "no heading": (submission(head="x"), "header|fields"),
    "a row less": (submission(drop=1), "missing"),
    "a row more": (submission(add="new,0.5\n"), "not in the sample"),
    "a row twice": (submission({0: "NEXT,0.5"}), "twice"),
    "an id of others": (submission({2: "nope,0.5"}), "not in the sample"),
    "above one": (submission({2: "ID,1.5"}), "outside 0..1"),
    "below zero": (submission({2: "ID,-0.1"}), "outside 0..1"),
    "not a number": (submission({2: "ID,nan"}), "not a number"),
    "infinite": (submission({2: "ID,inf"}), "infinite"),
    "text": (submission({2: "ID,high"}), "not a number"),
    "a cell empty": (submission({2: "ID,"}), "empty"),
    "a comma more": (submission({2: "ID,0.5,0.5"}), "can't be read|fields"),
    "a blank line": (submission({2: ""}), "not in the sample|empty"),
    "a number of 5,000 digits": (submission({2: "ID," + "9" * 5000}), "outside|infinite|number"),
    "a quotation mark open": (submission({2: 'ID,"0.5'}), r"\S"),
    "another order": (submission({0: "NEXT,0.5", 1: "ID,0.5"}), "twice|order"),
}.items():
    ROWS[f"a submission: {_name}"] = Row(_harm, FILE, _pattern, finds=True)


def truth(content: str) -> Harm:
    """The truth of the test images as t.csv; LINES are its lines without the heading, in short: id,0 or id,1."""

    def harm(place: Place) -> None:
        lines = place.path("D/.kit/sample_test_labels.csv").read_text().split("\n", 1)[1]
        first = lines.split("\n", 1)
        text = content.replace("LINES", lines).replace("REST", first[1]).replace("FIRST", first[0].split(",")[0])
        place.path("t.csv").write_text(text.replace("ZERO", lines.replace(",1\n", ",0\n")), encoding="utf-8")

    return harm


for _name, (_harm, _pattern) in {
    "not there": (nothing, "t.csv"),
    "empty": (put("t.csv", ""), "t.csv"),
    "of bytes": (put("t.csv", BYTES), "t.csv"),
    "a folder": (folder("t.csv"), "t.csv"),
    "a pipe": (fifo("t.csv"), "t.csv"),
    "without a column": (truth("id,x\nLINES"), "no column label: give --truth"),
    "a row less": (truth("id,label\nREST"), "same ids"),
    "a row more": (truth("id,label\nLINESnew,0\n"), "same ids"),
    "a row twice": (truth("id,label\nLINESFIRST,0\n"), r"t\.csv.*two rows for id"),
    "of text": (truth("id,label\nREST".replace("REST", "FIRST,high\nREST")), "not a finite number|neither 0 nor 1"),
    "not a number": (truth("id,label\nFIRST,nan\nREST"), "not a finite number|neither 0 nor 1"),
    "infinite": (truth("id,label\nFIRST,inf\nREST"), r"t\.csv|neither|number"),
    "a half": (truth("id,label\nFIRST,0.5\nREST"), r"t\.csv|neither 0 nor 1"),
    "three kinds": (truth("id,label\nFIRST,7\nREST"), r"t\.csv|neither 0 nor 1"),
    "one class alone": (truth("id,label\nZERO"), r"t\.csv|one class|class"),
    "a comma more": (truth("id,label\nFIRST,0,0\nREST"), "t.csv"),
}.items():
    ROWS[f"a truth: {_name}"] = Row(_harm, TRUTH, _pattern)


# Predictions of another tool.
def tool(change: "dict[int, str] | None" = None, head: str = "id,tumor", drop: int = 0, add: str = "") -> Harm:
    """The folds of H0 as a.csv (id, 0.5), its test ids as b.csv."""

    def harm(place: Place) -> None:
        lines = [f"{line.split(',')[0]},0.5" for line in place.path("H0/folds.csv").read_text().splitlines()[1:]]
        for number, line in (change or {}).items():
            lines[number] = line.replace("ID", lines[number].split(",")[0])
        place.path("a.csv").write_text("\n".join([head, *lines[: len(lines) - drop]]) + "\n" + add)
        place.path("b.csv").write_text(place.path("H0/submission.csv").read_text().replace("label", "tumor"))

    return harm


for _name, (_harm, _pattern) in {
    "not there": (nothing, "a.csv"),
    "empty": (both(tool(), put("a.csv", "")), "a.csv"),
    "of bytes": (both(tool(), put("a.csv", BYTES)), "a.csv"),
    "a folder": (both(tool(), folder("a.csv")), "a.csv"),
    "a column more": (tool(head="id,tumor,x", change={0: "ID,0.5,0.5"}), "a.csv"),
    "a row less": (tool(drop=1), "no row for id"),
    "a row more": (tool(add="new,0.5\n"), "not one of"),
    "a row twice": (both(tool(), each("a.csv", lambda c: c + c.splitlines()[1] + b"\n")), "two rows for id"),
    "above one": (tool({3: "ID,1.5"}), "numbers in 0..1"),
    "not a number": (tool({3: "ID,nan"}), "numbers in 0..1"),
    "of text": (tool({3: "ID,high"}), "numbers in 0..1"),
    "infinite": (tool({3: "ID,inf"}), "numbers in 0..1"),
    "a cell empty": (tool({3: "ID,"}), "numbers in 0..1"),
    "other folds": (
        both(tool(), each("a.csv", lambda c: c.replace(b"id,tumor", b"id,tumor,fold").replace(b",0.5", b",0.5,7"))),
        "fold",
    ),
    "folds of text": (
        both(tool(), each("a.csv", lambda c: c.replace(b"id,tumor", b"id,tumor,fold").replace(b",0.5", b",0.5,x"))),
        "fold",
    ),
    "tests not there": (both(tool(), each("b.csv", lambda c: b"")), "b.csv"),
    "tests of others": (both(tool(), put("b.csv", "id,tumor\nx,0.5\n")), "b.csv"),
}.items():
    ROWS[f"another tool: {_name}"] = Row(_harm, "blend H0 --oof a.csv --test b.csv", _pattern)
ROWS["another tool: half of it"] = Row(tool(), "blend H0 --oof a.csv", "give both")

# Groups, external images, pipelines.
for _name, (_harm, _pattern) in {
    "not there": (nothing, "g.csv"),
    "empty": (put("g.csv", ""), "g.csv"),
    "of bytes": (put("g.csv", BYTES), "g.csv"),
    "a folder": (folder("g.csv"), "g.csv"),
    "one column": (put("g.csv", "id\na\n"), "g.csv"),
    "other columns": (put("g.csv", "a,b\nc,d\n"), "no column"),
    "of others": (put("g.csv", "id,wsi\na,b\n"), "none of the"),
    "blank": (put("g.csv", "id,wsi\na,\n"), "none of the"),
    "a comma more": (put("g.csv", "id,wsi\na,b,c\n"), "g.csv"),
}.items():
    ROWS[f"groups: {_name}"] = Row(_harm, "folds histo --folds 2 --group g.csv", _pattern)
ROWS["groups: one giant"] = Row(
    lambda place: place.path("g.csv").write_text(
        "id,wsi\n"
        + "".join(f"{line.split(',')[0]},a_1\n" for line in place.path("H0/folds.csv").read_text().split()[1:])
    ),
    "folds histo --folds 2 --group g.csv",
    "1 group can't make 2 folds: --ignore-groups",
)
for _name, (_harm, _pattern) in {
    "not there": (nothing, "e.csv"),
    "empty": (put("e.csv", ""), "e.csv"),
    "of bytes": (put("e.csv", BYTES), "e.csv"),
    "an empty folder": (folder("e.csv"), "e.csv"),
    "other columns": (put("e.csv", "a,b\nc,0\n"), "no column"),
    "already there": (put("e.csv", "id,labels\ntrain00,0\n"), "already"),
}.items():
    ROWS[f"external: {_name}"] = Row(_harm, "train tiny --external e.csv", _pattern)
ROWS["external: without an image"] = Row(
    put("e.csv", "id,label\na,0\n"), "train histo --external e.csv", "1 of 1 ids have no image beside it"
)
ROWS["external: of text"] = Row(
    put("e.csv", "id,label\na,high\n"),
    "train histo --external e.csv",
    "the label of 'a' is 'high', not a finite",
)
_PIPELINE = '{"__version__": "2.0.8", "transform": {"__class_fullname__": "%s", "p": 1.0}}'
for _name, (_harm, _pattern) in {
    "not there": (nothing, "p.json"),
    "empty": (put("p.json", ""), "p.json"),
    "of bytes": (put("p.json", BYTES), "p.json"),
    "a list": (put("p.json", "[]"), "p.json"),
    "an object": (put("p.json", "{}"), "p.json"),
    "deep": (put("p.json", "[" * 100_000), "p.json"),
    "no such step": (put("p.json", _PIPELINE % "Nope"), "p.json"),
    "a step from elsewhere": (put("p.json", _PIPELINE % "os.system"), "p.json"),
    "a folder": (folder("p.json"), "p.json"),
}.items():
    ROWS[f"pipeline: {_name}"] = Row(_harm, "train histo --folds 2 --augment p.json --model small_cnn", _pattern)

# Archives.
GOOD = {"train.csv": "id,labels\na,0\nb,1\n", "train/a.png": "A", "train/b.png": "B", "test/c.png": "C"}


def renamed(old: str, new: str) -> bytes:
    """A zip of GOOD with a name replaced in its bytes, so that no writer can object."""
    return zip_of(GOOD).replace(old.encode(), new.encode())


def with_attributes(kind: int) -> bytes:
    info = zipfile.ZipInfo("train/x.png")
    info.external_attr = kind << 16
    return zip_of({**GOOD, info: "/etc/passwd"})


def damaged(compression: int) -> bytes:
    content = bytearray(zip_of({**GOOD, "train/c.png": "pixels " * 999}, compression=compression))
    at = content.find(b"train/c.png") + 40
    content[at : at + 8] = b"\xff" * 8
    return bytes(content)


def encrypted() -> bytes:
    """GOOD, of which all members say that they need a password."""
    content = bytearray(zip_of(GOOD))
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := content.find(sign, start + 1)) >= 0:
            content[start + at] |= 1
    return bytes(content)


def dictionary_of_4_gb() -> bytes:
    content = bytearray(zip_of({**GOOD, "train/c.png": "pixels " * 999}, compression=zipfile.ZIP_LZMA))
    at = content.find(b"train/c.png") + len("train/c.png")
    content[at + 5 : at + 9] = struct.pack("<I", 0xFFFFFFFF)
    return bytes(content)


for _name, (_harm, _pattern) in {
    "not there": (nothing, "no archive|not there"),
    "empty": (put("a.zip", ""), "not a zip|empty"),
    "text": (put("a.zip", "hello\n"), "not a zip|text"),
    "a page": (put("a.zip", "<!DOCTYPE html><html></html>"), "not a zip|page"),
    "a folder": (folder("a.zip"), r"a\.zip"),
    "a pipe": (fifo("a.zip"), r"a\.zip"),
    "cut": (put("a.zip", zip_of(GOOD)[:-60]), "cut short|damaged"),
    "without files": (put("a.zip", zip_of({})), "no files|not a zip"),
    "out of the folder": (put("a.zip", renamed("train/a.png", "../../a.png")), "leads out"),
    "absolute": (put("a.zip", renamed("train/a.png", "/etc/passwd")), "leads out|plain path"),
    "of a drive": (put("a.zip", renamed("train/a.png", "C:ain/a.png")), "leads out|plain path"),
    "with backslashes": (put("a.zip", renamed("train/a.png", "..\\..\\a.png")), "leads out|plain path"),
    "with a control character": (put("a.zip", renamed("train/a.png", "train/\x1b.png")), "leads out|plain path"),
    "kit's own folder": (put("a.zip", renamed("train/a.png", ".kit/ab.png")), "leads out|plain path"),
    "a name twice": (put("a.zip", renamed("train/a.png", "train/b.png")), "twice"),
    "a name twice but for its case": (put("a.zip", renamed("train/a.png", "train/B.png")), "twice"),
    "a file and a folder": (zipped("a.zip", {**GOOD, "train": "x"}), "name of its folder"),
    "a link": (put("a.zip", with_attributes(0o120777)), "link"),
    "a device": (put("a.zip", with_attributes(0o060666)), "device"),
    "encrypted": (put("a.zip", encrypted()), "encrypted|password"),
    "a bomb": (zipped("a.zip", {**GOOD, "test/c.png": bytes(200_000_000)}, compression=zipfile.ZIP_DEFLATED), "bomb"),
    "a stored member damaged": (
        put("a.zip", zip_of(GOOD).replace(b"id,labels", b"id,lapels", 1)),
        "damaged|checksum|CRC",
    ),
    "a deflated member damaged": (put("a.zip", damaged(zipfile.ZIP_DEFLATED)), "damaged"),
    "a bzip2 member damaged": (put("a.zip", damaged(zipfile.ZIP_BZIP2)), "damaged"),
    "an lzma member damaged": (put("a.zip", damaged(zipfile.ZIP_LZMA)), "damaged"),
    "an lzma dictionary of 4 GB": (put("a.zip", dictionary_of_4_gb()), "damaged|memory|dictionary"),
    "a name of 60,000 bytes": (zipped("a.zip", {**GOOD, "a/" * 30_000 + "b": "x"}), "name|path|long"),
    "data of others": (zipped("a.zip", {"readme.txt": "hello"}), "not the data|train.csv"),
    "labels of text": (zipped("a.zip", {**GOOD, "train.csv": "id,labels\na,red\nb,1\n"}), r"\S"),
    "a 7z of text": (put("a.7z", "7z\xbc\xaf\x27\x1c hello"), r"a\.7z"),
    "a 7z cut": (put("a.7z", b"7z\xbc\xaf'\x1c\x00\x04" + BYTES), r"a\.7z"),
    "a tar": (put("a.tar.gz", b"\x1f\x8b\x08" + BYTES), r"a\.tar"),
}.items():
    _file = "a.7z" if "7z" in _name else "a.tar.gz" if "tar" in _name else "a.zip"
    ROWS[f"archive: {_name}"] = Row(_harm, f"download tiny --force --from {_file}", _pattern)
ROWS |= {
    "archive: other data is there": Row(zipped("a.zip", GOOD), "download tiny --from a.zip", "--force replaces it"),
    "archive: nothing to add": Row(nothing, "download tiny --add", "--from"),
    "archive: and a miniature": Row(zipped("a.zip", GOOD), "download tiny --miniature --from a.zip", "exclude"),
    "archive: a seed": Row(zipped("a.zip", GOOD), "download tiny --from a.zip --seed 3", "--miniature"),
    "archive: kept": Row(zipped("a.zip", GOOD), "download tiny --from a.zip --keep", "--keep"),
    "miniature: of another seed": Row(nothing, "download tiny --miniature --seed 9", "--force"),
    "miniature: a negative seed": Row(nothing, "download tiny --miniature --seed -1 --force", "seed"),
}

# Splits.
for _name, (_harm, _words, _pattern) in {
    "not there": (nothing, "split-files nope s --splits 2", "not a folder"),
    "into themselves": (nothing, "split-files L/train L/train/s --splits 2", "lies in"),
    "too many": (nothing, "split-files L/train s --splits 99", "fewer"),
    "none": (nothing, "split-files L/train s --splits 0", "splits"),
    "no manifest": (folder("s"), "merge-files s", "s"),
    "manifest empty": (put("s/manifest.jsonl", ""), "merge-files s", "manifest"),
    "manifest text": (put("s/manifest.jsonl", "hello\n"), "merge-files s", "manifest"),
    "manifest a list": (put("s/manifest.jsonl", "[]\n"), "merge-files s", "manifest"),
    "manifest of bytes": (put("s/manifest.jsonl", BYTES), "merge-files s", "manifest"),
    "manifest without keys": (put("s/manifest.jsonl", "{}\n{}\n"), "merge-files s", "manifest"),
    "manifest deep": (put("s/manifest.jsonl", "[" * 100_000), "merge-files s", "manifest"),
}.items():
    ROWS[f"splits: {_name}"] = Row(_harm, _words.replace("L/", "data/tiny/"), _pattern)
