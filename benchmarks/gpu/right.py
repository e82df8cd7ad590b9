"""Stage `right`: the tests marked gpu, each outcome noted as soon as it is known.

What a test measures and gives to pytest's `record_property` is noted too.
"""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from stage import Stage

TESTS = Path(__file__).resolve().parents[2] / "tests" / "gpu"
LENGTH = 200  # of a line that says why


class Outcomes:
    """A plugin of pytest that hands every outcome to the runner."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.left = stage, 0
        self.passed, self.failed, self.skipped = 0, {}, {}
        self.measured: dict[str, Any] = {}
        self.noted: dict[str, Any] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put first what tells most, and last what compiles: the time may be up."""
        files = ["test_training.py", "test_prediction.py", "test_steps.py"]
        rank = {name: number for number, name in enumerate(files)}
        items.sort(key=lambda item: ("compiled" in item.name, rank.get(item.path.name, len(files))))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.left = len(session.items)
        self.stage.note("tests", self.left)
        self.note()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("/")[2]
        if report.failed:  # in its setup or its end too
            self.failed[name] = first_line(report)
        elif report.skipped:
            self.skipped[name] = reason(report)
        elif report.when == "call":
            self.passed += 1
        if report.when == "call" and report.user_properties:
            self.measured[name] = dict(report.user_properties)
            self.stage.note("measured", self.measured)
        if report.when == "teardown":
            self.left -= 1
            self.note()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed[report.nodeid.rpartition("/")[2]] = first_line(report)
            self.note()

    def note(self) -> None:
        """Hand on what has changed."""
        now = {
            "passed": self.passed,
            "failures": len(self.failed),
            "skips": len(self.skipped),
            "not reached": self.left,
            "failed": dict(self.failed),
            "skipped": dict(self.skipped),
        }
        for name, value in now.items():
            if self.noted.get(name) != value:
                self.stage.note(name, value)
        self.noted = now


def first_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The first line of what a test failed with: pytest marks such lines with E."""
    lines = report.longreprtext.splitlines()
    found = [match[1] for line in lines if (match := re.match(r"E\s+(\S.*)", line))]
    return ([*found, *(line for line in lines if line.strip()), "no reason is given"])[0].strip()[:LENGTH]


def reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")[:LENGTH]


def main(stage: Stage) -> int:
    if not TESTS.is_dir():
        stage.note("absent", "tests/gpu is not there: nothing was tested")
        return 0
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "--durations=10", f"--basetemp={stage.scratch / 'tests'}"]
    code = int(pytest.main([str(TESTS), *options], plugins=[Outcomes(stage)]))
    # Tests that fail, or none at all, are a result; anything else is a stage that died.
    known = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    return 0 if code in known else code


if __name__ == "__main__":
    sys.exit(main(Stage.of_arguments()))
