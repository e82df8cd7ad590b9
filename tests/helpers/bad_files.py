"""Bad input, first part: files of runs and of data that are damaged, gone, or written by hand."""

from helpers.bad_input import (
    BYTES,
    Row,
    both,
    cut,
    each,
    edit,
    fifo,
    flip,
    folder,
    gone,
    having,
    json_harms,
    link,
    put,
    swap,
    without,
)

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
HTML = "<!DOCTYPE html><html><head><title>Sign in</title></head></html>\n"
POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 96\nshowpage\n"
LABELS, SAMPLE = "D/train_labels.csv", "D/sample_submission.csv"

ROWS: dict[str, Row] = {}

# JSON of a run, each kind by the command that needs it.
for _file, _words in {
    "H0/run.json": "predict H0",
    "H0/manifest.json": "submit H0 --dry-run",
    "H0/fold-0/checkpoint.json": "predict H0",
    "H0/fold-0/result.json": "report H0 --text",
    "T0/thresholds.json": "submit T0 --dry-run",
}.items():
    for _what, _harm in json_harms(_file).items():
        ROWS[f"{_file} {_what}"] = Row(_harm, _words, rf"{_file.rsplit('/', 1)[1]}|manifest|fold-0 has no")

for _key in ("created", "config", "state", "config.competition", "planned", "classes", "folds"):
    ROWS[f"run.json without {_key}"] = Row(without("H0/run.json", _key), "evaluate H0", rf"run\.json|{_key}")
for _key, _value in {
    "config": [],
    "config.size": "large",
    "config.epochs": -1,
    "config.competition": 7,
    "config.size#": 1e9,
    "planned": "all",
    "planned#": [0, 99],
    "classes": 5,
    "folds": None,
    "folds.digest": 3,
    "state": ["finished"],
    "created": 12,
    "origin": {},
    "normalization": "none",
    "format": "two",
    "format#": 99,
    "score": 3,
}.items():
    _field = _key.rstrip("#")
    ROWS[f"run.json with {_key} = {_value!r}"] = Row(having("H0/run.json", _field, _value), "evaluate H0", r"\S")

ROWS |= {
    "a digit of run.json": Row(
        swap("H0/run.json", '"size": 16', '"size": 17'), "predict H0", r"run\.json.*(hand|damag)"
    ),
    "tta of run.json": Row(swap("H0/run.json", '"tta": 8', '"tta": 1'), "predict H0", r"run\.json.*(hand|damag)"),
    "run.json gone": Row(gone("H0/run.json"), "predict H0", r"no run|not a run"),
    "run.json a folder": Row(folder("H0/run.json"), "predict H0", r"no run|not a run|plain"),
    "run.json a pipe": Row(fifo("H0/run.json"), "predict H0", r"no run|not a run|plain"),
    "a fold that is none": Row(
        both(folder("H0/fold-0.bak"), gone("H0/fold-*/result.json")), "predict H0", "no trained"
    ),
    # Weights.
    "weights cut": Row(cut("H0/fold-0/weights*"), "predict H0", "weights.*(damaged|cut)"),
    "weights flipped": Row(flip("H0/fold-0/weights*"), "predict H0", "weights.*damaged"),
    "weights empty": Row(each("H0/fold-0/weights*", lambda content: b""), "evaluate H0", "weights"),
    "weights gone": Row(gone("H0/fold-0/weights*"), "predict H0", "weights.*(missing|gone|not there)"),
    "weights a page": Row(each("H0/fold-0/weights*", lambda content: HTML.encode(), True), "predict H0", "weights"),
    "weights a pointer": Row(each("H0/fold-0/weights*", lambda content: LFS.encode(), True), "predict H0", "weights"),
    "weights cut and entered": Row(each("H0/fold-0/weights*", lambda c: c[:-9], True), "predict H0", "weights"),
    "checkpoint gone": Row(gone("H0/fold-0/checkpoint.json"), "predict H0", "fold-0"),
    "checkpoint names another folder": Row(
        swap("H0/fold-0/checkpoint.json", '"file": "', '"file": "../../../'), "predict H0", "checkpoint|weights"
    ),
    # Tables and predictions of a run.
    "history of text": Row(
        each("H0/fold-0/history.csv", lambda c: b"epoch,seconds\nx,y\n"), "report H0 --text", "history"
    ),
    "history of bytes": Row(each("H0/fold-0/history.csv", lambda c: BYTES), "report H0 --text", "history"),
    "history without columns": Row(each("H0/fold-0/history.csv", lambda c: b"a\n1\n"), "report H0 --text", "history"),
    "oof flipped": Row(flip("H0/oof.npz"), "report H0 --text", "oof.*damaged"),
    "oof cut": Row(cut("T0/oof.npz"), "thresholds T0", "oof.*damaged"),
    "oof cut and entered": Row(each("T0/oof.npz", lambda c: c[:-40], True), "thresholds T0", "oof"),
    "oof no zip": Row(each("T0/oof.npz", lambda c: b"PK" + BYTES, True), "thresholds T0", "oof"),
    "oof a bad crc": Row(
        each("T0/oof.npz", lambda c: c.replace(b"train05", b"train99", 1), True), "thresholds T0", "oof"
    ),
    "oof of 9 TiB": Row(
        each("T0/oof.npz", lambda c: c.replace(b"'shape': (24, 3)", b"'shape': (9999999999999, 3)"[:16]), True),
        "thresholds T0",
        "oof",
    ),
    "oof gone": Row(gone("T0/oof.npz"), "thresholds T0", "oof"),
    "test predictions flipped": Row(flip("H0/test.npz"), "submit H0 --dry-run", "test.npz.*damaged"),
    "test predictions gone": Row(gone("H0/test.npz"), "submit H0 --dry-run", "kit predict"),
    "oof of a fold flipped": Row(flip("H0/fold-1/oof.npz"), "evaluate H0", "oof.*damaged"),
    "submission flipped": Row(
        flip("H0/submission.csv"), "grade histo --run H0 --truth D/.kit/sample_test_labels.csv", "submission.*damaged"
    ),
    "folds of a run flipped": Row(flip("H0/folds.csv"), "evaluate H0", "folds.csv.*damaged"),
    "folds of a run gone": Row(gone("H0/folds.csv"), "evaluate H0", "folds"),
    "folds of a run as text": Row(each("H0/folds.csv", lambda c: b"id,fold\na,x\n", True), "evaluate H0", "folds"),
    "folds of a run as bytes": Row(each("H0/folds.csv", lambda c: BYTES, True), "evaluate H0", "folds"),
    "folds of a run of others": Row(
        each("H0/folds.csv", lambda c: b"id,fold\na,0\nb,1\n", True), "evaluate H0", "folds"
    ),
    "a rule of text": Row(having("T0/thresholds.json", "rule", "half"), "submit T0 --dry-run", "thresholds"),
    "a rule of others": Row(
        edit("T0/thresholds.json", lambda d: {**d, "rule": {"method": "nope"}}), "submit T0 --dry-run", "thresholds"
    ),
    # Links in a run.
    "log a link": Row(link("H0/log.txt", "/tmp/elsewhere"), "train --resume H0", "log.txt.*(link|plain)"),
    "lock a link": Row(link("H0/.lock", "/tmp/elsewhere"), "train --resume H0", r"\.lock.*(link|plain)"),
    "manifest lock a link": Row(link("H0/.manifest.lock", "/tmp/else"), "submit H0 --dry-run", r"lock.*(link|plain)"),
    "test predictions a link": Row(link("H0/test.npz", "/etc/hostname"), "submit H0 --dry-run", "test.npz"),
    # Data: tables.
    "labels gone": Row(gone(LABELS), "check histo", "train_labels.*not there"),
    "labels empty": Row(put(LABELS, ""), "train histo", "train_labels"),
    "labels a heading alone": Row(put(LABELS, "id,label\n"), "train histo", r"\S"),
    "labels without a column": Row(put(LABELS, "id,target\na,0\n"), "folds histo", "no column 'label'"),
    "labels of three kinds": Row(swap(LABELS, ",1\n", ",2\n"), "train histo", "neither 0 nor 1"),
    "a label missing": Row(swap(LABELS, ",1\n", ",\n"), "train histo", "neither 0 nor 1|without a label"),
    "a label of 5,000 digits": Row(swap(LABELS, ",1\n", f",{'1' * 5000}\n"), "train histo", "neither 0 nor 1"),
    "a label not a number": Row(swap(LABELS, ",1\n", ",nan\n"), "explore histo", "neither 0 nor 1"),
    "labels of bytes": Row(put(LABELS, BYTES), "train histo", "train_labels"),
    "labels in another encoding": Row(
        put(LABELS, "id,label\n\xe9,0\n".encode("latin-1")), "check histo", "train_labels"
    ),
    "labels with a comma more": Row(put(LABELS, "id,label\na,0,\nb,1,\n"), "train histo", "train_labels"),
    "labels a folder": Row(folder(LABELS), "train histo", "train_labels"),
    "labels a pipe": Row(fifo(LABELS), "train histo", "train_labels"),
    "labels of others": Row(put(LABELS, "id,label\nx,0\ny,1\n"), "train histo", r"image|train"),
    "a tiny label of 5,000 digits": Row(put("L/train.csv", f"id,labels\ntrain00,{'1' * 5000}\n"), "train tiny", r"\S"),
    "sample submission gone": Row(gone(SAMPLE), "predict H0", "sample_submission.*not there"),
    "sample submission empty": Row(put(SAMPLE, ""), "submit H0 --dry-run", "sample_submission"),
    "sample submission of bytes": Row(put(SAMPLE, BYTES), "submit H0 --dry-run", "sample_submission"),
    "training folder gone": Row(gone("D/train"), "train histo", "train"),
    "test folder gone": Row(gone("D/test"), "predict H0", "test"),
    # Data: images.
    "an image cut": Row(cut("D/train/*.tif"), "check histo", "can't be|decode|WRONG|failed", finds=True),
    "an image empty": Row(each("D/train/*.tif", lambda c: b""), "check histo", "failed", finds=True),
    "an image of text": Row(each("D/train/*.tif", lambda c: b"hello"), "pack histo --size 24", "can't be read"),
    "an image a page": Row(each("D/train/*.tif", lambda c: HTML.encode()), "train histo --size 24", "can't be read"),
    "an image PostScript": Row(
        each("D/train/*.tif", lambda c: POSTSCRIPT.encode()), "check histo", "failed", finds=True
    ),
    "test images of text": Row(each("D/test/*.tif", lambda c: b"hello"), "predict H0", "can't be read"),
    "an image of others": Row(
        each("D/train/*.tif", lambda c: b"\x89PNG\r\n\x1a\n" + BYTES), "explore histo", "can't be read"
    ),
    # Data: what kit keeps beside it.
    "origin a list": Row(put("D/.kit/origin.json", "[]"), "check histo", "origin.json"),
    "origin text": Row(put("D/.kit/origin.json", "hello"), "train histo", "origin.json"),
    "origin without keys": Row(put("D/.kit/origin.json", "{}"), "train histo", "origin.json"),
    "origin of wrong types": Row(put("D/.kit/origin.json", '{"origin": 3, "source": []}'), "info histo", "origin.json"),
    "origin deep": Row(put("D/.kit/origin.json", "[" * 100_000), "predict H0", "origin.json"),
    "origin unknown": Row(put("D/.kit/origin.json", '{"origin": "moon", "source": "x"}'), "predict H0", "moon|origin"),
    "saved folds edited": Row(
        each("D/.kit/folds/2.*", lambda c: c.replace(b",0\n", b",1\n", 1) + b"\n"), "train histo --folds 2", "folds"
    ),
    "saved folds of bytes": Row(each("D/.kit/folds/2.*", lambda c: BYTES), "train histo --folds 2", "folds"),
    "saved folds empty": Row(each("D/.kit/folds/2.csv", lambda c: b""), "train histo --folds 2", "folds"),
    "saved folds lists": Row(each("D/.kit/folds/2.*", lambda c: b"[]"), "train histo --folds 2", "folds"),
    "pixels of the test flipped": Row(flip("D/.kit/packed/*test*.pixels"), "predict H0", "pack"),
    "pixels of training flipped": Row(flip("D/.kit/packed/*train*.pixels"), "evaluate H0", "pack"),
    "packs in a file": Row(both(gone("L/.kit/packed"), put("L/.kit/packed", "x")), "predict T0", "packed", code=5),
    "other data": Row(gone("D/.kit/origin.json"), "predict H0", "nothing|no data"),
    "data gone": Row(gone("D/train"), "evaluate H0", "train"),
}
