"""The version of the contract that a plugin was written for, and the shim for the last one before this.

A plugin's module may say `KIT_CONTRACT = 1`; one that says nothing is taken to be of the current contract, but may be
older: it keeps its names. This kit serves the current contract and the last: docs/plugins.md says what that means.
"""

from dataclasses import fields, replace
from typing import Any, TypeVar

from kit.hooks.leash import Failed

CONTRACT = 2
LAST = CONTRACT - 1
ATTRIBUTE = "KIT_CONTRACT"
S = TypeVar("S")

# Contract 1: the tasks that it had, so that a spec that leaves out `tasks` means these.
TASKS_1 = ("binary", "multiclass", "multilabel")
# Its hooks; a function of another name was the plugin's own business.
HOOKS_1 = frozenset(
    f"kit_{name}"
    for name in ("competitions", "datasets", "models", "losses", "submissions", "metrics", "trackers", "commands")
)
# The names that kit's own plugins had. What they have added since gives way to a plugin that had the name before.
NAMES_1 = {
    kind: frozenset(names.split())
    for kind, names in {
        "competition": "ham ham10000 histo histopathologic-cancer-detection histopathology hpa "
        "human-protein-atlas-image-classification isic2018 kmader/skin-cancer-mnist-ham10000 protein recursion "
        "recursion-cellular-image-classification rxrx skin-cancer-mnist-ham10000",
        "dataset": "ham10000 histopathology protein protein_full_size recursion recursion_controls recursion_rgb",
        "model": "coord_cnn densenet121 densenet161 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 "
        "efficientnet_b4 efficientnet_b5 efficientnet_lite0 mobilenet_v3_small resnet152 resnet18 resnet34 resnet50 "
        "resnet50_bam resnet50_bam_paper resnet50_cbam resnet50_cbam_paper resnext50_32x4d small_cnn timm/* vgg16",
        "loss": "arcface bce cosface cross_entropy focal lovasz soft_f1",
        "submission": "ham10000 histopathology protein recursion",
        "metric": "accuracy balanced_accuracy log_loss macro_f1 macro_f1_tuned roc_auc top_2_accuracy top_3_accuracy "
        "top_5_accuracy",
        "tracker": "tensorboard",
    }.items()
}


def contract_of(module: object) -> int | None:
    """Return the contract that a plugin's module was written for; None if it does not say.

    Raises:
        Failed: this kit does not serve it.
    """
    given = getattr(module, ATTRIBUTE, None)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int):
        raise Failed(
            f"{ATTRIBUTE} is {given!r:.60}, not a whole number: this kit serves contracts {LAST} and {CONTRACT}"
        )
    if given > CONTRACT:
        raise Failed(
            f"it is written for contract {given}, and this kit serves {LAST} and {CONTRACT}: install a newer "
            "competition-kit"
        )
    if given < LAST:
        raise Failed(
            f"it is written for contract {given}, and this kit serves {LAST} and {CONTRACT}: install a newer version "
            "of the plugin"
        )
    return given


def is_last(contract: int | None) -> bool:
    """Return whether a plugin goes through the shim."""
    return contract == LAST


def has_hook(contract: int | None, name: str) -> bool:
    """Return whether a contract has a hook."""
    return not is_last(contract) or name in HOOKS_1


def as_current(spec: S, contract: int | None) -> S:
    """Return a spec of this or the last contract as one of the current contract."""
    given: Any = spec
    if not is_last(contract) or not any(each.name == "tasks" for each in fields(given)):
        return spec
    made: S = replace(given, tasks=tuple(task for task in given.tasks if task in TASKS_1))
    return made


def gives_way(contract: int | None, kind: str, name: str) -> bool:
    """Return whether a name of kit's own plugins gives way to the same one of a plugin of this contract."""
    return contract != CONTRACT and kind in NAMES_1 and name not in NAMES_1[kind]
