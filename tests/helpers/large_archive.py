"""1 GiB in the layout of the histopathology archive: members as large as the competition's, that hardly shrink."""

import hashlib
import random
import zipfile
from pathlib import Path

SLUG = "histopathologic-cancer-detection"
IMAGES, BYTES = 38_000, 28_000


def write_large_archive(path: Path) -> None:
    noise = random.Random(0).randbytes(BYTES + 4 * IMAGES)
    names = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(IMAGES)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("train_labels.csv", "id,label\n" + "".join(f"{name},{n % 2}\n" for n, name in enumerate(names)))
        file.writestr("sample_submission.csv", f"id,label\n{names[0]},0\n")
        file.writestr(f"test/{names[0]}.tif", noise[:BYTES])
        for number, name in enumerate(names):
            file.writestr(f"train/{name}.tif", noise[4 * number : 4 * number + BYTES])
