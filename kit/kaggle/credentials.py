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
    found = [*_tokens(), *_pair()]
    problem = None
    for path in _config_files():
        try:
            found.append(_read_pair(path, console))
        except KitError as error:
            problem = problem or error
    if problem is not None and not found and not _signed_in_file().is_file():
        raise problem
    if problem is not None:
        console.warn(str(problem))
    return found


def none_found(what: str) -> KitError:
    """Return the error for a person without credentials."""
    return KitError(f"{what} needs your Kaggle credentials: give them in one of three ways", CREDENTIALS, WAYS)


def signed_in() -> bool:
    """Return whether `kaggle auth login` has left something to renew a token with."""
    return _signed_in_file().is_file()


def _signed_in_file() -> Path:
    return Path("~/.kaggle/credentials.json").expanduser()


def _tokens() -> list[Credential]:
    found = []
    value = os.environ.get("KAGGLE_API_TOKEN", "").strip()
    if value:
        # Kaggle's client accepts the name of a file there too.
        token = _read(Path(value)) if os.path.isfile(value) else value
        found.append(Credential("KAGGLE_API_TOKEN", token=token))
    for name in ("access_token", "access_token.txt"):
        path = Path("~/.kaggle", name).expanduser()
        if path.is_file() and (token := _read(path)):
            found.append(Credential(str(path), token=token))
    return [credential for credential in found if credential.token]


def _pair() -> list[Credential]:
    username, key = (os.environ.get(name, "").strip() for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"))
    return [Credential("KAGGLE_USERNAME and KAGGLE_KEY", username=username, key=key)] if username and key else []


def _config_files() -> list[Path]:
    """Return the kaggle.json that counts, if any: in the named folder, or else in the first of the usual two."""
    named = os.environ.get("KAGGLE_CONFIG_DIR")
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folders = [named] if named else ["~/.kaggle", f"{config}/kaggle"]
    paths = [Path(folder, "kaggle.json").expanduser() for folder in folders]
    return [path for path in paths if path.is_file()][:1]


def _read_pair(path: Path, console: Console) -> Credential:
    try:
        document = json.loads(_read(path))
        username, key = document["username"], document["key"]
    except (ValueError, KeyError, TypeError):
        raise KitError(
            f'{path} is malformed: it should read {{"username": "...", "key": "..."}}; '
            "create it again on kaggle.com/settings",
            CREDENTIALS,
        ) from None
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        console.warn(f"others on this machine can read your key: chmod 600 {path}")
    return Credential(str(path), username=str(username), key=str(key))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise KitError(f"{path} can't be read ({reason}): correct that file", CREDENTIALS) from None
