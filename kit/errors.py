"""The one exception for mistakes of the user and faults of the machine, and its exit codes."""

import signal

BAD_INPUT = 2
CREDENTIALS = 3
NETWORK = 4
DISK = 5
INTERRUPTED = 130


class KitError(Exception):
    """An error in one line: what happened, and the command that mends it.

    Args:
        message: one line for the person at the keyboard.
        code: the exit status: 2 bad input, 3 credentials or rules, 4 network, 5 disk or permission.
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


def nearest(word: str, known: "list[str] | tuple[str, ...]") -> str:
    """Return the end of an error about an unknown name: the closest known names, or some of them if none is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(sorted(known)[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return f"known: {shown}" if known else "none is installed: see kit plugins"
