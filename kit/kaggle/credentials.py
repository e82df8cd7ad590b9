"""Credentials for Kaggle, found where Kaggle's own tools look for them, in the same order."""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from kit.console import Console
from kit.errors import CREDENTIALS, KitError

WAYS = (
    "a token from kaggle.com/settings in the environment variable KAGGLE_API_TOKEN or the file ~/.kaggle/access_token",
    "KAGGLE_USERNAME and KAGGLE_KEY in the environment, or the file kaggle.json in ~/.kaggle/",
    "a sign-in with the browser: kaggle auth login",
)


@dataclass(frozen=True)
class Credential:
    """One way to authenticate; secrets never show in its representation.

    Args:
        source: where it was found, for messages.
        token: sent as a bearer token; empty for a pair of username and key.
        username: of the pair.
        key: of the pair.
    """

    source: str
    token: str = field(default="", repr=False)
    username: str = ""
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        # A character that no header can hold makes the HTTP library raise with the secret in its message.
        if not all(text.isascii() and text.isprintable() for text in (self.token, self.username, self.key)):
            raise KitError(
                f"the credentials from {self.source} hold a line break or a character that none has: copy them "
                "again from kaggle.com/settings",
                CREDENTIALS,
            )


def find_credentials(console: Console) -> list[Credential]:
    """Find every credential on this machine, in the order in which Kaggle's client takes them.

    Raises:
        KitError: the only credential is a file that can't be read or is malformed.
    """
    problems: list[str] = []
    found = [
        *_token_variable(console),
        *_from_files(_token_files(), console, problems),
        *_pair(),
        *_from_files(_config_files(), console, problems),
    ]
    if problems and not found and not signed_in():
        raise KitError(problems[0], CREDENTIALS)
    for problem in problems:
        console.warn(problem)
    return found


def _from_files(paths: list[Path], console: Console, problems: list[str]) -> list[Credential]:
    """Read credentials; a bad file is a problem, which must not hide the good ones after it."""
    found = []
    for path in paths:
        try:
            found += _read_pair(path, console) if path.suffix == ".json" else _read_token(path, console)
        except KitError as error:
            problems.append(str(error))
    return found


def none_found(what: str) -> KitError:
    """Return the error for a person without credentials."""
    named, wrong = os.environ.get("KAGGLE_CONFIG_DIR"), ""
    if named and not _config_files():
        is_what = "a file" if os.path.isfile(named) else "no folder with a kaggle.json"
        wrong = f", and KAGGLE_CONFIG_DIR={named} is {is_what}: it should name the folder of kaggle.json"
    return KitError(f"{what} needs your Kaggle credentials{wrong}: give them in one of three ways", CREDENTIALS, WAYS)


def signed_in() -> bool:
    """Return whether `kaggle auth login` has left something to renew a token with."""
    return _signed_in_file().is_file()


def _signed_in_file() -> Path:
    return _home("~/.kaggle/credentials.json")


def _token_variable(console: Console) -> list[Credential]:
    value = os.environ.get("KAGGLE_API_TOKEN", "").strip()
    # Kaggle's client accepts the name of a file there too.
    token = _read(Path(value), console) if value and os.path.isfile(value) else value
    return [Credential("KAGGLE_API_TOKEN", token=token)] if token else []


def _token_files() -> list[Path]:
    return [path for name in ("access_token", "access_token.txt") if (path := _home(f"~/.kaggle/{name}")).is_file()]


def _read_token(path: Path, console: Console) -> list[Credential]:
    token = _read(path, console)
    return [Credential(str(path), token=token)] if token else []


def _pair() -> list[Credential]:
    username, key = (os.environ.get(name, "").strip() for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"))
    return [Credential("KAGGLE_USERNAME and KAGGLE_KEY", username=username, key=key)] if username and key else []


def _home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a user without a home
        return Path(path)


def _config_files() -> list[Path]:
    """Return the kaggle.json that counts, if any: in the named folder, or else in the first of the usual two."""
    named = os.environ.get("KAGGLE_CONFIG_DIR")
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folders = [named] if named else ["~/.kaggle", f"{config}/kaggle"]
    paths = [_home(f"{folder}/kaggle.json") for folder in folders]
    return [path for path in paths if path.is_file()][:1]


def _read_pair(path: Path, console: Console) -> list[Credential]:
    try:
        document = json.loads(_read(path, console))
        username, key = document["username"], document["key"]
        if not (isinstance(username, str) and isinstance(key, str) and username.strip() and key.strip()):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KitError(
            f'{path} is malformed: it should read {{"username": "...", "key": "..."}}; '
            "create it again on kaggle.com/settings",
            CREDENTIALS,
        ) from None
    return [Credential(str(path), username=username.strip(), key=key.strip())]


def _read(path: Path, console: Console) -> str:
    """Read a file with a secret; warn if others can read it too."""
    try:
        content = path.read_bytes()
        mode = path.stat().st_mode
        # Windows' editors begin a file with a byte-order mark, and its shell writes UTF-16.
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise KitError(f"{path} can't be read ({reason}): correct that file", CREDENTIALS) from None
    if text and mode & (stat.S_IRWXG | stat.S_IRWXO):
        console.warn(f"others on this machine can read your key: chmod 600 {path}")
    return text
