"""Checks for plugin authors: does a plugin keep the contract that its specs state?

In a plugin's tests one line is enough, which becomes one test per check and spec:

    from kit import testing

    test_contract = testing.suite("kit_leaves")

`kit test-plugin` runs the same checks from the command line. The functions `check_*` check single things, and raise
`AssertionError` with the first broken promise. None of them checks that a model learns well.
"""

from kit.testing.check import Result
from kit.testing.direct import check_dataset, check_loss, check_model, check_plugin, check_submission
from kit.testing.running import run, suite

__all__ = [
    "Result",
    "check_dataset",
    "check_loss",
    "check_model",
    "check_plugin",
    "check_submission",
    "run",
    "suite",
]
