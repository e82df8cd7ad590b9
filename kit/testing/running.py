"""All checks of a plugin: run apart, judged by what the plugin declares, and as tests of pytest."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from kit.errors import KitError
from kit.hooks.leash import place_of, reason
from kit.hooks.manager import Plugin
from kit.hooks.registry import Registry
from kit.testing.apart import LIMIT, run_apart
from kit.testing.causes import left_to_causes
from kit.testing.check import KINDS, Broken, Check, Result, Skipped, all_checks
from kit.testing.subject import Subject, find_plugins, subjects_of

DECLARED = "EXPECTED_FAILURES"  # in a plugin's module: {"kind/check" or "kind/check spec": reason}
SLOW_LIMIT = 90.0  # seconds to draw a miniature, or to read what its index names
SLOW = ("miniature/draws", "dataset/index")
PATIENCE = 2  # checks of one spec that hang or crash, after which the rest of them are left out
BUSY = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Tell = Callable[[int, int, str], None]


def run(
    plugin: str | ModuleType | None = None, registry: Registry | None = None, tell: Tell | None = None
) -> list[Result]:
    """Check plugins and return what each check found.

    Every check runs in a process of its own kind, in a folder that is removed, and ends after some seconds. What the
    plugin's module declares in `EXPECTED_FAILURES` (name of a check, or that and a spec's after a blank -> reason) may
    fail, and must.

    Args:
        plugin: the name of an entry point, a distribution, a module or a competition, or a module; default: all
            plugins that are not built in.
        registry: the plugins that are loaded; default: they are loaded.
        tell: (checks done, checks in all, what is being checked), called now and then.

    Raises:
        KitError: no plugin has this name.
    """
    registry = Registry() if registry is None else registry
    found = find_plugins(plugin, registry)
    with tempfile.TemporaryDirectory(prefix="kit-test-plugin-") as folder:
        plans = [plan_of(each, registry, Path(folder)) for each in found]
        total, done = sum(map(len, plans)), 0
        results: list[Result] = []
        for plan in plans:
            results += results_of(plan, partial(_shifted, tell, done, total))
            done += len(plan)
    return results


def suite(plugin: str | ModuleType) -> Callable[..., None]:
    """Return a test for pytest, of one case per check and spec: `test_contract = testing.suite("kit_leaves")`.

    The first case runs them all, apart. Advice that is not followed is a warning; what is expected to fail is xfail.
    """
    import warnings

    import pytest

    registry = Registry()
    with tempfile.TemporaryDirectory(prefix="kit-test-plugin-") as folder:
        plans = [plan_of(each, registry, Path(folder)) for each in find_plugins(plugin, registry)]
    names = [f"{check.name} {subject.name}" for plan in plans for subject, check in plan]

    @cache
    def found() -> dict[str, Result]:
        return {f"{result.name} {result.subject}": result for result in run(plugin, registry)}

    @pytest.mark.parametrize("check", names)
    def test(check: str) -> None:
        result = found()[check]
        if result.bad:
            pytest.fail(f"{result.text}: {result.mend}", pytrace=False)
        if result.status == "failed":
            warnings.warn(f"{check}: {result.text}: {result.mend}", stacklevel=1)
        if result.status == "skipped":
            pytest.skip(result.text)
        if result.status == "expected":
            pytest.xfail(result.text)

    return test


Plan = list[tuple[Subject, Check]]


def plan_of(plugin: Plugin, registry: Registry, folder: Path) -> Plan:
    """Return what is to be checked of a plugin, in order."""
    subjects = list(subjects_of(plugin, registry, folder))
    subjects.sort(key=lambda subject: KINDS.index(subject.kind))
    return [(subject, check) for subject in subjects for check in all_checks(subject.kind)]


def _shifted(tell: Tell | None, before: int, total: int, number: int, text: str) -> None:
    if tell is not None:
        tell(before + number, total, text)


def results_of(plan: Plan, tell: Callable[[int, str], None]) -> list[Result]:
    """Make the checks of one plugin."""
    troubles: dict[tuple[str, str], int] = {}
    answers: dict[int, dict[str, Any]] = {}

    def key(number: int) -> tuple[str, str]:
        return plan[number][0].kind, plan[number][0].name

    def say(number: int) -> None:
        subject, check = plan[number]
        tell(number, f"{check.name} of {subject.name}")

    works = [partial(_answer, subject, check) for subject, check in plan]
    limits = [SLOW_LIMIT if check.name in SLOW else LIMIT for _, check in plan]
    for number, answer in run_apart(works, limits, _ready, lambda n: troubles.get(key(n), 0) < PATIENCE, say):
        answers[number] = answer
        if "died" in answer:
            troubles[key(number)] = troubles.get(key(number), 0) + 1
    left_out = {"status": "skipped", "text": f"{PATIENCE} checks before it hung or crashed"}
    declared = _declared(plan[0][0].module)
    return left_to_causes(
        [
            _judged(subject, check, answers.get(number, left_out), declared)
            for number, (subject, check) in enumerate(plan)
        ]
    )


def _ready() -> None:
    """Prepare a process for checks: one thread each, no network."""
    from kit.testing.watch import watch

    watch()
    os.environ.update(dict.fromkeys(BUSY, "1"))
    # The threads that torch and OpenCV had before the fork are not here: they would wait for them for ever.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)


def _answer(subject: Subject, check: Check) -> dict[str, Any]:
    """Make one check in the process that is for it."""
    began = time.monotonic()
    status, text = "passed", ""
    try:
        text = check.function(subject) or ""
    except Skipped as skipped:
        status, text = "skipped", str(skipped)
    except Broken as broken:
        status, text = "failed", str(broken)
    except BaseException as error:
        own = isinstance(error, KitError)
        status, text = "failed", str(error) if own else f"raised {reason(error)} at {place_of(error)}"
    return {"status": status, "text": " ".join(text.split()), "seconds": time.monotonic() - began}


def _declared(module: Any) -> dict[str, str]:
    found = getattr(module, DECLARED, None)
    return {str(name): str(why) for name, why in found.items()} if isinstance(found, dict) else {}


def _judged(subject: Subject, check: Check, answer: dict[str, Any], declared: dict[str, str]) -> Result:
    """Return a result, by what the plugin declares."""
    result = Result(subject.plugin.name, subject.name, check.name, check.group, "failed", mend=check.mend)
    if "died" in answer:
        answer = {"status": "failed", "text": answer["died"]}
    result = replace(result, status=answer["status"], text=answer["text"], seconds=round(answer.get("seconds", 0.0), 3))
    why = declared.get(f"{check.name} {subject.name}", declared.get(check.name))
    if why is not None and result.status == "failed":
        return replace(result, status="expected", text=f"{why} ({result.text})", mend="")
    if why is not None and result.status == "passed":
        text = f"it passes, and {DECLARED} says that it fails: {why}"
        return replace(result, status="unexpected", text=text, mend=f"take it out of {DECLARED}")
    return result if result.status == "failed" else replace(result, mend="")


def worst(results: Iterable[Result]) -> list[Result]:
    """Return the results by which the contract is broken."""
    return [result for result in results if result.bad]
