"""From the evidence to the proposal: what a folder is taken for."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from kit.adapt import cannot
from kit.adapt.columns import find_group, find_metadata, given_metadata
from kit.adapt.folder import Folder
from kit.adapt.found import find_folders, find_names, find_table, is_part, is_test, match_of, no_match, only_names
from kit.adapt.images import TEST_WORDS, TRAIN_WORDS, Images, Match, ids_as
from kit.adapt.labels import Labels as Target
from kit.adapt.labels import judge_target
from kit.adapt.proposal import KEYS, Ids, Labels, Proposal, TestImages
from kit.adapt.sample import find_sample, starts_of
from kit.adapt.tables import Table, Tables, read_tables
from kit.adapt.target import find_target, need_one_label
from kit.adapt.wanted import find_form, find_metric
from kit.errors import KitError, nearest
from kit.images.header import opened
from kit.task import TASKS

SIDES = (32, 64, 96, 128, 160, 192, 224)
LOOKED_AT = 5  # images whose headers are read
HOLDS = ("probabilities", "classes", "labels", "tags", "numbers")
SEPARATORS = ("_", "-", "__", "/", ":", "")


def propose(folder: Folder, name: str, answers: Mapping[str, str]) -> Proposal:
    """Return what a folder is taken for; of a kind that kit can't do, what is missing.

    Args:
        folder: it.
        name: of the competition.
        answers: values that a person gave, by key.

    Raises:
        KitError: nothing tells two answers apart, or an answer can't be right; it names the key.
    """
    unknown = [key for key in answers if key not in KEYS]
    if unknown:
        raise KitError(f"--set {unknown[0]} is no key of a proposal: {nearest(unknown[0], KEYS)}")
    if "task" in answers and answers["task"] not in TASKS:
        raise KitError(f"--set task={answers['task']} is none of {', '.join(TASKS)}")
    tables = read_tables(folder)
    gone = cannot.without_images(folder, tables)
    if gone is not None:
        return Proposal(name, missing=[gone])
    return _Evidence(folder, name, dict(answers), tables).proposal()


class _Evidence:
    """All that is known of a folder while the proposal is made."""

    def __init__(self, folder: Folder, name: str, answers: dict[str, str], tables: Tables) -> None:
        self.folder, self.answers, self.images = folder, answers, Images(folder)
        for key in ("train", "test"):
            if key in answers and not self.images.count_below(answers[key].rstrip("/")):
                raise KitError(f"no images lie in a folder {answers[key]}: give --set {key}=FOLDER")
        self.tables = replace(tables, tables=[each for each in tables.tables if not only_names(each, self.images)])
        file = answers.get("submission")
        self.sample = find_sample(self.tables, self.images, None if file in HOLDS else file)
        self.found = Proposal(name)

    def proposal(self) -> Proposal:
        table = find_table(self.tables, self.images, self.sample, self.answers.get("table"))
        missing = cannot.other_kind(self.folder, self.images, self.tables, self.sample, table[0] if table else None)
        if missing is not None:
            return replace(self.found, missing=[missing])
        target = self._of_table(*table) if table else self._without_table()
        labels = self.found.labels
        if labels is not None and labels.match is not None and labels.match.by_folder and not labels.match.views:
            return replace(
                self.found,
                missing=[
                    f"a sequence: the images of an id lie in a folder of its own ({labels.folder}/), and kit takes "
                    "single images, or a fixed number of files per id: choose an image of each id, named like it"
                ],
            )
        self._find_test()
        if self.found.metadata and self.found.test_images is not None and not self.found.test_images.table:
            self.found.metadata = []
            self._say("metadata", "no images lie there that the table of test rows names")
        self._tell_apart()
        self._finish(target)
        return self.found

    def _say(self, key: str, why: str, other: list[str] | None = None) -> None:
        self.found.reasons[key] = "given with --set" if key in self.answers else why
        self.found.could_be[key] = other or []

    # Labels in a table

    def _of_table(self, table: Table, match: Match, why: str) -> Target:
        found, answers = self.found, self.answers
        if "id" in answers:
            if answers["id"] not in table.columns:
                raise KitError(
                    f"{table.name} has no column {answers['id']!r}: give --set id=COLUMN; "
                    f"{nearest(answers['id'], table.columns)}"
                )
            match = self.images.match(answers["id"], table.frame[answers["id"]], TRAIN_WORDS, TEST_WORDS)
            if not match.is_good:
                raise no_match(self.images, [(table, match)])
        match = replace(match, folder=answers.get("train", match.folder).rstrip("/"))
        self._say("table", why, [each.name for each in self.tables.others if each.name != table.name][:5])
        test = self._test_table(table)
        ids, shown = self._ids(table, match, test)
        found.id = shown
        self._say(
            "id",
            f"{match.count:,} of its {match.of:,} values name images"
            if shown == match.column
            else f"what the sample submission names; {match.column} names the images",
            [] if shown == match.column else [match.column],
        )
        target, why, other = find_target(table, match.column, self.sample, test, answers.get("target"), found.name)
        self._say("target", why, other)
        frame, long = table.frame, None
        if self.sample is not None and self.sample.names and isinstance(target, str):
            long, frame = self._long(table, target, ids)
        if isinstance(target, str) and (frame[target] == "").any():
            unlabelled = True
            table = replace(table, frame=frame[frame[target] != ""])
        else:
            unlabelled = False
        judged = self._judged(table, target, long)
        found.target = target if isinstance(target, str) else list(target)
        found.labels = Labels("table", match.folder, table.name, table.names, match, ids, long, unlabelled=unlabelled)
        group = self._group(table, match, target, ids)
        but = {match.column, *ids.columns, *([target] if isinstance(target, str) else target), *(long or ())}
        found.metadata, why = find_metadata(table, test, but | ({group} if group else set()))
        if "metadata" in answers:
            found.metadata = given_metadata(answers["metadata"], table, test)
        if long is None and isinstance(target, str):
            need_one_label(table, ids.columns, target)
        self._say("metadata", why)
        found.train = self._count(table, match)
        where = f"in {match.folder}/" if match.folder else "in the folder"
        self._say("train", f"images {where} that {table.name} names")
        return judged

    def _judged(self, table: Table, target: str | tuple[str, ...], long: tuple[str, str] | None) -> Target:
        if long is None or self.sample is None:
            return judge_target(table, target, self.sample, self.tables.class_names, self.answers)
        values = table.values(long[1]).map(float)
        task = "multilabel" if set(values) <= {0.0, 1.0} else "regression"
        task = self.answers.get("task", task)
        why = f"a row for each of {len(self.sample.names)} names, " + (
            "of 0 or 1" if task == "multilabel" else "of numbers"
        )
        classes = "what stands behind the ids of the sample submission"
        return Target(self.sample.names, task, self.sample.names, "", {"task": why, "classes": classes}, {})

    def _long(self, table: Table, target: str, ids: Ids) -> tuple[tuple[str, str], pd.DataFrame]:
        """Return the columns of name and value of a table with a row for each of several names of an id."""
        names = set(self.sample.names) if self.sample is not None else set()
        for column in table.columns:
            if column != target and {*table.values(column)} == names:
                return (column, target), table.frame
        if not ids.names:
            raise KitError(
                f"{table.name} has no column with the names that stand in the ids of the sample submission "
                f"({', '.join(sorted(names)[:4])}): give --set submission=FILE"
            )
        return ("", target), table.frame

    def _ids(self, table: Table, match: Match, test: Table | None) -> tuple[Ids, str]:
        """Return where the ids of training rows come from, and what to call that."""
        sample = self.sample
        if sample is None or (sample.match.is_good and not sample.join):
            return Ids((match.column,)), match.column
        if sample.join:
            if sample.id in table.columns and table.frame[sample.id].str.contains(sample.join, regex=False).all():
                return Ids((sample.id,), sample.join, names=True), sample.id
            return Ids((match.column,)), match.column
        wanted = set(sample.ids)
        if test is not None:
            for column in test.columns:
                if len(wanted & {*test.frame[column]}) >= 0.9 * len(wanted):
                    if column in table.columns:
                        return Ids((column,)), column
                    made = self._joined(table, test, column)
                    if made is not None:
                        return made, column
        return Ids((match.column,)), match.column

    def _joined(self, table: Table, test: Table, column: str) -> Ids | None:
        """Return the two columns that make the ids of the sample submission, where the test table shows which."""
        shared = [name for name in test.columns if name in table.columns]
        for first in shared:
            for second in shared:
                for join in SEPARATORS:
                    if first != second and (test.frame[first] + join + test.frame[second] == test.frame[column]).all():
                        return Ids((first, second), join)
        return None

    def _group(self, table: Table, match: Match, target: str | tuple[str, ...], ids: Ids) -> str | None:
        but = {target} if isinstance(target, str) else set(target)
        group, why, other = find_group(table, but, ids.columns[0] if len(ids.columns) == 1 else match.column)
        wanted = self.answers.get("group")
        if wanted is not None:
            if wanted != "none" and wanted not in table.columns:
                raise KitError(
                    f"{table.name} has no column {wanted!r}: give --set group=COLUMN or group=none; "
                    f"{nearest(wanted, table.columns)}"
                )
            group = None if wanted == "none" else wanted
        self.found.group = group
        self._say("group", why, other)
        return group

    def _count(self, table: Table, match: Match) -> int:
        values = table.frame[match.column]
        if self.sample is not None and self.sample.join and match.column == self.sample.id:
            values = starts_of(values, self.sample.join)
        return self._there(match, values)

    def _there(self, match: Match, values: pd.Series) -> int:
        """Return the number of samples of which there are images."""
        if match.by_folder:
            return match.count * (len(match.suffixes) if match.views else 1)
        names = ids_as(match, values)
        each = match.suffixes if match.views else match.suffixes[:1]
        return sum(values[(names + suffix).isin(self.images.places).to_numpy()].nunique() for suffix in each)

    # Labels in names

    def _without_table(self) -> Target:
        found, answers = self.found, self.answers
        folders = find_folders(self.images, self.sample)
        if folders is not None:
            parent, classes = folders
            found.id, found.target = "file name", "folder"
            found.labels = Labels("folder", answers.get("train", parent).rstrip("/"))
            found.train = sum(self.images.count_below(f"{parent}/{name}" if parent else name) for name in classes)
            why = f"each of {len(classes)} classes has a folder in {parent or 'the folder'}"
        else:
            names = find_names(self.images, self.sample)
            if names is None:
                matched = [
                    (table, match_of(table, self.images, TRAIN_WORDS, TEST_WORDS)) for table in self.tables.others
                ]
                matched = [each for each in matched if each[1].of]
                if not matched and self.tables.unread:
                    raise KitError(f"no table can be read: {next(iter(self.tables.unread.values()))}: correct it")
                raise no_match(self.images, matched)
            parent, pattern, classes = names
            found.id, found.target = "file name", "file name"
            found.labels = Labels("name", parent, pattern=pattern)
            found.train = len(self.images.by_place[f"{parent}/" if parent else ""])
            why = f"names of files in {parent or 'the folder'} hold one of {len(classes)} words"
        for key in ("table", "target"):
            self._say(key, why)
        self._say("id", "no table names the images")
        self._say("train", f"images in {parent or 'the folder'}")
        self._say("group", "nothing but the label is known of an image")
        self._say("metadata", "there is no table")
        table = Table(
            "names of files", pd.DataFrame({found.target: [name for name in classes for _ in range(3)]}, dtype=str)
        )
        judged = judge_target(table, str(found.target), None, {}, answers)
        if judged.task not in ("binary", "multiclass", "ordinal"):
            judged = replace(judged, task="multiclass", classes=tuple(sorted(classes)), separator="")
        return judged

    # Test images

    def _test_table(self, train: Table) -> Table | None:
        """Return the table of test rows that is no sample submission, if there is one."""
        found = []
        for table in self.tables.tables:
            if table.name == train.name or (self.sample is not None and table.name == self.sample.table.name):
                continue
            match = match_of(table, self.images, TEST_WORDS, TRAIN_WORDS)
            if (is_test(table, match, self.sample) or is_part(table, match, train)) and not table.is_sample:
                found.append((match.count, table.name, table))
        return max(found, key=lambda each: each[:2])[2] if found else None

    def _find_test(self) -> None:
        found, sample, labels = self.found, self.sample, self.found.labels
        train = next((each for each in self.tables.tables if labels and each.name == labels.table), None)
        test = self._test_table(train) if train is not None else self._test_table(Table("", pd.DataFrame()))
        wanted = self.answers.get("test")
        for table, is_sample in ((test, False), (sample.table if sample is not None else None, True)):
            if table is None or (not is_sample and not found.metadata and sample is not None and sample.match.is_good):
                continue
            column, join = (sample.id, sample.join) if is_sample and sample is not None else (self._id_of(table), "")
            match = (
                sample.match
                if is_sample and sample is not None
                else match_of(table, self.images, TEST_WORDS, TRAIN_WORDS)
            )
            if not match.is_good:
                continue
            if labels is not None and labels.match is not None and len(labels.match.suffixes) > 1:
                match = replace(match, suffixes=labels.match.suffixes, views=labels.match.views)
            match = replace(match, folder=(wanted or match.folder).rstrip("/"))
            found.test_images = TestImages(match.folder, table.name, table.names, column or match.column, match, join)
            ids = sample.ids if is_sample and sample is not None else table.frame[match.column]
            found.test = self._there(match, ids)
            self._say("test", f"images in {match.folder or 'the folder'} that {table.name} names")
            return
        self._test_folder(wanted)

    def _tell_apart(self) -> None:
        """Note whether training and test images share ids: both sets may be numbered from 1."""
        found, labels, test = self.found, self.found.labels, self.found.test_images
        if labels is None or test is None or test.folder is None:
            return
        table = next((each for each in self.tables.tables if each.name == labels.table), None)
        if table is not None and len(labels.ids.columns) == 1 and labels.ids.columns[0] in table.frame:
            trained = set(table.frame[labels.ids.columns[0]])
        else:
            trained = self.images.stems_below(labels.folder)
        tested = self.images.stems_below(test.folder) if not test.table else set()
        if self.sample is not None:
            tested |= set(self.sample.ids)
        if trained & tested and (test.folder != labels.folder or table is not None):
            found.labels = replace(labels, apart=True)

    def _id_of(self, table: Table) -> str:
        """Return the column of a test table with the ids of the sample submission; empty where none has."""
        if self.sample is None:
            return ""
        wanted = set(self.sample.ids)
        return next((name for name in table.columns if len(wanted & {*table.frame[name]}) >= 0.9 * len(wanted)), "")

    def _test_folder(self, wanted: str | None) -> None:
        found = self.found
        folders = {place.rstrip("/") for place in self.images.by_place}
        folders |= {str(parent) for folder in folders for parent in PurePosixPath(folder).parents} - {"."}
        named = sorted(
            (folder for folder in folders if any(word in PurePosixPath(folder).name.lower() for word in TEST_WORDS)),
            key=len,
        )
        folder = wanted.rstrip("/") if wanted else (named[0] if named else None)
        if folder is None or not self.images.count_below(folder):
            found.test_images = TestImages(None)
            self._say("test", "neither a table nor a folder is named as the test set")
            found.notes.append("no test images were found: kit predict needs some in a folder test (--set test=FOLDER)")
            return
        found.test_images = TestImages(folder)
        found.test = self.images.count_below(folder)
        self._say("test", f"all images in {folder}/")

    # The rest

    def _finish(self, target: Target) -> None:
        found = self.found
        found.task, found.classes, found.separator = target.task, list(target.classes), target.separator
        for key in ("task", "classes"):
            self._say(key, target.reasons.get(key, "as its labels are"), target.could_be.get(key))
        form, why, other = find_form(self.sample, target, "id" if found.id == "file name" else found.id)
        holds = self.answers.get("submission", "")
        form = replace(form, holds=holds) if holds in HOLDS else form
        if self.sample is not None and self.sample.id != self.sample.table.columns[0]:
            form = replace(form, id=self.sample.id)
        found.submission = form
        self._say("submission", why, [*other, *(self.sample.others if self.sample is not None else ())])
        metric, why, other = find_metric(target, form, found.labels.kind if found.labels else "table")
        found.metric = self.answers.get("metric", metric)
        self._say("metric", why, other)
        if self.tables.unread:
            found.notes += [f"not read: {text}" for text in list(self.tables.unread.values())[:3]]
        self._look()

    def _look(self) -> None:
        """Take the side of images for training from the headers of some, and their most frequent ending."""
        labels = self.found.labels
        folder = labels.folder if labels else ""
        start = f"{folder}/" if folder else ""
        names = [
            place + name
            for place, each in self.images.by_place.items()
            if place.startswith(start)
            for name in each[:LOOKED_AT]
        ]
        self.found.ending = self.images.ending_in(folder)
        sides = []
        for name in names[:: max(1, len(names) // LOOKED_AT)][:LOOKED_AT]:
            try:
                header = opened(self.folder.file(name))[1]
                sides.append(max(header.width, header.height))
            except (OSError, ValueError, KitError):
                continue
        if not sides:
            raise KitError(
                f"none of the first images in {Path(folder) if folder else self.folder.path} can be read: "
                "kit knows PNG, JPEG, TIFF, WEBP, BMP and GIF"
            )
        middle = sorted(sides)[len(sides) // 2]
        self.found.side = next((side for side in SIDES if middle <= side), SIDES[-1])
