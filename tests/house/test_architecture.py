"""What the code promises about itself, read from its syntax trees: rooms, weight, safety, size, documentation."""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from helpers import ROOT
from kit.hooks import hookspecs

# From the ground up: a room imports from itself and from those on lines above it; rooms on one line stand apart.
ROOMS = (
    ("__init__",),
    ("errors",),
    ("files", "paths", "tables"),
    ("splits",),
    ("console", "image_files"),
    ("task", "hooks", "images"),
    ("config", "record"),
    ("run", "scaffold"),
    ("runs",),
    ("resolve", "data"),
    ("archives", "pixels", "scoring", "layouts"),
    ("model", "decision"),
    ("submission",),
    ("inference", "ensemble", "adapt"),
    ("training", "explain", "kaggle"),
    ("reports",),
    ("verify",),
    ("testing",),
    ("cli",),
    ("plugin",),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
TORCH_ROOMS = {"pixels", "model", "training", "inference", "explain", "testing"}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
SOURCES = sorted(path for folder in ("kit", "plugins", "competitions") for path in (ROOT / folder).rglob("*.py"))
ALL = SOURCES + sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
CORE = [path for path in SOURCES if path.is_relative_to(ROOT / "kit")]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name(path))


def walk(node: ast.AST, into_functions: bool = True) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not into_functions:
            continue
        yield child
        yield from walk(child, into_functions)


def imports(path: Path, into_functions: bool = True) -> set[str]:
    """Dotted names of the modules that a file imports."""
    found = set()
    for node in walk(tree(path), into_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: a relative import"
            module = node.module or ""
            # `from kit import paths` names a module, `from kit.paths import data_dir` an object in one.
            found |= {f"kit.{alias.name}" for alias in node.names} if module == "kit" else {module}
    return found


def packages(path: Path, into_functions: bool = True) -> set[str]:
    """The top-level packages that a file imports."""
    return {module.split(".")[0] for module in imports(path, into_functions)}


def using(forbidden: set[str], paths: list[Path]) -> list[str]:
    return [name(path) for path in paths if packages(path) & forbidden]


def is_light(path: Path) -> bool:
    """The command line, the contract, and the top of every plugin."""
    return (
        name(path).startswith(("kit/cli/", "kit/hooks/"))
        or (name(path.parent) == "kit/testing" and path.stem not in ("data", "made"))
        or name(path)
        in (
            "kit/plugin/__init__.py",
            "kit/errors.py",
            "kit/files.py",
            "kit/paths.py",
            "kit/console.py",
            "kit/__init__.py",
        )
        or (path.name == "__init__.py" and path.parts[-3] in ("plugins", "competitions"))
    )


def room(parts: tuple[str, ...]) -> str:
    return parts[0] if parts and parts[0] in LEVEL else "__init__"


def test_imports_point_one_way():
    wrong = []
    for path in CORE:
        own = room(path.relative_to(ROOT / "kit").with_suffix("").parts)
        for module in imports(path):
            other = room(tuple(module.split(".")[1:]))
            if module.split(".")[0] == "kit" and other != own and LEVEL[other] >= LEVEL[own]:
                wrong.append(f"{name(path)} imports {module}")
    assert wrong == []


def test_no_circle_of_imports():
    """Imports in functions count: what they hide is a circle all the same."""
    modules = {module_name(path): path for path in CORE}
    graph = {
        module: {found for found in imports_of_modules(path) if found in modules} - {module}
        for module, path in modules.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of_modules(path: Path) -> set[str]:
    """As `imports`, with the modules that `from kit.room import module` names."""
    found = set()
    for node in walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            files = {name_ for name_ in inner if (ROOT / (name_.replace(".", "/") + ".py")).is_file()}
            found |= files or {node.module or ""}
    return found


def test_rooms_are_no_drawers():
    crowded = {room: len(list((ROOT / "kit" / room).glob("*.py"))) for room in ("data", "inference")}
    assert max(crowded.values()) < 13, crowded


def test_every_part_of_the_core_has_its_room():
    parts = {path.relative_to(ROOT / "kit").with_suffix("").parts[0] for path in CORE}
    assert parts <= {*LEVEL}, "name the new room in ROOMS and in docs/architecture.md"


def test_torch_lives_in_its_rooms():
    elsewhere = [path for path in CORE if path.relative_to(ROOT / "kit").parts[0] not in TORCH_ROOMS]
    assert using({"torch", "torchvision", "timm"}, elsewhere) == []


def test_kaggle_lives_in_its_room():
    elsewhere = [path for path in SOURCES if not name(path).startswith("kit/kaggle/")]
    assert using({"kaggle", "kagglesdk", "requests", "urllib3"}, elsewhere) == []
    assert using({"kaggle"}, SOURCES) == [], "import kaggle signs in, prints and can hang"


def test_light_files_import_nothing_heavy_at_the_top():
    light = [path for path in SOURCES if is_light(path)]
    heavy = {
        name(path): foreign
        for path in light
        if (foreign := packages(path, into_functions=False) - {"kit", "typer", "pluggy"} - sys.stdlib_module_names)
    }
    assert heavy == {}


PUBLIC = re.compile(r"kit\.(plugin(\.\w+)?|errors|testing)")


def test_plugins_import_the_public_surface_alone():
    """What a stranger's plugin may rely on is what the built-in ones rely on."""
    plugins = [path for path in SOURCES if not path.is_relative_to(ROOT / "kit")]
    inner = [
        f"{name(path)} imports {module}"
        for path in plugins
        for module in imports(path)
        if module.split(".")[0] == "kit" and not PUBLIC.fullmatch(module)
    ]
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"^\s*(?:from|import) (kit\b[.\w]*)(?: import (\w+))?", text, re.MULTILINE)
        modules = [f"kit.{name_}" if module == "kit" else module for module, name_ in found]
        inner += [f"{name(path)} imports {module}" for module in modules if not PUBLIC.fullmatch(module)]
    assert inner == []


@pytest.mark.parametrize("path", sorted((ROOT / "kit/plugin").glob("*.py")), ids=lambda path: path.stem)
def test_the_public_surface_only_hands_on(path):
    """It names what is public in `__all__` and holds no code of its own."""
    kinds = {type(node) for node in tree(path).body}
    assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}
    handed = {
        alias.asname or alias.name
        for node in tree(path).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(handed) == sorted(
        importlib.import_module(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        ).__all__
    )


def test_plugins_are_imported_by_their_own_names():
    """`from competitions.kit_x import y` would make a second copy of every module."""
    assert using({"competitions", "plugins"}, ALL) == []


def test_nothing_unpickles():
    assert using(UNPICKLERS, ALL) == []
    calls = [(path, node) for path in ALL for node in walk(tree(path)) if isinstance(node, ast.Call)]
    assert [f"{name(path)}:{node.lineno}" for path, node in calls if runs_foreign_code(node)] == []


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "pd.read_pickle(f)",
        "yaml.load(f, Loader)",
        "albumentations.load(f, data_format='yaml')",
        "eval(text)",
    ],
)
def test_what_would_unpickle_is_seen(code):
    assert runs_foreign_code(ast.parse(code, mode="eval").body)


def runs_foreign_code(call: ast.Call) -> bool:
    called = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    return (
        called in ("eval", "exec")
        or called.endswith(("read_pickle", "yaml.load", "unsafe_load", "full_load"))
        or (called == "torch.load" and given.get("weights_only") != "True")
        or given.get("allow_pickle", "False") != "False"
        or given.get("data_format") == "'yaml'"
    )


def test_files_and_functions_are_short():
    """A command's list of options is free, and the training loop may be longer, so that it reads top to bottom."""
    long = [name(path) for path in ALL if len(path.read_text(encoding="utf-8").splitlines()) > 400]
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                is_loop = (name(path), node.name) == ("kit/training/loop.py", "train_fold")
                is_command = any("Option(" in ast.unparse(arg.annotation or node) for arg in node.args.args)
                body = node.body[ast.get_docstring(node) is not None :] or node.body
                first = body[0].lineno if is_command else node.lineno
                if (node.end_lineno or 0) - first >= (90 if is_loop else 60) or (is_loop and depth(node.body) > 4):
                    long.append(f"{name(path)}: {node.name}")
    assert long == []


def depth(body: list[ast.stmt]) -> int:
    """How deep blocks lie in one another."""
    deepest = 0
    for node in body:
        blocks = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
        blocks += [handler.body for handler in getattr(node, "handlers", [])]
        if any(blocks) and not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            deepest = max(deepest, 1 + max(depth(block) for block in blocks if block))
    return deepest


def test_nothing_is_asserted_of_what_people_give():
    found = [(path, node) for path in SOURCES for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]
    assert [f"{name(path)}:{node.lineno}" for path, node in found] == []


HOOKS = [hook for hook in vars(hookspecs) if hook.startswith("kit_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook):
    docstring = getattr(hookspecs, hook).__doc__ or ""
    assert "Called " in docstring
    assert f"def {hook}(" in docstring[docstring.index("Example:") :]
    assert f"| `{hook}(" in (ROOT / "docs/plugins.md").read_text(encoding="utf-8")


def test_every_dependency_is_justified():
    project = PYPROJECT["project"]
    requirements = {*project["dependencies"]}.union(*project["optional-dependencies"].values())
    declared = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in requirements} - {project["name"]}
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^- `([^`]+)`: \S", text, re.MULTILINE)) == declared


def test_every_folder_is_packaged_and_has_its_entry_point():
    folders = {
        name(path.parent)
        for path in SOURCES
        if path.name == "__init__.py" and path.parts[-3] in ("plugins", "competitions")
    }
    assert {"kit", *folders} == set(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert {folder.split("/")[1] for folder in folders} == set(PYPROJECT["project"]["entry-points"]["kit"].values())
