"""Files with credentials as people have them: with byte-order marks, readable by all, in the wrong place."""

from types import SimpleNamespace

import pytest

from kit.console import Console
from kit.errors import KitError
from kit.kaggle.credentials import find_credentials, none_found

PAIR = '{"username": "someone", "key": "0f"}'


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".kaggle"
    folder.mkdir()
    return folder


def write(path, content, mode=0o600):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
@pytest.mark.parametrize("name", ["kaggle.json", "access_token"])
def test_byte_order_marks_are_read_over(home, encoding, name):
    text = PAIR if name == "kaggle.json" else "KGAT_0f\n"
    content = b"\xff\xfe" + text.encode("utf-16-le") if encoding.endswith("bom") else text.encode(encoding)
    write(home / name, content)
    (found,) = find_credentials(Console())
    assert (found.key or found.token) in ("0f", "KGAT_0f")


@pytest.mark.parametrize("name", ["kaggle.json", "access_token", "access_token.txt"])
@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True), (0o644, True)])
def test_a_file_that_others_can_read_is_warned_of(home, capsys, name, mode, warned):
    write(home / name, PAIR if name == "kaggle.json" else "KGAT_0f", mode)
    assert len(find_credentials(Console())) == 1
    assert (f"chmod 600 {home / name}" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"username": "a"}',
        b'{"username": "", "key": ""}',
        b'{"username": 1, "key": 2}',
        b'{"username": "a", "key": null}',
        b'{"username": "a", "key": "\\u0007"}',
        b"\xff" * 9,
        b"[" * 100_000,
    ],
)
def test_a_bad_file_is_named_and_hides_no_good_one(home, capsys, content):
    write(home / "kaggle.json", content)
    with pytest.raises(KitError, match=r"kaggle\.json") as caught:
        find_credentials(Console())
    assert caught.value.code == 3
    write(home / "access_token", "KGAT_0f")
    assert [each.token for each in find_credentials(Console())] == ["KGAT_0f"]
    assert "kaggle.json" in capsys.readouterr().err
    (home / "access_token").write_bytes(b"\xff\x00")
    write(home / "kaggle.json", PAIR)
    assert [each.key for each in find_credentials(Console())] == ["0f"]


@pytest.mark.parametrize(
    ("named", "said"), [("kaggle.json", "a file"), ("", "no folder with"), ("nothing", "no folder")]
)
def test_a_wrong_folder_is_named(home, monkeypatch, tmp_path, named, said):
    write(home / "kaggle.json", PAIR)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / named) if named else str(tmp_path))
    assert find_credentials(Console()) == []
    assert f"is {said}" in str(none_found("histopathology"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home))
    assert "KAGGLE_CONFIG_DIR" not in str(none_found("histopathology"))


@pytest.mark.parametrize("tokens", [lambda n: "again", lambda n: f"page {n % 3}", lambda n: f"page {n}"])
@pytest.mark.parametrize("method", ["files", "submissions"])
def test_a_list_that_does_not_end_is_left(monkeypatch, tokens, method):
    from kit.kaggle import client

    monkeypatch.setattr(client, "PAGES_LIMIT", 20)
    asked = []

    def call(self, method, **fields):
        asked.append(fields["page_token"])
        return {"nextPageToken": tokens(len(asked))}

    monkeypatch.setattr(client.Kaggle, "call", call)
    kaggle = object.__new__(client.Kaggle)
    kaggle.competition, kaggle.slug = SimpleNamespace(kaggle="competition"), "slug"
    with pytest.raises(KitError, match="does not end") as caught:
        kaggle.files() if method == "files" else kaggle.submissions(pages=10**9)
    assert caught.value.code == 4
    assert len(asked) <= 20


@pytest.mark.parametrize("rows", [["x"], [{}], [{"name": "a", "totalBytes": "many"}], 3, "text", [None]])
def test_a_list_in_an_unknown_form_is_one_line(monkeypatch, rows):
    from kit.kaggle import client

    monkeypatch.setattr(client.Kaggle, "call", lambda self, method, **fields: {"files": rows})
    kaggle = object.__new__(client.Kaggle)
    kaggle.competition, kaggle.slug = SimpleNamespace(kaggle="competition"), "slug"
    with pytest.raises(KitError, match="unknown form"):
        kaggle.files()
