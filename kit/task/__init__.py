"""The kinds of task, defined once: targets, outputs, probabilities, predicted classes, losses, label texts.

Code that depends on the kind of task asks its `Task`. A new kind is one more object in `TASKS` and its name in
`kit.hooks.specs.TaskName`. Shapes, for n rows, C classes and K outputs:

| task | target | probabilities | predicted |
|---|---|---|---|
| binary | float32 nx1 of 0 and 1 | nx1, of the positive class | n truth values |
| multiclass | int64 n, class numbers | nxC, rows of sum 1 | n class numbers |
| multilabel | float32 nxC of 0 and 1 | nxC | nxC truth values |
| ordinal | int64 n, grades from 0 | nxC, rows of sum 1 | n grades |
| regression | float32 nxC of numbers | nxC, the numbers themselves | nxC numbers |

An ordinal task is predicted by its *expected grade*, the mean of its grades by their probabilities. A regression has no
classes: its C names are those of its targets, and what other tasks call probabilities are its numbers, in their unit.
"""

from kit.task.classes import EDGE, Binary, Multiclass, Multilabel, Ordinal, multi_hot
from kit.task.kind import HALF, Task
from kit.task.numbers import Regression

__all__ = [
    "BINARY",
    "EDGE",
    "HALF",
    "MULTICLASS",
    "MULTILABEL",
    "ORDINAL",
    "REGRESSION",
    "TASKS",
    "Task",
    "multi_hot",
    "task_of",
]

BINARY, MULTICLASS, MULTILABEL, ORDINAL, REGRESSION = Binary(), Multiclass(), Multilabel(), Ordinal(), Regression()
TASKS: dict[str, Task] = {task.name: task for task in (BINARY, MULTICLASS, MULTILABEL, ORDINAL, REGRESSION)}


def task_of(task: Task | str) -> Task:
    """Return a task by its name; return a task as it is."""
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ValueError(f"task {task!r} is not one of {', '.join(TASKS)}")
    return TASKS[task]
