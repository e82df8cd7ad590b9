"""What a plugin may call its things: names become words of command lines and parts of paths."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from kit.hooks.learning import FUSED_STEPS, AugmentationSpec, ModelSpec
from kit.hooks.specs import TASK_NAMES, Competition

LONGEST = 200  # characters; a file name has at most 255 bytes
HEAD_OPTIONS = ("dropout", "batch_norm", "two_units")
RIGHT: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title": (lambda value: isinstance(value, str), "a text"),
    "description": (lambda value: isinstance(value, str), "a text"),
    "facts": (lambda value: isinstance(value, Mapping), "a mapping"),
    "defaults": (lambda value: isinstance(value, Mapping), "a mapping"),
    "miniature_defaults": (lambda value: isinstance(value, Mapping), "a mapping"),
    "channels": (lambda value: type(value) is int and value > 0, "a number of channels"),
    "tasks": (lambda value: _are(value, lambda each: each in TASK_NAMES), f"a tuple of {', '.join(TASK_NAMES)}"),
    "mean": (lambda value: _are(value, lambda each: _is_number(each)), "a tuple of numbers"),
    "std": (lambda value: _are(value, lambda each: _is_number(each) and each > 0), "a tuple of numbers above 0"),
    "decision": (lambda value: value in (None, "thresholds", "weights", "cuts"), "thresholds, weights, cuts or None"),
    "options": (
        lambda value: _are(value, lambda each: each in HEAD_OPTIONS, 0),
        f"a tuple of {', '.join(HEAD_OPTIONS)}",
    ),
    "average": (lambda value: isinstance(value, bool), "True or False"),
    "low": (lambda value: _is_number(value), "a number"),
    "high": (lambda value: _is_number(value), "a number"),
    "higher_is_better": (lambda value: isinstance(value, bool), "True or False"),
    "beta": (lambda value: _is_number(value) and value > 0, "a number above 0"),
}
KAGGLE = ("competition", "dataset", "none")


def wrong_spec(spec: Any) -> str:
    """Return what is wrong with the names and callables of a spec, in half a line; empty if nothing is."""
    kind = type(spec).__name__
    names = [("name", spec.name, 1 if isinstance(spec, ModelSpec) else 0)]
    if isinstance(spec, Competition):
        for field in ("aliases", "classes", "epoch_metrics"):
            if not isinstance(getattr(spec, field), (tuple, list)):
                return f"{field} of {kind} {spec.name!a} is {getattr(spec, field)!a}, not a tuple of names"
            if not all(isinstance(each, str) for each in getattr(spec, field)):
                return f"{field} of {kind} {spec.name!a} holds something that is not str"
        doubled = [each for number, each in enumerate(spec.classes) if each in spec.classes[:number]]
        if doubled:
            return f"classes of {kind} {spec.name!a} has {doubled[0]!a} twice"
        if spec.kaggle not in KAGGLE:
            return f"kaggle of {kind} {spec.name!a} is {spec.kaggle!a}, not one of {', '.join(KAGGLE)}"
        names.append(("slug", spec.slug, 1))
        names += [("alias", alias, 0) for alias in spec.aliases]
        names += [(field, getattr(spec, field), 0) for field in ("metric", "dataset", "submission")]
    if isinstance(spec, AugmentationSpec):
        if spec.name in FUSED_STEPS:
            return f"the name {spec.name!a} of {kind} is that of a step that kit has itself"
        if not {",", "="}.isdisjoint(str(spec.name)):
            return f"the name {spec.name!a} of {kind} has a character that separates steps"
    for field, value, slashes in names:
        wrong = wrong_name(value, slashes)
        if wrong:
            return f"the {field} {str(value)[:80]!a} of a {kind} {wrong}"
    for each in fields(spec):
        value = getattr(spec, each.name)
        if each.name in RIGHT and not RIGHT[each.name][0](value):
            return f"{each.name} of {kind} {spec.name!a} is {str(value)[:80]!a}, not {RIGHT[each.name][1]}"
        if "Callable[" in str(each.type) and not callable(value) and not (value is None and "None" in str(each.type)):
            return f"{each.name} of {kind} {spec.name!a} is {value!a}, not a function"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are(value: Any, right: Callable[[Any], bool], least: int = 1) -> bool:
    return isinstance(value, (tuple, list)) and len(value) >= least and all(map(right, value))


def wrong_name(name: object, slashes: int = 0) -> str:
    """Return what is wrong with a name that may hold so many slashes; empty if nothing is."""
    if not isinstance(name, str):
        return f"is of type {type(name).__name__}, not str"
    if not name or name != name.strip():
        return "is empty or begins or ends with a blank"
    if not name.isprintable() or "\\" in name:
        return "has a character that no name may have"
    if len(name) > LONGEST:
        return f"is longer than {LONGEST} characters"
    parts = name.split("/")
    if len(parts) - 1 > slashes:
        return "has a slash" if not slashes else "has too many slashes"
    if any(part[:1] in ("", ".", "-", "~") for part in parts):
        return "has a part that is empty or begins with one of . - ~"
    return ""
