"""What a plugin may call its things: names become words of command lines and parts of paths."""

from dataclasses import fields
from typing import Any

from kit.hooks.specs import Competition, ModelSpec

LONGEST = 200  # characters; a file name has at most 255 bytes
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
        if spec.kaggle not in KAGGLE:
            return f"kaggle of {kind} {spec.name!a} is {spec.kaggle!a}, not one of {', '.join(KAGGLE)}"
        names.append(("slug", spec.slug, 1))
        names += [("alias", alias, 0) for alias in spec.aliases]
        names += [(field, getattr(spec, field), 0) for field in ("metric", "dataset", "submission")]
    for field, value, slashes in names:
        wrong = wrong_name(value, slashes)
        if wrong:
            return f"the {field} {str(value)[:80]!a} of a {kind} {wrong}"
    for each in fields(spec):
        value = getattr(spec, each.name)
        if "Callable[" in str(each.type) and not callable(value) and not (value is None and "None" in str(each.type)):
            return f"{each.name} of {kind} {spec.name!a} is {value!a}, not a function"
    return ""


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
