"""Whether the GPU can compute with this torch: asked before data is read or packed, and answered in one line.

A card may be there, and `torch.cuda.is_available()` true, although this torch has no code for it. A build holds machine
code for some compute capabilities (`sm_XY`) and may hold PTX (`compute_XY`), which the driver compiles for newer cards.
Which wheel is built for which: PyTorch's RELEASE.md. Those that a plain pip installs have had no code for Pascal since
torch 2.8 (CUDA 12.8) and none for Volta since 2.11 (CUDA 13.0): Kaggle's P100 computes with neither
(Kaggle/docker-python 1546, Kaggle/kaggle-cli 1151).
"""

import contextlib
import functools
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from kit.console import Console
from kit.errors import BAD_INPUT, MEMORY, KitError
from kit.paths import on_kaggle

# What the wheels of torch 2.7, the last ones with CUDA 12.6 that a plain pip installs, are built for at least, and
# from where on the newest ones are.
OLDEST, NEWEST = (5, 0), (7, 5)
OLD_WHEELS, NEW_WHEELS = "'torch==2.7.*' 'torchvision==0.22.*'", "-U torch torchvision"
# What torch says on several lines, of every card of the machine, when CUDA is initialised.
OF_CARDS = (
    r"(?is)\s*(found gpu\d|please install pytorch with a following cuda"
    r"|.* with cuda capability sm_\d+ is not compatible)"
)
HELD = "nvidia-smi shows what holds it: end that, or choose another card with CUDA_VISIBLE_DEVICES"
NEWER_DRIVER = f"update the driver, or install a torch for an older CUDA: pip install {OLD_WHEELS}"
# What an operation fails with, what that means, what mends it, and the exit status; the first that fits counts.
FAULTS = (
    (r"out of memory|alloc_failed", "has no free memory", HELD, MEMORY),
    (r"busy or unavailable", "is held by another process", HELD, MEMORY),
    (
        r"driver.* too old|driver version is insufficient|unsupported toolchain",
        "needs a newer driver",
        NEWER_DRIVER,
        BAD_INPUT,
    ),
)
NO_CODE = re.compile(r"no kernel image|arch_mismatch|invalid device function", re.IGNORECASE)


@dataclass(frozen=True)
class Card:
    """The GPU of this process: its name and compute capability, and the architectures that this torch was built for."""

    name: str
    capability: tuple[int, int]
    built_for: tuple[str, ...]

    @classmethod
    def current(cls) -> "Card":
        """Return the card that this process computes on."""
        # ROCm's architectures have other names, and no order.
        built_for = () if torch.version.hip else tuple(torch.cuda.get_arch_list())
        return cls(torch.cuda.get_device_name(), torch.cuda.get_device_capability(), built_for)

    def __str__(self) -> str:
        major, minor = self.capability
        return f"{self.name} (compute capability {major}.{minor}, sm_{major}{minor})"


def need_card(words: Sequence[str] = ()) -> None:
    """Raise `KitError` if there is a GPU that can't compute; without a GPU, this costs nothing.

    Args:
        words: the command that was typed, after `kit`; empty if that is not known.

    Raises:
        KitError: with status 5 if something else holds the GPU, otherwise 2.
    """
    if not available(Console()):
        return
    card: Card | None = None
    with _quiet():
        try:
            card = Card.current()
            fits = not card.built_for or any(runs_on(built, card.capability) for built in card.built_for)
            if fits:
                _compute(card)
        except Exception as error:  # whatever torch, CUDA, cuDNN and the driver raise
            what, code = _fault(card, error)
            raise KitError(f"{what}{_meanwhile(words)}", code) from None
    if not fits:
        raise KitError(f"{_no_code(card)}{_meanwhile(words)}")


def available(console: Console) -> bool:
    """Return whether torch sees a GPU; warn in one line if there is one that it can't use."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    for each in caught:
        said = str(each.message)
        if said.startswith("CUDA initialization:"):
            why, old = _first_line(said.removeprefix("CUDA initialization:")), "driver" in said and "too old" in said
            mend = NEWER_DRIVER if old else "nvidia-smi shows what the driver sees"
            console.warn(f"torch can't use the GPU, so the CPU computes ({why.split('. ')[0].rstrip('.')}): {mend}")
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return found


def take_card(number: int) -> None:
    """Compute on this card from now on, one of several processes of which each has its own.

    Raises:
        KitError: there are fewer cards.
    """
    count = torch.cuda.device_count()
    if number >= count:
        raise KitError(f"this machine has fewer GPUs ({count}) than processes: torchrun --nproc-per-node {count}")
    # What fails here is named by `need_card`.
    with _quiet(), contextlib.suppress(RuntimeError):
        torch.cuda.set_device(number)


def further_cards(words: Sequence[str]) -> str:
    """Return a line on how to train on all cards of this machine, for one process; empty if there is only one."""
    count = torch.cuda.device_count()
    if count < 2:
        return ""
    typed = shlex.join(words)
    return (
        f"this trains on one of {count} GPUs; on all of them: torchrun --nproc-per-node {count} -m kit {typed}, or "
        f"kit {typed} --on ray (folds side by side)"
    )


def runs_on(built: str, capability: tuple[int, int]) -> bool:
    """Return whether code that was built for an architecture runs on a card.

    Args:
        built: as in `torch.cuda.get_arch_list`. Machine code (`sm_86`) runs on cards of the same major version and an
            equal or higher minor one, PTX (`compute_86`) on all from there on. The suffix a (`sm_90a`) confines both
            to that very capability, f (`sm_100f`) to its family.
        capability: of the card, major and minor.
    """
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", built)
    if found is None:
        return False
    kind, major, minor, suffix = found.groups()
    own = int(major), int(minor)
    if suffix == "a":
        return capability == own
    family = capability[0] == own[0] and capability[1] >= own[1]
    return capability >= own if kind == "compute" and not suffix else family


@functools.cache
def _compute(card: Card) -> None:
    """Convolve something small on a card and wait for the end; once per process."""
    torch.nn.functional.conv2d(torch.ones(1, 3, 8, 8, device="cuda"), torch.ones(4, 3, 3, 3, device="cuda"))
    torch.cuda.synchronize()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within the block torch does not say on many lines what is said here in one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=OF_CARDS, module=r"torch\.cuda")
        yield


def _fault(card: Card | None, error: Exception) -> tuple[str, int]:
    """Return what an operation's failure means, and the exit status for it."""
    said = str(error)
    name, why = card or "the GPU", _first_line(said) or type(error).__name__
    if card is not None and NO_CODE.search(said):
        return _no_code(card, f" ({why})"), BAD_INPUT
    for pattern, what, mend, code in FAULTS:
        if re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            return f"{name} {what} ({why}): {mend}", code
    return f"{name} can't compute with {_torch()} ({why}): nvidia-smi shows its state", BAD_INPUT


def _no_code(card: Card, why: str = "") -> str:
    kaggle = ", or switch the notebook's accelerator to GPU T4 x2" if on_kaggle() else ""
    built_for = f", built for {' '.join(card.built_for)}" if card.built_for else ""
    return f"{card} can't compute with {_torch()}{built_for}{why}: {_wheel(card)}{kaggle}"


def _wheel(card: Card) -> str:
    """Return which wheel serves a card, and how to install it."""
    if card.capability >= NEWEST:
        return f"a newer torch serves it: pip install {NEW_WHEELS}"
    if card.capability < OLDEST:
        return "no torch that kit works with is built for it"
    # One that is built for a newer CUDA would count as installed.
    again = "--force-reinstall " if torch.__version__.startswith("2.7.") else ""
    where = " (with Python 3.13 or older)" if sys.version_info >= (3, 14) else ""
    return f"torch 2.7 serves it: pip install {again}{OLD_WHEELS}{where}"


def _meanwhile(words: Sequence[str]) -> str:
    typed = f"kit {shlex.join(words)}" if words else "before the command"
    return f"; on the CPU meanwhile: CUDA_VISIBLE_DEVICES= {typed}"


def _torch() -> str:
    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    return f"torch {torch.__version__} ({cuda})"


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:200]
