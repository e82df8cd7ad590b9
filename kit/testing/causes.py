"""Which fault lies behind another: a check that fails for what another one names is left to that one."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from kit.testing.check import Result

# Names of checks, or patterns of them -> the checks, of the same spec or of the package, that name what is behind.
BEHIND: dict[str, tuple[str, ...]] = {
    "package/imports-anew": ("package/hooks", "command/registers"),
    "package/quick-import": ("package/light-import",),
    "package/import-*": ("package/light-import",),
    "miniature/passes-check": (
        "dataset/unique-ids",
        "dataset/train-test-apart",
        "dataset/files-exist",
        "dataset/reads-uint8",
    ),
    "dataset/index": ("dataset/unique-ids", "dataset/text-ids", "dataset/targets"),
    "dataset/any-order-of-folders": ("dataset/same-again",),
    "dataset/any-place": ("dataset/same-again", "dataset/relative-files"),
    "dataset/reads-uint8": ("dataset/files-exist",),
    "dataset/reads-*": ("dataset/files-exist", "dataset/reads-uint8"),
    "dataset/writes-nothing": ("dataset/files-exist", "dataset/reads-uint8"),
    "dataset/composite": ("dataset/files-exist", "dataset/reads-uint8"),
    "dataset/likeness": ("dataset/files-exist",),
    "competition/metric-for-task": ("competition/metric", "competition/task-of-index"),
    "competition/loss": ("competition/task-of-index",),
    "competition/classes-of-index": ("competition/class-names",),
    "competition/*": ("package/hooks", "package/free-names"),
    "model/images-apart": ("model/eval-mode", "model/same-again"),
    "model/same-again": ("model/eval-mode",),
    "model/weights-come-back": ("model/eval-mode", "model/same-again"),
    "model/every-channel": ("model/gradient",),
    "model/metadata": ("model/gradient",),
    "loss/mean-over-batch": ("loss/same-again",),
    "loss/any-order-of-rows": ("loss/same-again",),
    "metric/perfect-is-best": ("metric/polarity", "metric/same-again"),
    "metric/decision": ("metric/same-again", "metric/leaves-its-inputs", "metric/one-class"),
    "metric/any-order-of-rows": ("metric/same-again", "metric/leaves-its-inputs"),
    "metric/any-precision": ("metric/same-again", "metric/leaves-its-inputs"),
    "head/options": ("head/output",),
    "head/every-feature": ("head/rows-apart",),
    "metric/one-class": ("metric/number",),
    "optimizer/keeps-scale": ("optimizer/keeps-groups",),
    "optimizer/weight-decay": ("optimizer/keeps-groups",),
    "optimizer/descends": ("optimizer/learning-rate",),
    "command/*": ("command/registers",),
    "command/example": ("command/help",),
    "augmentation/forms-agree": (
        "augmentation/images-apart",
        "augmentation/same-again",
        "augmentation/leaves-its-inputs",
    ),
    "augmentation/array": ("augmentation/any-channels",),
    "augmentation/tensor": ("augmentation/any-channels",),
    "tracker/opens": ("tracker/closes-at-once",),
    "tracker/images": ("tracker/closes-at-once",),
    "submission/*": ("submission/writes",),
    "submission/any-order-of-predictions": ("submission/same-bytes",),
    "submission/row-order": ("submission/any-order-of-predictions",),
    "submission/digits": ("submission/leaves-predictions",),
    "submission/check-finds-*": ("submission/check-passes-own",),
    "submission/check-passes-own": ("submission/row-order", "submission/no-extra-column"),
}


def left_to_causes(results: Sequence[Result]) -> list[Result]:
    """Return results in which a failure with a cause that failed too is skipped, and says where to look."""
    failed = {(result.subject, result.name) for result in results if result.status == "failed"}
    return [_left(result, failed) for result in results]


def _left(result: Result, failed: set[tuple[str, str]]) -> Result:
    causes = [cause for pattern, several in BEHIND.items() if fnmatchcase(result.name, pattern) for cause in several]
    mine = {name for subject, name in failed if subject == result.subject or name.startswith("package/")}
    named = [cause for cause in causes if cause != result.name and cause in mine]
    if result.status != "failed" or not named:
        return result
    return replace(result, status="skipped", text=f"see {named[0]}: {result.text}", mend="")
