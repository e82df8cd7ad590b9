"""Without a card the tests marked `gpu` cost nothing and say what runs them; with one, the others do not see it."""

import os
import subprocess
import sys

import pytest

from helpers import ROOT, no_gpu


@pytest.mark.skipif(no_gpu.has_driver(), reason="there may be a GPU here")
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


def test_other_tests_see_no_gpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(no_gpu, "has_driver", lambda: True)
    with no_gpu.hidden():
        assert not torch.cuda.is_available()
        assert torch.cuda.device_count() == 0
        program = "import os; print(repr(os.environ['CUDA_VISIBLE_DEVICES']))"
        assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "''\n"
    assert torch.cuda.is_available()
