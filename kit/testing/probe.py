"""Import a plugin in a fresh interpreter and write down what that does.

Run as `python -m kit.testing.probe ANSWER MODULE FILE`.
"""

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "skimage",
    "cv2",
    "PIL",
    "matplotlib",
    "albumentations",
    "kaggle",
    "requests",
    "rich",
    "pydantic",
    "safetensors",
    "tensorflow",
    "jax",
    "lightning",
    "pytorch_lightning",
    "transformers",
    "mlflow",
    "wandb",
    "tensorboard",
)
LIMIT = 15.0  # seconds


def probe(module: Any, folder: Path) -> dict[str, Any]:
    """Return what importing a module does: `seconds`, `heavy` modules, files `written`, hosts `asked`, programs and
    threads `started`, process-wide state `changed`, text `printed`; and the heavy modules that its hooks load.

    Raises:
        OSError: the module has no file.
        ValueError: the interpreter ended without an answer.
    """
    file = getattr(module, "__file__", None)
    if not file:
        raise OSError("the module has no file")
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / "probe.json"
    answer.unlink(missing_ok=True)
    words = [sys.executable, "-m", "kit.testing.probe", str(answer), module.__name__, str(Path(file).resolve())]
    path = os.pathsep.join([word for word in sys.path if word])
    environment = {**_environment(), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    work = folder / "probe"
    work.mkdir(exist_ok=True)
    done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    if not answer.is_file():
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise ValueError(f"importing it ended the process (exit status {done.returncode}): {' '.join(last)[:200]}")
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    found["printed"] = (done.stdout + done.stderr).strip()
    return found


def _environment() -> dict[str, str]:
    """Return the environment with which this process began: the plugin, imported here already, may have changed it."""
    try:
        words = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environ)
    return dict(os.fsdecode(word).split("=", 1) for word in words if b"=" in word)


def _import(name: str, file: str) -> Any:
    """Import a module by its name if that leads to its file, otherwise from the file."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve():
        return import_module(name)
    inside = [str(Path(file).parent)] if Path(file).name == "__init__.py" else None
    spec = spec_from_file_location(name, file, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _state() -> dict[str, Any]:
    return {
        "os.environ": dict(os.environ),
        "sys.path": list(sys.path),
        "warnings.filters": list(warnings.filters),
        "the working folder": os.getcwd(),
        "the recursion limit": sys.getrecursionlimit(),
    }


def _heavy() -> set[str]:
    return {name.partition(".")[0] for name in sys.modules} & {*HEAVY}


def _main(answer: str, name: str, file: str) -> None:
    import typer

    from kit.hooks.manager import HOOKS  # what a plugin may import at its top is there before it
    from kit.testing import watch

    before, heavy = _state(), _heavy()
    threads = threading.active_count()
    watch.watch()
    began = time.perf_counter()
    module = _import(name, file)
    seconds = time.perf_counter() - began
    after, of_import = _state(), _heavy() - heavy
    found: dict[str, Any] = {
        "seconds": seconds,
        "heavy": sorted(of_import),
        "changed": [what for what in before if before[what] != after[what]],
        "written": list(watch.written),
        "asked": list(watch.asked),
        "started": [*watch.started, *(["a thread"] if threading.active_count() > threads else [])],
    }
    sys.stdout.flush()
    for hook in HOOKS:
        function = getattr(module, hook, None)
        if callable(function):
            arguments = [typer.Typer()] if hook == "kit_commands" else []
            function(*arguments[: function.__code__.co_argcount if hasattr(function, "__code__") else None])
    found["of_hooks"] = sorted(_heavy() - heavy - of_import)
    with open(answer, "w", encoding="utf-8") as stream:
        json.dump(found, stream)


if __name__ == "__main__":
    _main(*sys.argv[1:])
