"""Without a card the tests marked `gpu` cost nothing and say what runs them."""

import os
import subprocess
import sys

import pytest

from helpers import ROOT


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there may be a GPU here")
def test_they_are_skipped_unread_with_one_message():
    """Nothing that they import is imported: torch alone takes seconds."""
    program = (
        "import sys, pytest; code = pytest.main(['-q', '-rs', '-p', 'no:cacheprovider', 'tests/gpu']); "
        "print('torch' in sys.modules, int(code))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "KIT_GPU_REHEARSAL"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("no GPU here: make gpu runs these on a card") == 1
    assert done.stdout.split()[-2:] == ["False", "5"], "no test was collected"
