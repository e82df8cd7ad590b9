"""What surrounds a command: streams that are closed, full or ASCII, signals, folders that variables name."""

import errno
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from kit.cli import app
from kit.errors import KitError

WAITS = """
import sys, time
from types import SimpleNamespace
from kit.cli import app
from kit.files import atomic
from pathlib import Path

def wait():
    "Wait."
    with atomic(Path(sys.argv[1]) / "file") as temporary:
        {swallow}
            print("ready", flush=True)
            time.sleep({seconds})
        {end}

app.COMMANDS["wait"] = SimpleNamespace(command=wait)
app.main(["wait"])
"""
NO_PLUGINS = {**os.environ, "KIT_PLUGINS": ""}


def shell(line, **variables):
    command = f"{sys.executable} -m kit {line}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**NO_PLUGINS, **variables},
        capture_output=True,
        text=True,
        errors="replace",
    )


def test_a_home_that_can_not_be_written_is_no_news():
    done = shell("explore nothing", MPLCONFIGDIR="/dev/null/x")
    assert done.stderr.startswith("error: no competition")


@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("list >&-", 0, ""),
        ("list 2>&-", 0, ""),
        ("list <&- >&- 2>&-", 0, ""),
        ("list --json >&- 2>&-", 0, ""),
        ("info nothing >&-", 2, "error: no competition is called"),
        ("info nothing 2>&-", 2, ""),
        ("list > /dev/full", 5, "error: the output can't be written (No space left on device)"),
        ("list --json > /dev/full", 5, "error: the output can't be written"),
        ("--version > /dev/full", 5, "error: the output can't be written"),
        ("--help > /dev/full", 5, "No space left on device"),
        ("info nothing --json > /dev/full", 2, "error: no competition is called"),
        ("list 2> /dev/full", 0, ""),
        ("info nothing 2> /dev/full", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(line, code, err):
    done = shell(line)
    assert done.returncode == code, done.stderr
    assert err in done.stderr
    assert done.stderr.count("\n") == bool(err)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "utf-8:nonsense"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "nonsense", "LANG": ""},
    ],
    ids=str,
)
def test_encodings_and_locales(variables):
    for line in ("list", "info größe"):
        done = shell(line, **variables)
        assert done.returncode == (0 if line == "list" else 2)
        assert "Traceback" not in done.stderr


ENDING = [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "ended by SIGTERM"),
    (signal.SIGHUP, 129, "SIGHUP"),
]


@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize(("number", "code", "said"), ENDING)
def test_a_signal_ends_a_command_with_its_status_and_leaves_nothing(tmp_path, number, code, said, swallowed):
    """Also one that a library swallows, as imports do: the command does not end as if nothing had been."""
    seconds = 1 if swallowed else 60
    swallow, end = ("try:", "except BaseException: pass") if swallowed else ("if True:", "")
    script = WAITS.format(seconds=seconds, swallow=swallow, end=end)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.send_signal(number)  # a terminal that closes sends several
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert said in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == (["file"] if swallowed else [])


def test_what_was_told_to_ignore_hangups_goes_on(tmp_path):
    script = WAITS.format(seconds=1, swallow="if True:", end="")
    process = subprocess.Popen(
        ["nohup", sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 0


def test_a_forked_worker_ends_at_once_and_silently(tmp_path):
    script = (
        "import os, signal, sys, time\nfrom types import SimpleNamespace\nfrom kit.cli import app\n"
        "def work():\n    'Work.'\n    child = os.fork()\n    if not child: time.sleep(60)\n"
        "    time.sleep(.3); os.kill(child, signal.SIGTERM); print(os.WTERMSIG(os.waitpid(child, 0)[1]))\n"
        "app.COMMANDS['work'] = SimpleNamespace(command=work)\napp.main(['work'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("15\n", "")


def fails(monkeypatch, error, near=None):
    def command(json: bool = False):
        """Fail."""
        path = near  # what the code was at work on
        raise error
        return path

    monkeypatch.setitem(app.COMMANDS, "fail", SimpleNamespace(command=command))


class OutOfMemoryError(RuntimeError):
    """As torch's own is called, which the command line does not import."""


GPU = (
    "the GPU has too little memory (CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total): "
    "end what else uses it, give a smaller --batch-size"
)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KitError("no such run"), 2, "no such run"),
        (KitError("refused", 3), 3, "refused"),
        (OSError(errno.ENOSPC, "No space left on device"), 5, "{}: No space left on device: free some space there"),
        (OSError(errno.EACCES, "Permission denied", "x.csv"), 5, "'x.csv': check that path"),
        (EOFError("No data left in file"), 2, "{} ends too early (No data left in file)"),
        (MemoryError("Unable to allocate 9 TiB"), 5, "there is too little memory (Unable to allocate 9 TiB)"),
        (MemoryError(), 5, "error: there is too little memory: free some, or give a smaller --batch-size or --size"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"), 5, GPU + " or --size"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), 5, "(CUDA_VISIBLE_DEVICES=)"),
        (
            RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"),
            5,
            "little memory (CUDA error: out of mem",
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            5,
            "the GPU has too little",
        ),
        (RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), 5, "the GPU has too little memory ("),
        (
            RuntimeError("FIND was unable to find an engine to execute this computation"),
            5,
            "the GPU has too little memory, most likely (FIND was unable",
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: x"),
            5,
            "there is too little memory (DefaultCPUAllocator: can't allocate memory: x): free some",
        ),
        (RecursionError("maximum recursion depth"), 2, "{} is nested too deeply"),
        (UnicodeEncodeError("ascii", "ö", 0, 1, "x"), 2, "set PYTHONUTF8=1"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_cause_is_named_in_one_line(kit, monkeypatch, tmp_path, error, code, said):
    fails(monkeypatch, error, tmp_path / "cache.npz")
    plain = kit("fail", code=code).err
    assert said.format(tmp_path / "cache.npz") in plain
    assert plain.count("\n") == 1
    assert kit("fail", "--json", code=code).json == {"error": plain.removeprefix("error: ").rstrip("\n"), "code": code}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train histo", "give a smaller --batch-size or --size"),
        ("bench histo", "give a smaller --batch-size or --size"),
        ("lr-find histo", "give a smaller --set batch_size=... or --set size=..."),
        *((command, "take a run of a smaller --size or --model") for command in ("predict", "evaluate", "gradcam")),
    ],
)
def test_too_little_memory_names_what_the_command_takes(kit, monkeypatch, line, said):
    def full(words: object) -> None:
        raise MemoryError

    monkeypatch.setattr("kit.model.preflight.need_card", full)
    assert kit(*line.split(), code=5).err == f"error: there is too little memory: free some, or {said}\n"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("info nothing", 2),
        ("list > /dev/full", 5),
        ("nothing", 2),
        ("train --resume nothing", 2),
        ("report --port x", 2),
    ],
)
def test_debug_shows_the_traceback_and_keeps_the_code(line, code):
    word, _, rest = line.partition(" ")
    done = shell(f"{word} --debug {rest}")
    assert done.returncode == code
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == shell(line).stderr.splitlines()[-1]


@pytest.mark.parametrize("variable", ["KIT_DATA", "KIT_RUNS"])
@pytest.mark.parametrize("kind", ["file", "in a file", "dangling", "in a dangling one", "long", "device"])
def test_folders_that_are_none(kit, monkeypatch, tmp_path, variable, kind):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    names = {"file": "file", "in a file": "file/a/b", "dangling": "dangling", "in a dangling one": "dangling/a"}
    path = "/dev/null" if kind == "device" else str(tmp_path / names.get(kind, "x" * 300))
    monkeypatch.setenv(variable, path)
    for words in (("list",), ("info", "histo")) if variable == "KIT_DATA" else (("runs",), ("log", "histo")):
        err = kit(*words, code=5 if kind == "long" else 2).err
        assert f"{variable} names {path}" in err
        assert f"set {variable} to a folder" in err


def test_an_empty_variable_means_the_default_and_a_missing_folder_is_made_later(kit, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIT_RUNS", "")
    assert "no runs in runs" in kit("runs").out
    monkeypatch.setenv("KIT_RUNS", str(tmp_path / "a" / "b"))
    assert "no runs in" in kit("runs").out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_folder_that_may_not_be_read(tmp_path):
    hidden = tmp_path / "hidden"
    (hidden / "runs").mkdir(parents=True)
    hidden.chmod(0)
    code = (
        "import os\nfrom kit.paths import runs_dir\nfrom kit.errors import KitError\nos.seteuid(65534)\n"
        "try: runs_dir()\nexcept KitError as error: print(error.code, error)"
    )
    for path in (hidden, hidden / "runs"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "KIT_RUNS": str(path)}, capture_output=True, text=True
        )
        assert done.stdout.startswith(f"5 KIT_RUNS names {path}"), done.stderr
