"""`kit info`: show the facts of one competition and the state of its data."""

from typing import TYPE_CHECKING, Any

from kit.cli.options import CompetitionName, Json
from kit.errors import KitError

if TYPE_CHECKING:
    from kit.data.store import Store
    from kit.hooks.registry import Registry


def command(competition: CompetitionName, json: Json = False) -> None:
    """Show a competition's facts, training defaults and data.

    \b
    Example:
        kit info histo
        kit info histo --json
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.store import Store

    console, registry = Console(json), current_registry()
    store = Store.of(registry, competition)
    document = {**_facts(registry, store), "data": _data(store)}
    for title, rows in (
        (f"{document['title']} ({document['name']})", _shown(document)),
        ("facts", document["facts"]),
        ("training defaults", document["defaults"]),
        ("defaults on the miniature", document["miniature_defaults"]),
        ("data on this disk", document["data"]),
    ):
        if rows:
            console.table("", (title, ""), [(key.replace("_", " "), _text(value)) for key, value in rows.items()])
    console.result(document)


def _shown(document: dict[str, Any]) -> dict[str, Any]:
    """Return what the first table shows; the classes of a regression are the names of its targets."""
    from kit.task import task_of

    names = {} if task_of(document["task"]).has_classes else {"classes": "targets"}
    return {names.get(key, key): value for key, value in document.items() if not isinstance(value, dict)}


def _facts(registry: "Registry", store: "Store") -> dict[str, Any]:
    facts = store.competition
    metric = registry.metrics.get(facts.metric)
    return {
        "name": facts.name,
        "title": facts.title,
        "aliases": facts.aliases,
        "slug": facts.slug,
        "url": facts.url,
        "task": facts.task,
        "classes": facts.classes,
        "metric": facts.metric,
        "higher_is_better": metric.higher_is_better,
        "dataset": facts.dataset,
        "channels": store.dataset.channels,
        "submission": facts.submission,
        "facts": dict(facts.facts),
        "defaults": dict(facts.defaults),
        "miniature_defaults": dict(facts.miniature_defaults),
    }


def _data(store: "Store") -> dict[str, Any]:
    """Return the state of the data; report an unreadable index as a problem, since the facts hold without it."""
    from kit.data.store import data_state

    document: dict[str, Any] = {"folder": store.root, "state": data_state(store.root)}
    if store.note:
        document["source"] = store.note["source"]
    if not store.is_whole:
        return document
    try:
        index = store.index()
    except KitError as error:
        return {**document, "problem": str(error)}
    document["train_ids"] = index.train["id"].nunique()
    document["test_ids"] = index.test["id"].nunique()
    if index.task.has_classes:
        document["class_counts"] = index.class_counts()
    else:
        document["targets"] = index.target_figures()
    document["grouped_by"] = index.grouped_by or None
    if index.grouped_by:
        document["groups"] = index.train["group"].nunique()
        document["ids_without_group"] = int(index.train["group"].isna().sum())
    return document


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return "none" if value is None else str(value)
