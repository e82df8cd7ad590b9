"""Trying again: how long to wait, how often, and what a failed request is called for people."""

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
TRIES = 9  # in a row without any progress: about two minutes
LONGEST_ASKED = 600.0  # seconds that a server may ask for before it is the person's turn


class Fault(Exception):
    """One try that failed, in words for people.

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
    """Growing pauses between tries, from half a second to 30; any progress starts them anew.

    Args:
        what: what is tried, for the message: "the download".
        console: says each pause that is longer than a moment.
        tries: how many tries in a row may fail.
    """

    def __init__(self, what: str, console: Console, tries: int = TRIES) -> None:
        self.what, self.console, self.tries = what, console, tries
        self.failed = 0

    def progress(self) -> None:
        """Something worked: the next fault is a first one."""
        self.failed = 0

    def pause(self, fault: Fault) -> None:
        """Wait before the next try; `KitError` (code 4) when there were enough of them."""
        self.failed += 1
        if fault.wait > LONGEST_ASKED:
            raise KitError(
                f"{self.what}: {fault.text}, and Kaggle asks to wait {duration(fault.wait)}: "
                "give the same command then, it goes on where it stopped",
                NETWORK,
            )
        if self.failed >= self.tries or fault.lasting:
            often = f" ({self.failed} times in a row)" if self.failed > 1 else ""
            raise KitError(f"{self.what}: {fault.text}{often}: give the same command again later", NETWORK)
        seconds = max(fault.wait, min(FIRST_PAUSE * 2 ** (self.failed - 1), LONGEST_PAUSE))
        if seconds >= 1:
            self.console.warn(f"{self.what}: {fault.text}; trying again in {duration(seconds)}")
        sleep(seconds)


def sleep(seconds: float) -> None:
    """Wait; the one place, so that tests need not."""
    time.sleep(seconds)


def asked_wait(headers: Mapping[str, str]) -> float:
    """Seconds that `Retry-After` asks for, given as seconds or as a date; 0 where there is none."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


class TimedAdapter(HTTPAdapter):
    """An adapter without which a request can hang for ever: requests itself has no time-outs."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send with a time-out, whatever was asked for."""
        return super().send(request, *args, **{**options, "timeout": TIMEOUT})


def open_session() -> requests.Session:
    """A session for signed addresses: with time-outs, and nothing that says who asks."""
    session = requests.Session()
    session.auth = lambda request: request  # nothing of a .netrc either
    for scheme in ("https://", "http://"):
        session.mount(scheme, TimedAdapter())
    return session


def reason(error: Exception) -> str:
    """What a failed request is called; requests' own text holds the address, which can be secret."""
    exceptions = requests.exceptions
    names: tuple[tuple[type[Exception], str], ...] = (
        (exceptions.JSONDecodeError, "it answers with half a document"),
        (exceptions.SSLError, "the certificate is not trusted (is there a proxy? REQUESTS_CA_BUNDLE names its own)"),
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
