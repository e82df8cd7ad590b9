"""A download of 1 GiB as a person runs it: killed on its way, whole in the end, in little memory."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from helpers.kaggle_server import KaggleServer
from helpers.large_archive import IMAGES, SLUG, write_large_archive

LIMIT_KIB = 200 * 1024


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.zip"
    write_large_archive(path)
    assert path.stat().st_size > 1_000_000_000
    return path


def start(server: KaggleServer) -> subprocess.Popen:
    code = "from kit.cli.app import main; main(['download', 'histo', '--json'])"
    environment = {**os.environ, **server.environment()}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def wrong(data: Path, archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        return [i.filename for i in file.infolist() if zlib.crc32((data / i.filename).read_bytes()) != i.CRC]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [0, 4])
def test_one_gibibyte_arrives(tmp_path, archive, kills):
    data = tmp_path / "data" / SLUG
    with KaggleServer(tmp_path) as server:
        server.add_competition(SLUG, archive=archive)
        for number in range(kills):
            process = start(server)
            time.sleep(0.9 + 0.3 * number)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        process = start(server)
        out = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        sent = sum(call.sent for call in server.calls("storage"))
    assert process.returncode == 0
    assert json.loads(out)["train"] == IMAGES
    assert wrong(data, archive) == []
    assert usage.ru_maxrss < LIMIT_KIB
    # What was on its way in the sockets when a kill came is sent again.
    assert sent <= archive.stat().st_size + kills * 20_000_000
