"""What a folder is taken for: the proposal, with the reason of each value and what else it could be."""

from dataclasses import dataclass, field
from typing import Any, Literal

from kit.adapt.images import Match

KEYS = ("table", "task", "id", "target", "classes", "group", "train", "test", "metric", "submission", "metadata")


@dataclass(frozen=True)
class Ids:
    """Where the ids of training rows, which the sample submission has too, come from.

    Args:
        columns: of the table; several are joined.
        join: what stands between them, or, of one column, between the id and the name of a class.
        names: whether one column holds id and name of a class.
    """

    columns: tuple[str, ...]
    join: str = ""
    names: bool = False


@dataclass(frozen=True)
class Labels:
    """Where the labels of training images are.

    Args:
        kind: in a `table`, in the name of the `folder` of an image, or in the `name` of its file.
        folder: where the training images are.
        table: the name of the table.
        names: names of its columns, where the first line is a row.
        match: how its rows name images.
        ids: where the ids come from.
        long: the columns of the name of a number or class and of its value, where there is a row for each of them.
        pattern: the regular expression whose first group is the label in a name.
        unlabelled: whether rows have no label.
        apart: whether training and test images share ids, so that those of training images get `train/` before them.
    """

    kind: Literal["table", "folder", "name"]
    folder: str
    table: str = ""
    names: tuple[str, ...] | None = None
    match: Match | None = None
    ids: Ids = Ids(())
    long: tuple[str, str] | None = None
    pattern: str = ""
    unlabelled: bool = False
    apart: bool = False


@dataclass(frozen=True)
class TestImages:
    """Where the test images are.

    Args:
        folder: in which they are; None without any.
        table: the name of the table of test rows, or of the sample submission; empty where the files of the folder are
            the rows.
        names: names of its columns, where the first line is a row.
        id: the column of ids.
        match: how its rows name images.
        join: what stands between id and name of a class in `id`; empty for none.
    """

    folder: str | None
    table: str = ""
    names: tuple[str, ...] | None = None
    id: str = ""
    match: Match | None = None
    join: str = ""


@dataclass(frozen=True)
class Submission:
    """The form of the csv.

    Args:
        file: the sample submission, None without any.
        header: its columns.
        holds: `probabilities`, `classes`, `labels`, `tags` or `numbers`.
        columns: class by column, where they differ.
        count: of labels in a row.
        separator: between labels or tags.
        join: between id and class in the first column.
        id: the column of ids, where it is not the first one.
    """

    file: str | None
    header: tuple[str, ...]
    holds: str
    columns: dict[str, str] = field(default_factory=dict)
    count: int = 1
    separator: str = " "
    join: str = ""
    id: str = ""


@dataclass
class Proposal:
    """What a folder is taken for."""

    name: str
    task: str = ""
    id: str = ""
    target: str | list[str] = ""
    classes: list[str] = field(default_factory=list)
    group: str | None = None
    metadata: list[str] = field(default_factory=list)
    train: int = 0
    test: int = 0
    metric: str = ""
    labels: Labels | None = None
    test_images: TestImages | None = None
    submission: Submission | None = None
    separator: str = ""
    side: int = 0
    ending: str = ".png"
    reasons: dict[str, str] = field(default_factory=dict)
    could_be: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the proposal as `--json` prints it; of what kit can't do, `missing` says why."""
        form, labels, test = self.submission, self.labels, self.test_images
        return {
            "name": self.name,
            "task": self.task or None,
            "id": self.id or None,
            "target": self.target or None,
            "classes": self.classes,
            "group": self.group,
            "metadata": self.metadata,
            "train": self.train,
            "test": self.test,
            "metric": self.metric or None,
            "submission": None
            if form is None
            else {
                "file": form.file,
                "id": form.header[0],
                "columns": list(form.header[1:]),
                "holds": form.holds,
                **({"count": form.count} if form.holds == "labels" else {}),
                **({"join": form.join} if form.join else {}),
            },
            "table": labels.table or None if labels else None,
            "train_folder": labels.folder if labels else None,
            "test_folder": test.folder if test else None,
            "test_table": test.table or None if test else None,
            "files_per_id": list(labels.match.suffixes) if labels and labels.match else [""],
            "reasons": self.reasons,
            "could_be": {key: other for key, other in self.could_be.items() if other},
            "notes": self.notes,
            "missing": self.missing,
        }
