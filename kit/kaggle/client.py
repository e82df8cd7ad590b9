"""Kaggle's API through Kaggle's own client, guarded: time-outs, retries, one-line errors, no secrets."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import requests

from kit import __version__
from kit.console import Console
from kit.errors import BAD_INPUT, CREDENTIALS, NETWORK, KitError, nearest
from kit.hooks.specs import Competition
from kit.kaggle.credentials import Credential, find_credentials, none_found, signed_in
from kit.kaggle.retry import TRIES, Fault, Retry, TimedAdapter, asked_wait, reason

try:
    from kagglesdk.competitions.types import competition_api_service as competition_types
    from kagglesdk.datasets.types import dataset_api_service as dataset_types
    from kagglesdk.kaggle_creds import KaggleCredentials
    from kagglesdk.kaggle_http_client import KaggleHttpClient
    from kagglesdk.users.services.account_service import AccountClient
except Exception as error:  # a broken package can raise anything
    raise KitError(
        f"Kaggle's client can't be imported ({error}): pip install --force-reinstall 'kaggle>=2.2.4,<3' six"
    ) from None

PAGE = 200  # files per page: the most that Kaggle sends
MOST_PAGES = 25
ENDLESS = 10_000  # pages: two million files
FIRST_TRIES = 4  # while the server has never answered
SETTINGS = "https://www.kaggle.com/settings"

COMPETITIONS, DATASETS = "competitions.CompetitionApiService", "datasets.DatasetApiService"


class Kaggle:
    """A session with Kaggle about one competition, as a context manager.

    Args:
        competition: its slug names a competition on Kaggle, or a dataset if the data is published as one.
        console: for warnings about credentials, and pauses.

    Raises:
        KitError: the data is not on Kaggle, or Kaggle's client, its environment variable or a credentials file is
            broken.
    """

    def __init__(self, competition: Competition, console: Console) -> None:
        if competition.kaggle == "none":
            raise KitError(f"{competition.name} is not on Kaggle: {competition.url or 'its plugin knows where'}")
        self.competition, self.console = competition, console
        self.slug = competition.slug
        self._credentials = find_credentials(console)
        self._http = _Http()
        self._reached = False
        if not self._credentials and signed_in():
            self._credentials = [self._browser_token()]
        self._use(self._credentials[0] if self._credentials else None)

    def __enter__(self) -> "Kaggle":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.__exit__(*error)

    def files(self, pages: int | None = None) -> tuple[list[tuple[str, int]], bool]:
        """Return names and bytes of the unpacked files, from at most `pages` pages, and whether those are all."""
        found: list[tuple[str, int]] = []
        for number, page in enumerate(
            self._pages("ListDatasetFiles" if self._is_dataset else "ListDataFiles", PAGE), 1
        ):
            rows = page.get("datasetFiles" if self._is_dataset else "files") or []
            found += [(str(row["name"]), int(row.get("totalBytes") or 0)) for row in rows]
            if number == pages:
                return found, not page.get("nextPageToken")
        return found, True

    def summary(self) -> tuple[int, int, bool]:
        """Return number and bytes of all files, in few requests however many there are, and whether those are all."""
        files, whole = self.files(pages=1)
        if not whole:
            method = "GetDatasetFilesSummary" if self._is_dataset else "GetCompetitionDataFilesSummary"
            try:
                summary = self.call(method, tries=2).get("fileSummaryInfo") or {}
                kinds = summary.get("fileTypes") or []
                return int(summary["totalFileCount"]), sum(int(kind.get("totalSize") or 0) for kind in kinds), True
            except (KitError, KeyError):
                files, whole = self.files(pages=MOST_PAGES)
        return len(files), sum(length for _, length in files), whole

    def sign(self, file: str | None = None) -> str:
        """Return a signed address, which expires after a while, of the archive or of one file. It is a secret."""
        if self._is_dataset:
            method, fields = "DownloadDataset", {"file_name": file} if file else {}
        else:
            method, fields = ("DownloadDataFile", {"file_name": file}) if file else ("DownloadDataFiles", {})
        response = self._answer(method, fields, redirect=True)
        return urljoin(response.url, response.headers["Location"])

    def call(self, method: str, once: bool = False, tries: int = TRIES, **fields: Any) -> dict[str, Any]:
        """Call one method and return its document; `fields` are those of the client's request without the slug.

        Args:
            method: of the service, e.g. "ListSubmissions".
            once: it is not safe to send the request twice.
            tries: how many in a row may fail; few where nothing depends on the answer.

        Raises:
            KitError: credentials, rules, slug, network, limits: what Kaggle said, and what mends it.
            Fault: with `once`, an answer that leaves open whether it was done.
        """
        document: dict[str, Any] = self._answer(method, fields, once=once, tries=tries).document
        return document

    def submissions(self, pages: int = 1) -> list[dict[str, Any]]:
        """Return the submissions, newest first, as Kaggle's documents."""
        found: list[dict[str, Any]] = []
        for number, page in enumerate(self._pages("ListSubmissions", 100), 1):
            found += page.get("submissions") or []
            if number == pages:
                break
        return found

    @property
    def _is_dataset(self) -> bool:
        return self.competition.kaggle == "dataset"

    def _pages(self, method: str, size: int) -> Iterator[dict[str, Any]]:
        token, seen = "", {""}
        while len(seen) <= ENDLESS:
            page = self.call(method, page_size=size, page_token=token)
            yield page
            token = str(page.get("nextPageToken") or "")
            if not token:
                return
            if token in seen:
                break
            seen.add(token)
        raise KitError(f"Kaggle's list of {self.slug} does not end: run the same command again later", NETWORK)

    def _use(self, credential: Credential | None) -> None:
        self._credential = credential
        self._http.sign_in(credential)

    def _answer(
        self, method: str, fields: dict[str, Any], once: bool = False, redirect: bool = False, tries: int = TRIES
    ) -> "_Answer":
        """Send one request until it is answered; a refused credential gives way to the next one."""
        if self._credential is None and not self._is_dataset:
            raise none_found(f"{self.competition.name} on Kaggle")
        retries = Retry("Kaggle", self.console, tries)
        while True:
            refusal, fault = None, None
            try:
                answer = self._send(method, fields)
                if answer.usable(redirect):
                    self._reached = True
                    return answer
                raise Fault("it answers with a web page or half a document")
            except requests.HTTPError as error:
                refusal = error  # judged below, so that its text is not the context of what is raised
            except requests.RequestException as error:
                # Without a network, say so at once; a connection that worked before may come back.
                fault = Fault(reason(error), lasting=not self._reached and retries.failed >= FIRST_TRIES - 1)
            except Fault as error:
                fault = error
            if refusal is not None:
                fault = self._judge(refusal, method, fields)
            if fault is None:
                continue
            if once and not fault.undone:
                raise fault
            retries.pause(fault)

    def _send(self, method: str, fields: dict[str, Any]) -> "_Answer":
        owner, _, name = self.slug.rpartition("/")
        if self._is_dataset:
            service, types = DATASETS, dataset_types
            fields = {"owner_slug": owner, "dataset_slug": name, **fields}
        else:
            service, types = COMPETITIONS, competition_types
            fields = {"competition_name": self.slug, **fields} if method != "ListCompetitions" else fields
        request = getattr(types, f"Api{method}Request")()
        for field, value in fields.items():
            setattr(request, field, value)
        try:
            answer: _Answer = self._http.call(service, method, request, _Answer)
        except (TypeError, KeyError, AttributeError):
            raise Fault("it answers in an unknown form") from None
        return answer

    def _judge(self, error: requests.HTTPError, method: str, fields: dict[str, Any]) -> Fault | None:
        """Raise a refusal as `KitError`, return a passing fault; None if the next credential is to be tried."""
        response, message = error.response, self._clean(str(error))
        if response is None:
            return Fault(reason(error))
        status = response.status_code
        if status >= 400 and "application/json" not in response.headers.get("Content-Type", ""):
            message = f"status {status}"
        if status == 401:
            if self._next_credential():
                return None
            raise self._refused()
        if status == 403:
            raise self._forbidden(message)
        if status == 404:
            raise self._unknown(method, fields)
        if status == 429:
            return Fault("Kaggle wants fewer requests", max(asked_wait(response.headers), 2.0), undone=True)
        if status >= 500:
            return Fault(f"its server failed (status {status})", asked_wait(response.headers))
        limit = any(word in message.lower() for word in ("limit", "allowance", "tomorrow", "maximum number"))
        raise KitError(f"Kaggle refuses: {message}", CREDENTIALS if limit else BAD_INPUT)

    def _next_credential(self) -> bool:
        tried = self._credential
        rest = self._credentials[self._credentials.index(tried) + 1 :] if tried else []
        if not tried or not rest:
            return False
        self.console.warn(f"Kaggle refuses the credentials from {tried.source}; trying those from {rest[0].source}")
        self._use(rest[0])
        return True

    def _browser_token(self) -> Credential:
        """Return the token of `kaggle auth login`, renewed if it has expired."""
        users = SimpleNamespace(account_client=AccountClient(self._http))
        saved = KaggleCredentials.load(client=SimpleNamespace(users=users))
        mend = KitError("the sign-in of kaggle auth login has expired or is damaged: kaggle auth login", CREDENTIALS)
        if saved is None:
            raise mend
        try:
            token = saved.get_access_token()
        except OSError as error:
            if isinstance(error, requests.HTTPError):
                raise mend from None
            if isinstance(error, requests.RequestException):
                raise KitError(f"Kaggle: {reason(error)}: run the same command again later", NETWORK) from None
            token = saved.get_access_token()  # it was renewed, only saving it failed
        except (TypeError, ValueError):
            raise mend from None
        return Credential("kaggle auth login", token=token or "")

    def _refused(self) -> KitError:
        if self._credential is None:
            return none_found(f"{self.competition.name} on Kaggle")
        return KitError(
            f"Kaggle refuses the credentials from {self._credential.source}: make new ones on {SETTINGS}", CREDENTIALS
        )

    def _forbidden(self, message: str) -> KitError:
        if self._is_dataset:
            return KitError(f"Kaggle refuses {self.slug}: {message}: look at {self.competition.url}", CREDENTIALS)
        rules = f"https://www.kaggle.com/c/{self.slug}/rules"
        if "rule" in message.lower() or "accept" in message.lower():
            return KitError(
                f"the rules of {self.slug} are not accepted yet: accept them at {rules} (only you can), "
                "then run the same command again",
                CREDENTIALS,
            )
        return KitError(f"Kaggle refuses: {message}: are the rules accepted? {rules}", CREDENTIALS)

    def _unknown(self, method: str, fields: dict[str, Any]) -> KitError:
        kind = "dataset" if self._is_dataset else "competition"
        if "file_name" in fields and method.startswith("Download"):
            known = [name for name, _ in self.files(MOST_PAGES)[0]]
            return KitError(f"{self.slug} has no file {fields['file_name']!r}: {nearest(fields['file_name'], known)}")
        names: list[str] = []
        if not self._is_dataset and method != "ListCompetitions":
            try:
                found = self.call("ListCompetitions", search=self.slug.replace("-", " "))
                names = [str(row.get("ref", "")).rstrip("/").rsplit("/", 1)[-1] for row in found["competitions"]]
            except (KitError, KeyError):
                names = []
        near = f": {nearest(self.slug, names)}" if names else f": look at {self.competition.url or 'its page'}"
        return KitError(f"Kaggle knows no {kind} {self.slug!r}{near}")

    def _clean(self, text: str) -> str:
        """Remove from a message any secret that it repeats."""
        for credential in self._credentials:
            for secret in (credential.token, credential.key):
                text = text.replace(secret, "***") if secret else text
        return text


class _Http(KaggleHttpClient):
    """Kaggle's HTTP client with time-outs and kit's choice of credentials; redirects are returned, not followed."""

    def __init__(self) -> None:
        try:
            super().__init__(user_agent=f"kit/{__version__}")
        except Exception as error:  # it raises a bare Exception for an unknown environment
            raise KitError(f"{error}: unset KAGGLE_API_ENVIRONMENT") from None
        self._init_session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, TimedAdapter())
        self._session.get_redirect_target = lambda response: None
        self._session.stream = True  # a file that arrives instead of a document must not fill the memory

    def sign_in(self, credential: Credential | None) -> None:
        """Send this credential from now on."""
        self._session.auth = None
        if credential is not None:
            pair = credential.username, credential.key
            self._session.auth = self.BearerAuth(credential.token) if credential.token else pair

    def _try_fill_auth(self) -> None:
        """Do nothing: Kaggle's own search takes the first credential that it finds, even a refused one."""


class _Answer:
    """The answer type for Kaggle's client: only headers and JSON, so that no unknown value in it can raise."""

    def __init__(self, response: requests.Response) -> None:
        self.url, self.headers = response.url, response.headers
        is_document = not response.is_redirect and "html" not in response.headers.get("Content-Type", "")
        self.document: Any = response.json() if is_document else None
        response.close()

    @classmethod
    def prepare_from(cls, response: requests.Response) -> "_Answer":
        """Build it from a response; `KaggleHttpClient.call` requires this method."""
        return cls(response)

    def usable(self, redirect: bool) -> bool:
        """Return whether it is what was asked for: an address to go to, or a document."""
        return "Location" in self.headers if redirect else isinstance(self.document, dict)
