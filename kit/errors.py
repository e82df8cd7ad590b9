"""The one exception for mistakes of the user and faults of the machine, and its exit codes."""

import re
import signal

BAD_INPUT = 2
CREDENTIALS = 3
NETWORK = 4
DISK = 5
MEMORY = DISK  # what the machine lacks: space, a permission, memory
INTERRUPTED = 130


class KitError(Exception):
    """An error in one line: what happened, and the command that mends it.

    Args:
        message: one line for the person at the keyboard.
        code: the exit status: 2 bad input, 3 credentials or rules, 4 network, 5 disk, memory or permission.
        ways: several ways to mend it, each printed on its own line below the message.
    """

    def __init__(self, message: str, code: int = BAD_INPUT, ways: tuple[str, ...] = ()) -> None:
        super().__init__(" ".join(message.split()))
        self.code, self.ways = code, ways


class MisuseError(KitError):
    """What is wrong with an object of kit's that a plugin made; the boundary of plugins adds where (`kit.hooks`)."""


class PluginError(KitError):
    """A plugin's code raised, or returned what its spec does not allow: the plugin, its file and line, and what."""


class Ended(KeyboardInterrupt):
    """A signal asks this process to end: Ctrl-C, SIGTERM or SIGHUP.

    `code` is the exit status for it; `answered` is set by what takes it as its normal end.
    """

    answered = False

    def __init__(self, number: int) -> None:
        self.name, self.code = signal.Signals(number).name, 128 + number
        super().__init__(self.name)


# What torch and the libraries below it say, in errors that have no type of their own.
_NO_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "Insufficient memory",
)
# What torch says where cuDNN has no algorithm, mostly since none has the memory that it needs.
_NO_ALGORITHM = re.compile(r"unable to find (an engine to execute|a valid cudnn algorithm)", re.IGNORECASE)


def too_little_memory(error: BaseException) -> str:
    """Say that the memory of the GPU, or of this machine, is full and how much more was asked for.

    Empty if the error means something else. Torch's own error is told by its name, since torch need not be imported.
    """
    first = " ".join(str(error).partition("\n")[0].split())
    own = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    no_algorithm = _NO_ALGORITHM.search(first) is not None
    if isinstance(error, KitError) or not (own or no_algorithm or any(words in first for words in _NO_MEMORY)):
        return ""
    on_gpu = not isinstance(error, MemoryError) and "CPUAllocator" not in first and "Insufficient" not in first
    # Torch goes on with advice on its allocator; two or three sentences say how much was asked for and is free.
    said = ". ".join(re.split(r"(?<=[A-Za-z)])\. ", re.sub(r"^\[.*?\] err == 0\. ", "", first))[:3]).rstrip(".")
    full = "the GPU has too little memory" if on_gpu else "there is too little memory"
    return (f"{full}, most likely" if no_algorithm else full) + (f" ({said})" if said else "")


def out_of_memory(text: str, smaller: str = "give a smaller --batch-size or --size") -> KitError:
    """Return the error that ends a command for want of memory.

    Args:
        text: what `too_little_memory` says.
        smaller: what needs less of it.
    """
    if text.startswith("the GPU"):
        smaller = f"end what else uses it, {smaller}, or compute on the CPU (CUDA_VISIBLE_DEVICES=)"
    else:
        smaller = f"free some, or {smaller}"
    return KitError(f"{text}: {smaller}", MEMORY)


def nearest(word: str, known: "list[str] | tuple[str, ...]") -> str:
    """Return the end of an error about an unknown name: the closest known names, or some of them if none is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(sorted(known)[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return f"known: {shown}" if known else "none is installed: see kit plugins"
