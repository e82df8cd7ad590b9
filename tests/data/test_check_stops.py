"""`kit check` that is stopped: it ends at once and leaves no process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

SESSION = 3  # field of /proc/PID/stat, counted behind the name


def members(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[SESSION] == str(session) and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("started", [0, 2])
def test_stopped_decoding_leaves_no_process(tmp_path, stop, started):
    """A terminal sends Ctrl-C to all processes, the other signals reach the first one alone."""
    picture = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    (tmp_path / "slow.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from kit.data.verify import decode_all; print('on', flush=True)\n"
        f"try: list(decode_all({str(tmp_path)!r}, [('slow.png',)] * 2000, processes=2))\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    until = time.monotonic() + 20
    # The process, and the two that decode.
    while started and len(members(process.pid)) < 1 + started and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.3 if started else 0.05)
    began = time.monotonic()
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)
    else:
        os.kill(process.pid, stop)
    out, error = process.communicate(timeout=20)
    while members(process.pid) and time.monotonic() - began < 10:
        time.sleep(0.05)
    assert members(process.pid) == []
    assert time.monotonic() - began < 5
    assert "Traceback" not in error
    assert (out == "interrupted\n") == (stop == signal.SIGINT)
