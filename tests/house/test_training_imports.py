"""Training imports no more than it needs: a machine that lacks the rest trains all the same."""

import subprocess
import sys

# Other commands need these, or options that this run does not use.
ABSENT = ("albumentations", "albucore", "kaggle", "kagglesdk", "ray", "fastai", "lightning", "py7zr", "tensorboard")
CODE = """
import importlib.metadata, sys
absent, version = sys.argv.pop(1).split(), importlib.metadata.version
def only_present(name):
    if name in absent:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = only_present
sys.modules.update(dict.fromkeys(absent))  # importing a name that stands for None fails
from kit.cli.app import main
main(sys.argv[1:])
"""


def test_a_machine_without_what_training_does_not_need_trains(store):
    words = "train histo --folds 2 --fold 0 --epochs 1 --size 32 --model small_cnn --no-pretrained --batch-size 32"
    command = [sys.executable, "-c", CODE, " ".join(ABSENT), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "out-of-fold roc_auc" in done.stderr + done.stdout
