"""`kit submissions`: list your submissions."""

from dataclasses import asdict

from kit.cli.options import CompetitionName, Json

COLUMNS = ("ref", "date", "status", "public", "private", "message", "file", "run")
PAGES = 20  # of a hundred submissions each


def command(competition: CompetitionName, json: Json = False) -> None:
    """List your submissions to a competition and their scores.

    The newest comes first, each with the run it came from. New scores are written into the records of those runs, where
    kit log shows them.

    \b
    Example:
        kit submissions histo
        kit submissions histo --json
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.errors import KitError
    from kit.kaggle.client import Kaggle
    from kit.kaggle.submissions import enter, listing, match, runs_of

    console, known = Console(json), current_registry().competitions.get(competition)
    if known.kaggle != "competition":
        raise KitError(f"{known.name} has no Kaggle competition, so nothing can be submitted: kit list")
    with Kaggle(known, console) as kaggle:
        found = listing(kaggle, PAGES)
    runs = match(found, runs_of(known.name))
    documents = []
    for each in found:
        run = runs.get(each.ref)
        if run is not None:
            enter(run, each)
        documents.append({**asdict(each), "run": run.id if run else None})
    if documents:
        rows = [[_cell(name, document[name]) for name in COLUMNS] for document in documents]
        console.table("", COLUMNS, rows)
    else:
        console.say(f"nothing has been submitted to {known.name} yet: kit submit {known.name}")
    for document in documents:
        del document["mark"]
        if document["error"]:
            console.say(f"{document['ref']}: {document['error']}")
    console.result({"competition": known.name, "submissions": documents})


def _cell(name: str, value: object) -> object:
    if name == "date":
        return str(value)[:16].replace("T", " ")
    return f"{value:.5g}" if isinstance(value, float) else value
