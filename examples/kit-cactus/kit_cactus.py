"""Aerial Cactus Identification: does a picture from above show a cactus? The area under the ROC curve."""

from kit.plugin import Competition, DatasetSpec, SubmissionSpec, hookimpl

TITLE, CLASSES = "Aerial Cactus Identification", ("no cactus", "cactus")


@hookimpl
def kit_competitions():
    facts = {"task": "binary", "classes": CLASSES, "metric": "roc_auc", "dataset": "cactus", "submission": "cactus"}
    return [Competition("cactus", TITLE, "aerial-cactus-identification", **facts)]


@hookimpl
def kit_datasets():
    return [DatasetSpec("cactus", channels=3, index=index)]


@hookimpl
def kit_submissions():
    return [SubmissionSpec.like_sample("cactus", "binary", CLASSES)]


def index(root):
    from kit.plugin.layouts import index_of_table

    return index_of_table(root, "binary", CLASSES, target="has_cactus")
