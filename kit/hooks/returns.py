"""What the functions of specs must return: each return is held to its docstring in `kit.hooks.specs`, in one table.

Types that would be heavy to import are told by their full names.
"""

import numbers
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kit.hooks.specs import Finding, Picture

Take = Callable[[Any, Any], Any]


class WrongReturn(Exception):
    """What a function returned, and what it should have."""

    def __init__(self, value: object, wanted: str) -> None:
        super().__init__(f"{shown(value)}, not {wanted}")


def taken(spec: Any, field: str, value: Any) -> Any:
    """Return what a function of a spec returned, as commands take it; raise `WrongReturn` if they can't."""
    take = TAKEN.get((type(spec).__name__, field))
    return value if take is None else take(spec, value)


def shown(value: object) -> str:
    """Describe a value in some words: the type and shape of an array, the beginning of anything else."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"{dtype} of {'x'.join(map(str, shape)) or 'no dimension'}"
    return reprlib.repr(value) if value is None or isinstance(value, (str, int, float)) else type(value).__name__


def _instance(name: str, public: str) -> Take:
    def take(spec: Any, value: Any) -> Any:
        if name not in {f"{cls.__module__}.{cls.__qualname__}" for cls in type(value).__mro__}:
            raise WrongReturn(value, f"a {public}")
        return value

    return take


def _array(wanted: str, fits: Callable[[Any, tuple[int, ...]], bool]) -> Take:
    """Take an array of uint8 whose shape fits the spec."""

    def take(spec: Any, value: Any) -> Any:
        shape = getattr(value, "shape", None)
        # Asked for every image: a dtype's letter is known at once, its name is made anew each time.
        is_uint8 = getattr(getattr(value, "dtype", None), "char", "") == "B"
        if not is_uint8 or not isinstance(shape, tuple) or not fits(spec, shape):
            raise WrongReturn(value, wanted.format(channels=getattr(spec, "channels", "")))
        return value

    return take


def _number(spec: Any, value: Any) -> float:
    single = isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
    try:
        if not single:
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise WrongReturn(value, "a number") from None


def _logits(spec: Any, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise WrongReturn(value, "a number of logits, 1 or more")
    return int(value)


def _groups(spec: Any, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise WrongReturn(value, "a mapping of ids to groups")
    for id_, group in value.items():
        if not isinstance(id_, str) or not (group is None or isinstance(group, str)):
            raise WrongReturn({id_: group}, f"texts: the group of {reprlib.repr(id_)} is {reprlib.repr(group)}")
    return value


def _pictures(spec: Any, value: Any) -> Iterator[Picture]:
    if not isinstance(value, Iterable):
        raise WrongReturn(value, "pictures")

    def each() -> Iterator[Picture]:
        for picture in value:
            if not isinstance(picture, Picture):
                raise WrongReturn(picture, "a kit.plugin.Picture")
            yield picture

    return each()


def _external(spec: Any, value: Any) -> Any:
    if not hasattr(value, "columns"):
        raise WrongReturn(value, "a pandas.DataFrame")
    absent = [name for name in ("id", "files", "target") if name not in value.columns]
    if absent:
        raise WrongReturn(value, f"a table with the column {absent[0]!r} (it has {', '.join(map(str, value.columns))})")
    return value


def _row_statistics(spec: Any, value: Any) -> Any:
    wanted = f"None, or a mean and a standard deviation of n x {spec.channels} each"
    if value is None:
        return value
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise WrongReturn(value, wanted)
    for part in value:
        shape = getattr(part, "shape", None)
        if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != spec.channels:
            raise WrongReturn(part, wanted)
    return value


def _channel_statistics(spec: Any, value: Any) -> Any:
    try:
        mean, std = (tuple(map(float, part)) for part in value)
    except (TypeError, ValueError):
        raise WrongReturn(value, "a mean and a standard deviation per channel") from None
    if not mean or len(mean) != len(std) or min(std) <= 0:
        raise WrongReturn(value, "as many means as standard deviations above 0")
    return mean, std


def _offline(spec: Any, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise WrongReturn(value, "True, False or None")
    return value


def _names(spec: Any, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise WrongReturn(value, "a list of names")
    return list(value)


def _findings(spec: Any, value: Any) -> list[Finding]:
    if not isinstance(value, (list, tuple, Iterator)):
        raise WrongReturn(value, "a list of findings, empty if all is right")
    found = list(value)
    for each in found:
        if not isinstance(each, Finding) or each.level not in ("error", "warning"):
            raise WrongReturn(each, "a kit.plugin.Finding of level error or warning")
    return found


def _scores(spec: Any, value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or not value or not all(isinstance(name, str) for name in value):
        raise WrongReturn(value, "scores by name")
    return {name: _number(spec, each) for name, each in value.items()}


def _tracker(spec: Any, value: Any) -> Any:
    absent = [name for name in ("log", "close") if not callable(getattr(value, name, None))]
    if absent:
        raise WrongReturn(value, f"a tracker: it has no {absent[0]}()")
    return value


PREDICTIONS = "kit.scoring.predictions.Predictions"
MODULE = _instance("torch.nn.modules.module.Module", "torch.nn.Module")
PIXELS = _array(
    "uint8 of HxWx{channels}",
    lambda spec, shape: len(shape) == 3 and shape[2] == spec.channels and shape[0] > 0 and shape[1] > 0,
)
TAKEN: dict[tuple[str, str], Take] = {
    ("DatasetSpec", "index"): _instance("kit.data.index.Index", "kit.plugin.data.Index"),
    ("DatasetSpec", "read"): PIXELS,
    ("DatasetSpec", "composite"): _array("uint8 of HxWx3", lambda spec, shape: len(shape) == 3 and shape[2] == 3),
    ("DatasetSpec", "likeness"): _array("uint8 of HxW", lambda spec, shape: len(shape) == 2),
    ("DatasetSpec", "groups"): _groups,
    ("DatasetSpec", "figures"): _pictures,
    ("DatasetSpec", "external"): _external,
    ("DatasetSpec", "statistics"): _row_statistics,
    ("ModelSpec", "build"): MODULE,
    ("ModelSpec", "statistics"): _channel_statistics,
    ("ModelSpec", "offline"): _offline,
    ("ModelSpec", "names"): _names,
    ("LossSpec", "build"): MODULE,
    ("LossSpec", "outputs"): _logits,
    ("HeadSpec", "build"): MODULE,
    ("OptimizerSpec", "build"): _instance("torch.optim.optimizer.Optimizer", "torch.optim.Optimizer"),
    ("SubmissionSpec", "check"): _findings,
    ("SubmissionSpec", "postprocess"): _instance(
        "kit.scoring.predictions.Predictions", "kit.plugin.predictions.Predictions"
    ),
    ("SubmissionSpec", "grade"): _scores,
    ("MetricSpec", "compute"): _number,
    ("TrackerSpec", "open"): _tracker,
}
