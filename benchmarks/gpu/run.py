"""All that is to be measured on a GPU, in one command of nine minutes at most: `make gpu`.

Stages: `right` (the tests marked gpu), `fast` (images/s beside other loops), `peaks` (memory and a profile), `whole` (a
competition at its real size). Each is a process of its own with its own limit; what one leaves goes to the next. Each
figure is in the results file as soon as it is measured, so a cut loses nothing; at the end stands a table. What a stage
printed is beside the file, in gpu-<stage>.log.

    python3 benchmarks/gpu/run.py [--only STAGE ...] [--out FOLDER]
    python3 benchmarks/gpu/run.py --rehearsal [--out FOLDER]        tiny sizes on the CPU

A Python with torch is enough, kit need not be installed: what else is missing comes from the wheels that
`benchmarks/gpu/wheels.py` has gathered beforehand on a machine with a network.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import NAME, Results, not_measured
from table import table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SECONDS = 525.0  # of everything; cleaning up takes some more
LEAST = 3.0  # seconds for which no stage is worth starting
EVERY = 0.2  # seconds between two looks at a stage
MODULES = (
    *("numpy", "pandas", "scipy", "sklearn", "matplotlib", "PIL", "cv2", "torch", "torchvision", "timm", "safetensors"),
    *("typer", "rich", "pluggy", "requests", "six", "typing_extensions", "pydantic", "pydantic_core", "albumentations"),
    *("annotated_types", "typing_inspection", "albucore", "stringzilla", "simsimd", "pytest"),
)
MACHINE = """
import json, torch, machine
facts = machine.describe()
if torch.cuda.is_available():
    try:
        assert (torch.ones(8, device="cuda") * 2).sum().item() == 16
    except Exception as error:
        facts |= {"unusable": str(error).splitlines()[0]}
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class Spec:
    """A stage to run: its name, its command, and the seconds that are kept for it while earlier ones run."""

    name: str
    command: tuple[str, ...]
    kept: float


def stages(python: str, rehearsal: bool = False, only: Sequence[str] = ()) -> list[Spec]:
    """The chosen stages in their order. A rehearsal keeps less for each, so that a slow machine ends it too."""
    kept = {"right": 95.0, "fast": 95.0, "peaks": 30.0, "whole": 305.0}
    chosen = {name: seconds / (3 if rehearsal else 1) for name, seconds in kept.items() if not only or name in only}
    return [Spec(name, (python, str(HERE / f"{name}.py")), seconds) for name, seconds in chosen.items()]


def environment(rehearsal: bool) -> dict[str, str]:
    """The environment of this script's processes: kit as it lies here, no network, no GPU in a rehearsal."""
    places = [ROOT, ROOT / "plugins", ROOT / "competitions", ROOT / "benchmarks", ROOT / "tests"]
    given = os.environ.get("PYTHONPATH", "")
    own = {
        "PYTHONPATH": os.pathsep.join([*map(str, places), *filter(None, [given])]),
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "HF_HUB_OFFLINE": "1",
        "KIT_PLUGINS": "",
    }
    if rehearsal:
        own |= {"KIT_GPU_REHEARSAL": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **own}


def add_wheels(python: str, env: dict[str, str], wheels: Path, target: Path) -> str:
    """Install the wheels into a folder in front of everything if a module is missing; say what is missing then."""
    absent = _absent(python, env)
    found = sorted(map(str, wheels.glob("*.whl")))
    if absent and found:
        command = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--no-deps"]
        done = subprocess.run([*command, "--target", str(target), *found], env=env, capture_output=True, text=True)
        if done.returncode:
            return f"the wheels can't be installed: {(done.stderr.strip().splitlines() or ['pip says nothing'])[-1]}"
        env["PYTHONPATH"] = os.pathsep.join([str(target), env["PYTHONPATH"]])
        absent = _absent(python, env)
    if not absent:
        return ""
    where = "" if found else f"; {wheels} is empty: python benchmarks/gpu/wheels.py, where there is a network, fills it"
    return f"can't be imported: {', '.join(absent)}{where}"


def _absent(python: str, env: dict[str, str]) -> list[str]:
    code = "import sys; from importlib.util import find_spec; print(*(n for n in sys.argv[1:] if find_spec(n) is None))"
    return subprocess.run([python, "-c", code, *MODULES], env=env, capture_output=True, text=True).stdout.split()


def describe(python: str, env: dict[str, str]) -> dict[str, Any]:
    """The machine; raise `SystemExit` if torch can't be imported."""
    done = subprocess.run([python, "-c", MACHINE], env=env, capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["?"])[-1]
        raise SystemExit(f"{python} can't describe this machine ({why}): make gpu GPU_PYTHON=... names one with torch")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def run_stages(specs: Sequence[Spec], results: Results, ends: float, env: dict[str, str], options: list[str]) -> bool:
    """Run stages one after another until `ends` (`time.monotonic`); return whether none of them died.

    Each may take all the time that is left but for what is kept for those after it.
    """
    alive = True
    for number, spec in enumerate(specs):
        limit = ends - time.monotonic() - sum(later.kept for later in specs[number + 1 :])
        if limit < LEAST:
            print(f"{spec.name}: not started, the time is up", flush=True)
            results.end(spec.name, "not started: the time was up", 0, [])
            continue
        with tempfile.TemporaryDirectory(prefix="kit-gpu-") as folder:
            alive = _run_stage(spec, results, limit, env, options, Path(folder)) and alive
    return alive


def _run_stage(
    spec: Spec, results: Results, limit: float, env: dict[str, str], options: list[str], folder: Path
) -> bool:
    """Run one stage for at most `limit` seconds; return whether it did not die."""
    print(f"{spec.name}: at most {limit:.0f} s", flush=True)
    began, figures, log = time.monotonic(), folder / "figures", folder / "log"
    scratch = folder / "scratch"
    scratch.mkdir()
    words = [
        *spec.command,
        *options,
        "--figures",
        str(figures),
        "--scratch",
        str(scratch),
        "--ends",
        f"{began + limit:.1f}",
    ]
    new, cut = _news(figures), False
    stopped: SystemExit | None = None
    # In a session of its own, so that its end is that of all the processes that it has started.
    with (
        log.open("wb") as out,
        subprocess.Popen(
            words,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=env,
            cwd=ROOT,
            start_new_session=True,
        ) as process,
    ):
        try:
            while process.poll() is None and not cut:
                time.sleep(EVERY)
                _enter(results, spec.name, next(new))
                cut = time.monotonic() - began > limit
        except SystemExit as signalled:
            stopped = signalled
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    _enter(results, spec.name, next(new))
    seconds, died = time.monotonic() - began, not cut and not stopped and process.returncode != 0
    cuts = ("cut by a signal" if stopped else "") or (f"cut after {limit:.0f} s" if cut else "")
    how = cuts or (f"died with {process.returncode}" if died else "done")
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    results.path.with_name(f"gpu-{spec.name}.log").write_text("\n".join(said[-500:]) + "\n", encoding="utf-8")
    last = [line[:300] for line in said[-12:]] if died else []
    results.end(spec.name, how, seconds, last)
    print(f"{spec.name}: {how}, {seconds:.0f} s{': ' + last[-1][:200] if last else ''}", flush=True)
    if stopped:
        raise stopped
    return not died


def _news(figures: Path) -> Iterator[dict[str, Any]]:
    """Yield, whenever asked, the figures that have been noted since; a line that is not whole yet waits."""
    read = 0
    while True:
        text = figures.read_bytes()[read:] if figures.is_file() else b""
        whole = text[: text.rfind(b"\n") + 1]
        read += len(whole)
        yield dict(json.loads(line) for line in whole.splitlines())


def _enter(results: Results, stage: str, figures: dict[str, Any]) -> None:
    if figures:
        results.note(stage, figures)
        for name, value in figures.items():
            if isinstance(value, int):  # a count, of which the end is in the table
                continue
            print(f"  {name}: {json.dumps(value)}"[:160], flush=True)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure kit on this machine's GPU; each figure is kept at once.")
    names = [spec.name for spec in stages(sys.executable)]
    parser.add_argument("--rehearsal", action="store_true", help="tiny sizes on the CPU; no figure is to be quoted")
    parser.add_argument("--only", nargs="+", choices=names, metavar="STAGE", help=f"some of {', '.join(names)}")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where gpu.json goes; default: benchmarks/results")
    return parser.parse_args(words)


def main() -> int:
    ends = time.monotonic() + SECONDS
    given, python = arguments(), sys.executable
    for number in (signal.SIGINT, signal.SIGTERM):  # they end the stage in hand too
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    env = environment(given.rehearsal)
    # A rehearsal never writes where figures are kept, unless it is told to.
    out = given.out or (Path(tempfile.mkdtemp(prefix="kit-gpu-rehearsal-")) if given.rehearsal else RESULTS)
    path = out.resolve() / NAME
    with tempfile.TemporaryDirectory(prefix="kit-gpu-wheels-") as target:
        if missing := add_wheels(python, env, HERE / "wheels", Path(target)):
            print(missing, flush=True)
        machine = describe(python, env)
        if not given.rehearsal and (machine["gpu"] is None or "unusable" in machine):
            why = "no GPU on this machine" if machine["gpu"] is None else f"{machine['gpu']}: {machine['unusable']}"
            print(not_measured(path, why))
            return 0
        print(f"{machine['gpu'] or machine['processor']}, torch {machine['torch']}: {path}", flush=True)
        results = Results(path, machine, given.rehearsal)
        chosen = stages(python, given.rehearsal, given.only or ())
        try:
            alive = run_stages(chosen, results, ends, env, ["--rehearsal"] if given.rehearsal else [])
        finally:
            print("\n".join(["", *table(results.document, tuple(given.only or ())), "", str(path)]), flush=True)
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
