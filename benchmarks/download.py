"""What `kit download` of 1 GiB takes beside `curl` followed by `unzip`: a ratio of seconds, 1.00 is the same.

A local server gives the archive by Kaggle's protocol; both sides fetch it from there and unpack it, in turn, as whole
processes, the start of Python included. kit also lists the files, follows the MD5, checks what it unpacks, reads the
index and syncs the disk at its end. 38,000 members of 28 kB as in histopathology, random bytes, deflated.

    python benchmarks/download.py [PAIRS]
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import machine

from helpers.large_archive import IMAGES, SLUG, write_large_archive

SERVER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from helpers.kaggle_server import KaggleServer
with KaggleServer(Path(sys.argv[2])) as server:
    server.add_competition(sys.argv[3], archive=Path(sys.argv[4]))
    server.signature_seconds = 36_000
    print(json.dumps([server.environment(), server.signed_url(sys.argv[3])]), flush=True)
    sys.stdin.read()
"""


def seconds(commands: list[list[str]], environment: dict[str, str]) -> float:
    os.sync()
    began = time.perf_counter()
    for command in commands:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    folder = Path(tempfile.mkdtemp())
    archive = folder / "served.zip"
    write_large_archive(archive)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, sys.path[0], str(folder), SLUG, str(archive)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    variables, url = json.loads(server.stdout.readline())
    kit, bare, fetch = [], [], []
    try:
        for pair in range(pairs):
            for side in ("kit", "bare") if pair % 2 else ("bare", "kit"):
                target = folder / f"{side} {pair}"
                environment = {**os.environ, **variables, "KIT_DATA": str(target)}
                if side == "kit":
                    kit.append(seconds([[sys.executable, "-m", "kit", "download", "histo"]], environment))
                else:
                    target.mkdir()
                    curl = ["curl", "-s", "-f", "-o", str(target / "a.zip"), url]
                    fetch.append(seconds([curl], environment))
                    unzip = ["unzip", "-q", str(target / "a.zip"), "-d", str(target)]
                    bare.append(fetch[-1] + seconds([unzip], environment))
                    (target / "a.zip").unlink()
        archive_bytes = archive.stat().st_size
    finally:
        server.terminate()
        shutil.rmtree(folder)
    ratios = [ours / theirs for ours, theirs in zip(kit, bare, strict=True)]
    machine.write(
        "download",
        {
            "bytes": archive_bytes,
            "members": IMAGES,
            "ratio": round(statistics.median(ratios), 3),
            "kit_seconds": [round(s, 2) for s in kit],
            "curl_unzip_seconds": [round(s, 2) for s in bare],
            "of_that_curl": [round(s, 2) for s in fetch],
        },
    )


if __name__ == "__main__":
    main()
