"""Retries: how long to wait, how often, and how a failed request is described to people."""

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from kit.console import Console, duration
from kit.errors import NETWORK, KitError

TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two bytes
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds
TRIES = 9  # in a row without progress: about two minutes
LONGEST_ASKED = 600.0  # seconds of waiting that a server may ask for; beyond, the person decides


class Fault(Exception):
    """A failed try, in words for people.

    Args:
        text: what happened; never an address, since signed ones are secrets.
        wait: seconds that the server asked for.
        lasting: trying again won't help.
        undone: it is certain that nothing was done.
    """

    def __init__(self, text: str, wait: float = 0.0, lasting: bool = False, undone: bool = False) -> None:
        super().__init__(text)
        self.text, self.wait, self.lasting, self.undone = text, wait, lasting, undone


class Retry:
    """Growing pauses between tries, from half a second to 30 seconds; any progress resets them.

    Args:
        what: what is tried, for messages: "the download".
        console: reports each pause longer than a moment.
        tries: how many tries in a row may fail.
    """

    def __init__(self, what: str, console: Console, tries: int = TRIES) -> None:
        self.what, self.console, self.tries = what, console, tries
        self.failed = 0

    def progress(self) -> None:
        """Note that something worked: the next fault counts as the first."""
        self.failed = 0

    def pause(self, fault: Fault) -> None:
        """Wait before the next try; raise `KitError` (code 4) after too many."""
        self.failed += 1
        if fault.wait > LONGEST_ASKED:
            raise KitError(
                f"{self.what}: {fault.text}, and Kaggle asks to wait {duration(fault.wait)}: "
                "run the same command then, it resumes where it stopped",
                NETWORK,
            )
        if self.failed >= self.tries or fault.lasting:
            often = f" ({self.failed} times in a row)" if self.failed > 1 else ""
            raise KitError(f"{self.what}: {fault.text}{often}: run the same command again later", NETWORK)
        seconds = max(fault.wait, min(FIRST_PAUSE * 2 ** (self.failed - 1), LONGEST_PAUSE))
        if seconds >= 1:
            self.console.warn(f"{self.what}: {fault.text}; trying again in {duration(seconds)}")
        sleep(seconds)


def sleep(seconds: float) -> None:
    """Wait; the only place that does, so that tests can skip it."""
    time.sleep(seconds)


def asked_wait(headers: Mapping[str, str]) -> float:
    """Return the seconds that `Retry-After` asks for, given as seconds or as a date; 0 if there are none."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


class TimedAdapter(HTTPAdapter):
    """An adapter with time-outs: requests itself has none, and a request can hang for ever."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send with a time-out, whatever the caller asked for."""
        return super().send(request, *args, **{**options, "timeout": TIMEOUT})


def open_session() -> requests.Session:
    """Open a session for signed addresses: with time-outs, and without anything that identifies the person."""
    session = requests.Session()
    session.auth = lambda request: request  # nothing from a .netrc either
    for scheme in ("https://", "http://"):
        session.mount(scheme, TimedAdapter())
    return session


def reason(error: Exception) -> str:
    """Describe a failed request; requests' own text holds the address, which can be secret."""
    exceptions = requests.exceptions
    names: tuple[tuple[type[Exception], str], ...] = (
        (exceptions.JSONDecodeError, "it answers with half a document"),
        (exceptions.SSLError, "the certificate is not trusted (a proxy? set REQUESTS_CA_BUNDLE to its certificate)"),
        (exceptions.ConnectTimeout, "no connection within 10 seconds"),
        (exceptions.ReadTimeout, "no answer in time"),
    )
    for kind, text in names:
        if isinstance(error, kind):
            return text
    text = str(error)
    if isinstance(error, exceptions.ProxyError) and "RemoteDisconnected" not in text:
        return "the proxy can't be reached or refuses"
    if "resolve" in text or "resolution" in text:
        return "the name of Kaggle's server can't be resolved: is there a network?"
    if "refused" in text:
        return "the connection is refused"
    if "timed out" in text or "timeout" in text.lower():
        return "nothing arrives any more"
    return "the connection broke"
