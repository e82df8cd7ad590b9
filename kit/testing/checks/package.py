"""Checks of a plugin as a package: what its import does, what its hooks return, what its distribution says."""

import ast
import re
from contextlib import suppress
from importlib.metadata import PackageMetadata, PackageNotFoundError, distribution, metadata, packages_distributions
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from kit.hooks.hookspecs import NAME
from kit.hooks.manager import BUILT_IN, HOOKS
from kit.testing.check import Broken, Skipped, all_checks, check, need, suppose
from kit.testing.probe import probe
from kit.testing.subject import HOOK_OF, Subject, specs_of

QUICK = 0.3  # seconds for an import
TRIES = 3  # of a measurement of time on a busy machine
PUBLIC = re.compile(r"kit\.(plugin(\.\w+)?|errors|testing)")


@check("package/loads", "correct the line that it names; --debug shows the traceback")
def loads(subject: Subject) -> None:
    """The module can be imported and its hooks are functions with @hookimpl that take what kit gives."""
    error = subject.plugin.error
    need(subject.module is not None, error or "it could not be loaded")


@check("package/gives-something", "write one of the hooks of docs/plugins.md, with @hookimpl above it")
def gives_something(subject: Subject) -> None:
    """It implements a hook."""
    _loaded(subject)
    need(subject.plugin.hooks, f"{subject.module.__name__} has none of {', '.join(HOOKS)}")


@check("package/known-hooks", "correct the name: docs/plugins.md lists the hooks; other functions begin otherwise")
def known_hooks(subject: Subject) -> None:
    """No function is called almost like a hook."""
    _loaded(subject)
    own = [name for name, value in vars(subject.module).items() if name.startswith("kit_") and _is_function(value)]
    odd = [name for name in own if name not in HOOKS]
    need(not odd, f"{', '.join(odd)} looks like a hook, and kit never calls it")


@check("package/hooks", "return a list of the hook's specs, each with valid names and functions")
def hooks(subject: Subject) -> None:
    """Every hook returns a list of valid specs."""
    _loaded(subject)
    records, _ = subject.registry.problems()
    mine = [
        record.error
        for record in records
        if (record.name, record.distribution) == (subject.plugin.name, subject.plugin.distribution)
    ]
    need(not any(mine), str(mine[0]) if mine else "")


@check("package/free-names", "rename it: a name belongs to one plugin alone")
def free_names(subject: Subject) -> None:
    """No name, alias or slug belongs to another plugin, or to another of its own specs."""
    _loaded(subject)
    _, clashes = subject.registry.problems()
    clashes = [*clashes, *subject.registry.before_kit()]
    mine = f"{subject.plugin.distribution} ({subject.plugin.name})"
    need(not (own := [clash for clash in clashes if mine in clash.distributions]), "; ".join(map(str, own)))
    for kind in HOOK_OF:
        names = [spec.name for spec in specs_of(subject.module, kind)]
        twice = {name for name in names if names.count(name) > 1}
        need(not twice, f"{kind} {', '.join(sorted(map(str, twice)))} is given twice by this plugin")


@check("package/imports-anew", "let the module be imported by itself, in any folder, without arguments")
def imports_anew(subject: Subject) -> None:
    """The module can be imported in a fresh interpreter, as every start of kit does."""
    _loaded(subject)
    suppose(getattr(subject.module, "__file__", None), "the module has no file")
    with suppress(Skipped):
        _probed(subject)
    need(isinstance(subject.kept["probe"], dict), str(subject.kept["probe"]))


@check("package/light-import", "import them inside the functions that need them, or use kit.plugin.lazy")
def light_import(subject: Subject) -> None:
    """Importing the module, which every start of kit does, imports no torch, numpy and the like."""
    heavy = _probed(subject)["heavy"]
    need(not heavy, f"importing {subject.module.__name__} imports {', '.join(heavy)}")


@check("package/light-hooks", "import them inside the functions that the specs hold, or use kit.plugin.lazy")
def light_hooks(subject: Subject) -> None:
    """Calling the hooks imports no torch, numpy and the like."""
    heavy = _probed(subject)["of_hooks"]
    need(not heavy, f"calling its hooks imports {', '.join(heavy)}")


@check("package/quick-import", "do that work inside the functions of the specs", "advice")
def quick_import(subject: Subject) -> str:
    """Importing the module takes less than 0.3 s."""
    seconds = _probed(subject)["seconds"]
    for _ in range(TRIES - 1):
        if seconds >= QUICK:
            seconds = min(seconds, probe(subject.module, subject.folder)["seconds"])
    need(seconds < QUICK, f"importing {subject.module.__name__} takes {seconds:.1f} s, {QUICK} at most is good")
    return f"{1000 * seconds:.0f} ms"


@check("package/quiet-import", "print inside commands alone: a line in front of a JSON document damages it")
def quiet_import(subject: Subject) -> None:
    """Importing the module and calling its hooks prints nothing."""
    printed = _probed(subject)["printed"]
    need(not printed, f"it prints {printed[:60]!r}")


@check("package/import-writes-nothing", "write inside the functions of the specs, where they are told to")
def import_writes_nothing(subject: Subject) -> None:
    """Importing the module writes and removes no file."""
    written = _probed(subject)["written"]
    need(not written, f"importing it writes {', '.join(written[:3])}")


@check("package/import-without-network", "reach the network inside functions, when a person asks for what needs it")
def import_without_network(subject: Subject) -> None:
    """Importing the module reaches no network."""
    asked = _probed(subject)["asked"]
    need(not asked, f"importing it asks for {', '.join(asked[:3])}")


@check("package/import-starts-nothing", "start them inside functions")
def import_starts_nothing(subject: Subject) -> None:
    """Importing the module starts no program and no thread."""
    started = _probed(subject)["started"]
    need(not started, f"importing it starts {', '.join(started[:3])}")


@check("package/import-changes-nothing", "leave what belongs to the whole process as it is")
def import_changes_nothing(subject: Subject) -> None:
    """Importing the module changes no environment variable, path, filter of warnings or working folder."""
    changed = _probed(subject)["changed"]
    need(not changed, f"importing it changes {', '.join(changed)}")


@check("package/lazy-references", "correct the reference: lazy('module:function')")
def lazy_references(subject: Subject) -> None:
    """What specs name by `lazy` can be imported."""
    _loaded(subject)
    for kind in HOOK_OF:
        for spec in specs_of(subject.module, kind):
            for name, value in vars(spec).items():
                resolve = getattr(getattr(value, "func", value), "resolve", None)
                try:
                    _ = resolve() if resolve is not None else None
                except (ImportError, AttributeError) as error:
                    raise Broken(f"{kind} {spec.name}: {name} leads nowhere: {error}") from None


@check("package/public-surface", "import from kit.plugin, kit.plugin.*, kit.errors and kit.testing alone")
def public_surface(subject: Subject) -> None:
    """It imports the public modules of kit alone: the others change without notice."""
    inner = sorted(
        f"{path.name}:{line} imports {name}"
        for path in _sources(subject)
        for line, name in _imports(path)
        if name.split(".")[0] == "kit" and name != "kit" and not PUBLIC.fullmatch(name)
    )
    need(not inner, "; ".join(inner[:3]))


@check("package/expected-failures", "name checks of kit test-plugin, each with the reason why it fails")
def expected_failures(subject: Subject) -> None:
    """`EXPECTED_FAILURES` names known checks, each with a reason."""
    _loaded(subject)
    declared = getattr(subject.module, "EXPECTED_FAILURES", {})
    need(isinstance(declared, dict), f"EXPECTED_FAILURES is {type(declared).__name__}, not a dictionary")
    known = {each.name for each in all_checks()}
    for name, why in declared.items():
        need(str(name).partition(" ")[0] in known, f"EXPECTED_FAILURES names {name!r}, which is no check")
        need(isinstance(why, str) and why.strip(), f"EXPECTED_FAILURES gives no reason for {name!r}")


@check(
    "package/entry-point",
    'add to pyproject.toml: [project.entry-points.kit] NAME = "MODULE"; then install it again',
    "advice",
)
def entry_point(subject: Subject) -> None:
    """The distribution has an entry point of the group `kit`, so that kit finds it."""
    found = _metadata(subject)
    suppose(found["Name"] != BUILT_IN, "it is kit itself")
    named = distribution(str(found["Name"])).entry_points.select(group=NAME)
    module = subject.module.__name__
    values = [each.value.partition(":")[0] for each in named]
    need(module in values, f"{found['Name']} has no entry point of the group {NAME} for {module}")


@check("package/requires-kit", 'add to pyproject.toml: dependencies = ["competition-kit"]', "advice")
def requires_kit(subject: Subject) -> None:
    """The distribution requires kit."""
    found = _metadata(subject)
    suppose(found["Name"] != BUILT_IN, "it is kit itself")
    required = [re.split(r"[\[<>=~!; (]", text)[0].lower() for text in found.get_all("Requires-Dist") or []]
    need(BUILT_IN in required, f"{found['Name']} does not require {BUILT_IN}")


@check("package/description", 'add to pyproject.toml: description = "..."', "advice")
def description(subject: Subject) -> None:
    """The distribution says in a line what it is."""
    found = _metadata(subject)
    need((found["Summary"] or "").strip(), f"{found['Name']} has no description")


@check("package/licence", 'add to pyproject.toml: license = "..."', "advice")
def licence(subject: Subject) -> None:
    """The distribution says under which licence it may be used."""
    found = _metadata(subject)
    classifiers = " ".join(found.get_all("Classifier") or [])
    said = found["License-Expression"] or found["License"] or ("License ::" in classifiers)
    need(said, f"{found['Name']} names no licence")


@check("package/docstring", "say in a line at the top of the module what the plugin gives", "advice")
def docstring(subject: Subject) -> None:
    """The module says what it is."""
    _loaded(subject)
    need((subject.module.__doc__ or "").strip(), f"{subject.module.__name__} has no docstring")


def _loaded(subject: Subject) -> None:
    suppose(subject.module is not None, "the plugin could not be loaded: see package/loads")


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type) and hasattr(value, "__code__")


def _probed(subject: Subject) -> dict[str, Any]:
    """Return what `probe` says of the module, which is asked once."""
    _loaded(subject)
    if "probe" not in subject.kept:
        try:
            subject.kept["probe"] = probe(subject.module, subject.folder)
        except OSError as error:
            subject.kept["probe"] = f"it can't be imported anew: {error}"
        except TimeoutExpired:
            subject.kept["probe"] = "importing it does not end"
        except ValueError as error:
            subject.kept["probe"] = str(error)
    found = subject.kept["probe"]
    suppose(isinstance(found, dict), str(found))
    return dict(found)


def _sources(subject: Subject) -> list[Path]:
    _loaded(subject)
    file = getattr(subject.module, "__file__", None)
    suppose(file, "the module has no file")
    path = Path(str(file))
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


def _imports(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            found += (
                [(node.lineno, f"kit.{a.name}") for a in node.names] if module == "kit" else [(node.lineno, module)]
            )
    return found


def _metadata(subject: Subject) -> PackageMetadata:
    """Return the metadata of the distribution that has the module."""
    _loaded(subject)
    if "distributions" not in subject.kept:
        subject.kept["distributions"] = packages_distributions()  # half a second
    top = subject.module.__name__.partition(".")[0]
    for name in (subject.plugin.distribution, *subject.kept["distributions"].get(top, ())):
        try:
            return metadata(name)
        except (PackageNotFoundError, ValueError):
            continue
    suppose(False, "it is not installed as a package")
    raise LookupError(subject.name)
