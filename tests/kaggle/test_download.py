"""kit download from Kaggle: whole or not at all, through Kaggle's own client and a server with faults."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
import zipfile
from pathlib import Path

import pytest

from helpers.kaggle_server import KaggleServer
from kit.cli.app import main
from kit.errors import KitError
from kit.kaggle import retry

SLUG = "histopathologic-cancer-detection"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A small archive in the layout of the competition."""
    from kit_histopathology.miniature import write_miniature

    folder = tmp_path_factory.mktemp("kaggle")
    write_miniature(folder / "files", 0)
    path = folder / "small.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for source in sorted((folder / "files").rglob("*")):
            name = source.relative_to(folder / "files").as_posix()
            if source.is_file() and not name.startswith(".kit"):
                file.write(source, name)
    return path


@pytest.fixture
def server(tmp_path, monkeypatch, archive):
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    with KaggleServer(tmp_path) as server:
        server.add_competition(SLUG, archive=archive)
        server.connect(monkeypatch)
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".kit" not in path.relative_to(folder).parts
    }


def served(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data" / SLUG


def test_it_arrives_and_a_second_call_does_nothing(kit, server, data, archive):
    done = kit("download", "histo")
    assert re.search(r"302 files, [\d.]+ MB; archive [\d.]+ MB; [\d.]+ [GT]B free in ", done.out)
    assert "next: kit check histopathology" in done.out
    assert contents(data) == served(archive)
    assert not (data / ".kit" / "download").exists()
    assert not list(data.parent.glob("*.zip"))
    assert kit("info", "histo", "--json").json["data"]["state"] == "kaggle"
    asked = len(server.requests)
    again = kit("download", "histo", "--json").json
    assert (again["changed"], again["origin"]) == (False, "kaggle")
    assert len(server.requests) == asked
    assert "nothing to do" in kit("download", "histo").out


def test_keep_leaves_the_archive(kit, server, data, archive):
    document = kit("download", "histo", "--keep", "--json").json
    kept = data.parent / f"{SLUG}.zip"
    assert document["archive"] == str(kept)
    assert kept.read_bytes() == archive.read_bytes()


def test_lost_files_are_fetched_again(kit, server, data, archive):
    kit("download", "histo")
    (data / "train_labels.csv").unlink()
    done = kit("download", "histo")
    assert "1 files are missing" in done.out
    assert contents(data) == served(archive)


def test_force_fetches_anew(kit, server, data, archive):
    kit("download", "histo")
    asked = len(server.calls("storage"))
    (data / "train_labels.csv").write_text("spoilt")
    assert kit("download", "histo", "--force", "--json").json["written"] == 1
    assert len(server.calls("storage")) == asked + 1
    assert contents(data) == served(archive)


def test_other_data_is_refused_before_anything_is_fetched(kit, server, data):
    kit("download", "histo", "--miniature")
    assert re.search(
        r"holds other data \(miniature, seed 0\): --force replaces it", kit("download", "histo", code=2).err
    )
    assert server.requests == []
    assert kit("download", "histo", "--force", "--json").json["origin"] == "kaggle"


def test_data_that_came_by_browser_counts(kit, server, data, archive):
    kit("download", "histo", "--from", archive)
    assert "nothing to do" in kit("download", "histo").out
    (data / "train_labels.csv").unlink()
    assert f"--from {archive.name} restores them" in kit("download", "histo", code=2).err
    assert server.requests == []


def test_an_archive_that_is_damaged_inside_is_fetched_again(kit, server, data, archive):
    server.competitions[SLUG].etag = "opaque"
    server.fault("storage", "corrupt", at=5000, times=2)
    done = kit("download", "histo")
    assert done.err.count("arrived damaged") == 2
    assert contents(data) == served(archive)


def test_an_archive_that_stays_damaged_is_one_line(kit, server, data):
    server.competitions[SLUG].etag = "opaque"
    server.fault("storage", "corrupt", at=5000, times=None)
    done = kit("download", "histo", code=4)
    assert "arrived damaged 3 times" in done.err
    assert kit("info", "histo", "--json").json["data"]["state"] in ("absent", "incomplete")
    server.clear_faults()
    kit("download", "histo")


def test_too_little_disk_is_refused_before_the_transfer(kit, server, data, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_500_000))
    done = kit("download", "histo", code=5)
    assert re.search(r"are needed in .*1\.5 MB are free: free .* more", done.err)
    assert contents(data) == {}


def test_a_listing_too_long_is_summed_by_kaggle(kit, server, monkeypatch):
    monkeypatch.setattr("kit.kaggle.client.PAGE", 10)
    assert "302 files" in kit("download", "histo").out
    server.competitions[SLUG].summary = False
    assert "at least 250 files" in kit("download", "histo", "--force").out


def test_only_some_files(kit, server, data, archive):
    document = kit("download", "histo", "--only", "*.csv", "--json").json
    assert sorted(document["files"]) == ["sample_submission.csv", "train_labels.csv"]
    files = served(archive)
    assert contents(data) == {name: files[name] for name in document["files"]}
    assert kit("info", "histo", "--json").json["data"]["state"] == "incomplete"
    again = kit("download", "histo", "--only", "*.csv", "--json").json
    assert (again["files"], len(again["there"])) == ([], 2)
    image = next(name for name in files if name.startswith("train/"))
    assert kit("download", "histo", "--only", image, "--json").json["files"] == [image]
    kit("download", "histo")
    assert contents(data) == files


def test_only_a_file_that_kaggle_zips(kit, server, data, archive):
    server.competitions[SLUG].zipped = {"train_labels.csv"}
    server.competitions[SLUG].etag = "opaque"
    server.fault("storage", "corrupt", at=60)
    kit("download", "histo", "--only", "train_labels.csv")
    assert contents(data) == {"train_labels.csv": served(archive)["train_labels.csv"]}


def test_only_what_is_not_there(kit, server):
    assert "no file of" in kit("download", "histo", "--only", "*.jpg", code=2).err
    assert "did you mean train_labels.csv" in kit("download", "histo", "--only", "train_label.csv", code=2).err
    assert "not a plain path" in kit("download", "histo", "--only", "../evil", code=2).err


def test_dest_is_linked(kit, server, data, tmp_path, archive):
    large = tmp_path / "large" / "histo"
    kit("download", "histo", "--dest", large)
    assert contents(large) == served(archive)
    assert data.is_symlink()
    assert kit("check", "histo", "--json").json
    assert "nothing to do" in kit("download", "histo", "--dest", large).out
    assert "nothing to do" in kit("download", "histo").out
    assert "already exists" in kit("download", "histo", "--dest", tmp_path / "other", code=2).err


@pytest.mark.parametrize(
    "arguments",
    [("--miniature", "--only", "x"), ("--seed", 3), ("--miniature", "--keep"), ("--from", "x.zip", "--miniature")],
)
def test_options_that_do_not_go_together(kit, server, arguments):
    assert kit("download", "histo", *arguments, code=2).err.startswith("error: --")


def test_refusals_have_their_codes_and_leave_nothing(kit, server, data, monkeypatch):
    server.competitions[SLUG].rules_accepted = False
    done = kit("download", "histo", code=3)
    assert f"https://www.kaggle.com/c/{SLUG}/rules" in done.err
    assert kit("download", "histo", "--json", code=3).json["code"] == 3
    assert contents(data) == {}
    server.fault("ListDataFiles", status=503, times=None)
    assert "status 503" in kit("download", "histo", code=4).err


def test_secrets_are_never_shown(kit, server, monkeypatch, capsys):
    """Not by messages, progress, warnings, tracebacks, nor in any file."""
    shown = ""
    for where in ("storage", "DownloadDataFiles", "ListDataFiles"):
        server.clear_faults()
        server.fault(where, status=500, message=f"your key is {server.account.key}", times=None)
        with pytest.raises(KitError) as error:
            main(["download", "histo", "--debug"])
        traceback.print_exception(error.value)
        printed = capsys.readouterr()
        shown += printed.out + printed.err
    server.clear_faults()
    server.fault("ListDataFiles", status=400, message=f"bad key {server.account.key}")
    shown += kit("download", "histo", code=2).err
    written = "".join(
        path.read_text(errors="ignore") for path in Path(os.environ["KIT_DATA"]).rglob("*") if path.is_file()
    )
    for secret in (server.account.key, "Signature="):
        assert secret not in shown + written
    assert "***" in shown


def test_two_at_once(kit, server, data):
    server.fault("storage", "stall", after=1000)
    code = "from kit.cli.app import main; main(['download', 'histo'])"
    first = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **server.environment()})
    try:
        while not server.requests or server.requests[-1].where != "storage":
            time.sleep(0.02)
        assert "another kit download is running in" in kit("download", "histo", code=2).err
    finally:
        first.kill()
        first.wait()
    kit("download", "histo")


def test_ctrl_c_is_one_line(kit, server, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kit.kaggle.connections.Lanes.finished", interrupted)
    assert "the same command resumes where it stopped" in kit("download", "histo", code=130).err
    monkeypatch.undo()


def at_random(server: KaggleServer, data: Path, archive: Path, seeds: range) -> dict[int, int]:
    """How many downloads ended with which status; what is there is never wrong."""
    whole = served(archive)
    ended = {0: 0, 4: 0}
    for seed in seeds:
        shutil.rmtree(data, ignore_errors=True)
        server.competitions[SLUG].etag = ("md5", "opaque", "none")[seed % 3]
        server.competitions[SLUG].objects.clear()
        server.random_faults(seed, 0.4)
        code = status_of("download", "histo")
        ended[code] += 1
        found = contents(data)
        assert found == whole if code == 0 else all(whole[name] == content for name, content in found.items())
    return ended


def status_of(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_downloads_with_faults_at_random(server, data, archive):
    assert at_random(server, data, archive, range(12))[0] >= 10


@pytest.mark.slow
def test_a_hundred_downloads_with_faults_at_random(server, data, archive):
    ended = at_random(server, data, archive, range(100, 200))
    assert sum(ended.values()) == 100
    assert ended[0] >= 80


def test_the_document_is_json_alone(kit, server):
    assert json.loads(kit("download", "histo", "--json").out)["train"] == 240
