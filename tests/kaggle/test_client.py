"""What stands between a person and Kaggle is one line with what mends it, and nothing secret is ever shown."""

import itertools
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from helpers.kaggle_server import KaggleServer
from kit.console import Console
from kit.errors import BAD_INPUT, CREDENTIALS, NETWORK, KitError
from kit.kaggle import retry
from kit.kaggle.client import Kaggle
from kit.plugin import Competition

FACTS = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "leaves", "leaves")
DATASET = Competition("moles", "Moles", "ada/moles", "binary", "roc_auc", "moles", "moles", kaggle="dataset")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    with KaggleServer(tmp_path) as server:
        server.add_competition("leaves", {"train.csv": b"id,label\n", "test/a.tif": b"a"})
        server.add_dataset("ada/moles", {"moles.csv": b"id\n"})
        server.connect(monkeypatch)
        yield server


def ask(method: str = "GetCompetition", facts: Competition = FACTS) -> dict:
    with Kaggle(facts, Console()) as kaggle:
        return kaggle.call(method)


def home(server: KaggleServer) -> Path:
    folder = Path(server.environment()["HOME"], ".kaggle")
    folder.mkdir(exist_ok=True)
    return folder


def sign_out(monkeypatch) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)


def scheme(server: KaggleServer) -> str:
    """Ask, and give the kind of credential that was sent."""
    ask()
    return server.requests[-1].headers.get("authorization", "").split()[0]


def test_no_credentials_names_the_three_ways_a_line_each(kit, server, monkeypatch):
    sign_out(monkeypatch)
    for command in (("download", "histo"), ("submissions", "histo")):
        error, *ways = kit(*command, code=CREDENTIALS).err.splitlines()
        assert error == "error: histopathology on Kaggle needs your Kaggle credentials: give them in one of three ways"
        assert len(ways) == 3
        for way, words in zip(ways, ("KAGGLE_API_TOKEN", "kaggle.json", "kaggle auth login"), strict=True):
            assert words in way
    assert len(kit("submissions", "histo", "--json", code=CREDENTIALS).json["ways"]) == 3
    assert server.requests == []


def test_a_dataset_needs_none(server, monkeypatch):
    sign_out(monkeypatch)
    with Kaggle(DATASET, Console()) as kaggle:
        assert kaggle.files() == ([("moles.csv", 3)], True)
        assert "Signature" in kaggle.sign()
        assert "Signature" in kaggle.sign("moles.csv")
    assert "authorization" not in server.requests[-1].headers


def test_every_kind_of_credential_is_found(server, monkeypatch, tmp_path):
    account = server.account
    assert scheme(server) == "Basic"
    monkeypatch.setenv("KAGGLE_API_TOKEN", account.token)
    assert scheme(server) == "Bearer"
    (tmp_path / "token").write_text(account.token + "\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
    assert scheme(server) == "Bearer"
    sign_out(monkeypatch)
    (home(server) / "access_token").write_text(account.token)
    assert scheme(server) == "Bearer"
    (home(server) / "access_token").unlink()
    for folder, variable in ((home(server), None), (tmp_path / "elsewhere", "KAGGLE_CONFIG_DIR")):
        folder.mkdir(exist_ok=True)
        path = folder / "kaggle.json"
        path.write_text(json.dumps({"username": account.username, "key": account.key}))
        path.chmod(0o600)
        if variable:
            monkeypatch.setenv(variable, str(folder))
        assert scheme(server) == "Basic"
        path.unlink()


def test_the_sign_in_by_browser_is_renewed(server, monkeypatch):
    sign_out(monkeypatch)
    saved = {
        "refresh_token": "r",
        "access_token": server.account.token,
        "access_token_expiration": "2999-01-01T00:00:00+00:00",
    }
    (home(server) / "credentials.json").write_text(json.dumps(saved))
    assert scheme(server) == "Bearer"
    (home(server) / "credentials.json").write_text(
        json.dumps({**saved, "access_token_expiration": "2001-01-01T00:00:00+00:00"})
    )
    with pytest.raises(KitError, match="kaggle auth login") as error:
        ask()
    assert error.value.code == CREDENTIALS


def test_a_refused_credential_makes_room_for_the_next(server, monkeypatch, capsys):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_run-out-long-ago")
    assert ask()["ref"]
    assert "refuses the credentials from KAGGLE_API_TOKEN; trying those from KAGGLE_USERNAME" in capsys.readouterr().err


def test_refused_credentials_are_named_by_their_place_only(server, monkeypatch, capsys):
    monkeypatch.setenv("KAGGLE_KEY", "a-wrong-secret")
    with pytest.raises(
        KitError, match="refuses the credentials from KAGGLE_USERNAME and KAGGLE_KEY: make new"
    ) as error:
        ask()
    assert error.value.code == CREDENTIALS
    assert "a-wrong-secret" not in str(error.value) + capsys.readouterr().err


def test_kaggle_json(server, monkeypatch, capsys):
    sign_out(monkeypatch)
    path = home(server) / "kaggle.json"
    for text in ("{", "[]", '{"username": "ada"}', ""):
        path.write_text(text)
        with pytest.raises(KitError, match=r"kaggle\.json is malformed") as error:
            ask()
        assert error.value.code == CREDENTIALS
    monkeypatch.setenv("KAGGLE_API_TOKEN", server.account.token)
    assert ask(), "a good token beside it serves"
    assert "malformed" in capsys.readouterr().err
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    path.write_text(json.dumps({"username": server.account.username, "key": server.account.key}))
    path.chmod(0o644)
    assert ask()
    assert f"others on this machine can read your key: chmod 600 {path}" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["KGAT_two\nlines", "KGAT_schlüssel→", "KGAT_nul\x07"])
def test_a_token_that_no_header_can_hold_is_one_line_without_it(server, monkeypatch, tmp_path, token):
    (tmp_path / "token").write_text(token)
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
    with pytest.raises(KitError, match="from KAGGLE_API_TOKEN hold a line break or a character that none has") as error:
        ask()
    assert error.value.code == CREDENTIALS
    assert "KGAT" not in str(error.value)
    assert server.requests == []


def test_rules_not_accepted(server):
    server.competitions["leaves"].rules_accepted = False
    with pytest.raises(KitError, match=r"accept them at https://www\.kaggle\.com/c/leaves/rules") as error:
        Kaggle(FACTS, Console()).sign()
    assert error.value.code == CREDENTIALS


def test_a_wrong_slug_gets_the_nearest_names(server):
    server.add_competition("leaf-classification", {"a.csv": b""})
    facts = Competition("leaf", "Leaf", "leaf-clasification", "binary", "roc_auc", "x", "x")
    server.competitions["leaf-classification"].title = "leaf clasification"
    with pytest.raises(KitError, match="knows no competition 'leaf-clasification'") as error:
        ask(facts=facts)
    assert error.value.code == BAD_INPUT


def test_a_wrong_file_gets_the_nearest_names(server):
    with pytest.raises(KitError, match=r"no file 'trian\.csv': did you mean train\.csv"):
        Kaggle(FACTS, Console()).sign("trian.csv")


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        ("status", {"status": 500}, "status 500"),
        ("html", {}, "a web page"),
        ("drop", {}, "the connection broke"),
        ("cut", {"after": 5}, "(half a document|connection broke)"),
        ("status", {"status": 429, "headers": {"Retry-After": "86400"}}, "fewer requests.*24 h"),
    ],
)
def test_faults_of_the_network_are_tried_again_and_end_in_one_line(server, kind, options, text):
    server.fault("GetCompetition", kind, times=2, **options)
    if options.get("status") != 429:
        assert ask()["ref"]
    server.fault("GetCompetition", kind, times=None, **options)
    with pytest.raises(KitError, match=text) as error:
        ask()
    assert error.value.code == NETWORK


def test_a_server_that_says_nothing(server, monkeypatch):
    monkeypatch.setattr(retry, "TIMEOUT", (2.0, 0.1))
    server.fault("GetCompetition", "stall", after=5, times=None)
    with pytest.raises(KitError, match=r"(no answer in time|nothing arrives)"):
        ask()


@pytest.mark.parametrize(
    ("proxy", "text"), [("http://127.0.0.1:9", "proxy|refused"), ("http://no-such-host.invalid:9", "proxy|network")]
)
def test_no_network(server, monkeypatch, proxy, text):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy)
    with pytest.raises(KitError, match=text) as error:
        ask()
    assert error.value.code == NETWORK


def test_an_unknown_environment_is_one_line(server, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "MARS")
    with pytest.raises(KitError, match="unset KAGGLE_API_ENVIRONMENT"):
        ask()


def test_a_broken_client_is_one_line(tmp_path):
    (tmp_path / "kagglesdk").mkdir()
    (tmp_path / "kagglesdk/__init__.py").write_text("import no_such_module\n")
    code = "try:\n    import kit.kaggle.client\nexcept Exception as error:\n    print(type(error).__name__, error)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "KitError Kaggle's client can't be imported (No module named 'no_such_module'): pip install" in done.stdout
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (needed,) = (each for each in project["dependencies"] if each.startswith("kaggle"))
    assert f"'{needed}'" in done.stdout


def test_more_files_than_are_listed_are_counted_by_kaggle(server, monkeypatch):
    monkeypatch.setattr("kit.kaggle.client.PAGE", 2)
    monkeypatch.setattr("kit.kaggle.client.MOST_PAGES", 3)
    server.add_competition("many", {f"{number}.tif": b"ab" for number in range(11)})
    facts = Competition("many", "Many", "many", "binary", "roc_auc", "x", "x")
    with Kaggle(facts, Console()) as kaggle:
        assert len(kaggle.files()[0]) == 11
        assert kaggle.summary() == (11, 22, True)
        server.competitions["many"].summary = False
        assert kaggle.summary() == (6, 12, False)


@pytest.mark.parametrize("tokens", [["a", "a"], ["a", "b", "a"], None])
def test_a_list_that_never_ends_is_one_line(server, monkeypatch, tokens):
    """A page token that repeats, or ever new ones."""
    monkeypatch.setattr("kit.kaggle.client.PAGES_LIMIT", 50)
    facts = Competition("many", "Many", "many", "binary", "roc_auc", "x", "x")
    given = iter(tokens) if tokens else map(str, itertools.count())
    asked = []

    def call(method, **fields):
        asked.append(fields["page_token"])
        return {"files": [{"name": "a"}], "nextPageToken": next(given)}

    with Kaggle(facts, Console()) as kaggle:
        monkeypatch.setattr(kaggle, "call", call)
        with pytest.raises(KitError, match=r"list of many does not end") as caught:
            kaggle.files()
    assert caught.value.code == 4
    assert len(asked) <= 51


def test_no_home_to_write_into_is_no_hindrance(server, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nowhere")
    assert ask()["ref"]
