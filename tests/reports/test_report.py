"""`kit report`: what it reads, writes, prints and serves."""

import base64
import hashlib
import html.parser
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile

import cv2
import numpy as np
import pytest

from helpers import ROOT
from helpers.report_runs import Leaves
from helpers.training_runs import begin, go
from kit.reports.page import pictures
from kit.reports.page.assemble import PARTS, embedded
from kit.reports.page.serve import PageServer
from kit.run import Run
from kit.runs import find_run
from kit.scoring.predictions import Predictions


class Blocks(html.parser.HTMLParser):
    """The content of each `script` and `style` of a page, and what its elements name from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.blocks: dict[str, str] = {}
        self.addresses: list[str] = []
        self.policy = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [value for key, value in attrs if key in ("src", "href", "action", "data") and value]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        self._open = given.get("id") or tag if tag in ("script", "style") else ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.blocks[self._open] = self.blocks.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


@pytest.fixture
def leaves(tmp_path, monkeypatch):
    return Leaves("binary", ["no", "yes"], 90, tmp_path, monkeypatch)


def test_a_trained_run_has_its_page(kit, store):
    run = begin(store)
    go(store, run)
    evaluated = kit("evaluate", run.id, "--json").json
    document = kit("report", "--json").json
    report = document["runs"][0]
    assert report["run"] == run.id
    assert report["score"]["value"] == pytest.approx(evaluated["roc_auc"])
    assert report["summary"]["accuracy"] == pytest.approx(evaluated["accuracy"])
    assert report["summary"]["f1"] == pytest.approx(evaluated["f1"])
    assert report["confusion"]["counts"] == evaluated["confusion"]
    assert [fold["score"] for fold in report["folds"]] == list(evaluated["folds"].values())
    assert list(report["history"]) == ["0", "1"]
    assert report["history"]["0"]["epoch"] == [1, 2]
    assert report["rates"]["epoch"][-1] == 2
    assert report["rates"]["lr"][-1] == pytest.approx(report["history"]["0"]["lr"][-1])
    assert max(report["rates"]["lr"]) == pytest.approx(run.config.lr, rel=0.05)
    assert json.loads((run.path / "report.json").read_text()) == document
    shown = {each["right"] for each in report["gallery"]["images"]}
    assert (shown, report["gallery"]["why"]) == ({True, False}, None)

    before = (run.path / "report.html").read_bytes()
    images = json.loads(Blocks(before.decode()).blocks["pictures"])[0]
    assert len(images["gallery"]) == len(report["gallery"]["images"])
    for each, shown in zip(report["gallery"]["images"], images["gallery"], strict=True):
        assert len(shown) == 1 + len(each["layers"]) > 1
        assert all(decoded(address).shape == (32, 32, 3) for address in shown)
        assert len({decoded(address).tobytes() for address in shown}) == len(shown)
    kit("report")
    assert (run.path / "report.html").read_bytes() == before


def decoded(address: str) -> np.ndarray:
    """The pixels of a data address, RGB."""
    head, content = address.split(",")
    assert head == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR_RGB)


def test_the_page_needs_nothing_else_and_lets_nothing_else_in(kit, leaves):
    run = leaves.run(leaves.values(2.0))
    kit("report", run.id)
    text = (run.path / "report.html").read_text(encoding="utf-8")
    page = Blocks(text)
    assert page.addresses == ["data:,", "#main"]
    policy = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "data:"
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.blocks[kind].encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    assert "innerHTML" not in page.blocks["script"]
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|https?://(?!www\.w3\.org/2000/svg)", page.blocks["script"])
    assert json.loads(page.blocks["document"]) == json.loads((run.path / "report.json").read_text())


def test_embedded_json_holds_no_markup():
    hostile = {"a</script><!--": ["\u2028\u2029", "&lt;", "é", "\ud800"]}
    text = embedded(hostile)
    assert not re.search("[<>&\u2028\u2029]|[^ -~]", text)
    assert json.loads(text) == hostile


def test_thumbnails_keep_their_shape_and_stop_at_the_budget(kit, leaves, monkeypatch):
    run = leaves.run(leaves.values(2.0))
    kit("report", run.id)
    small = thumbnails_of(run)
    assert set(small) == set(report_of(run)["samples"])
    assert {decoded(each).shape for each in small.values()} == {(40, 60, 3)}  # smaller than SIDE: as it is
    monkeypatch.setattr(pictures, "SIDE", 30)
    monkeypatch.setattr("kit.reports.page.document.BUDGET", 5 * len(next(iter(small.values()))) // 4)
    kit("report", run.id)
    few = thumbnails_of(run)
    assert 1 < len(few) < len(small)
    assert {decoded(each).shape for each in few.values()} == {(20, 30, 3)}
    assert list(few)[:2] == report_of(run)["top_losses"][:2]


def thumbnails_of(run: Run) -> dict[str, str]:
    return json.loads(Blocks((run.path / "report.html").read_text()).blocks["pictures"])[0]["thumbnails"]


def report_of(run: Run) -> dict:
    return json.loads((run.path / "report.json").read_text())["runs"][0]


def test_the_colours_are_right(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 255
    assert (np.abs(decoded(pictures.address(image)).astype(int) - image) <= 3).all()


def test_an_image_that_cannot_be_read_is_left_out(kit, leaves, tmp_path):
    (tmp_path / "0.png").write_bytes(b"broken")
    run = leaves.run(leaves.values(2.0))
    done = kit("report", run.id)
    assert "images can't be read" in done.err
    small = thumbnails_of(run)
    assert small
    assert not {id_ for id_ in small if int(id_) % 8 == 0}
    assert report_of(run)["data"]["first_image"] is None


def test_the_newest_run_with_predictions_is_taken(kit, leaves):
    kept = leaves.run(leaves.values(2.0))
    unfinished = leaves.run(leaves.values(2.0))
    (unfinished.path / "oof.npz").unlink()
    assert kit("report", "--text", "--json").json["runs"][0]["run"] == kept.id
    assert "kit train --resume" in kit("report", unfinished.id, code=2).err
    assert "no run 'nosuch'" in kit("report", "nosuch", code=2).err


def test_predictions_of_other_data_are_refused(kit, leaves):
    run = leaves.run(leaves.values(2.0))
    with run.writing("oof.npz") as path:
        Predictions(np.array(["x1"], object), ("yes",), np.ones((1, 1), np.float32)).save(path)
    assert "'x1'" in kit("report", run.id, code=2).err
    run.update(classes=["no", "maybe"])
    assert "classes" in kit("report", run.id, code=2).err
    assert not (run.path / "report.html").exists()


def test_the_essentials_in_the_terminal(kit, leaves):
    run = leaves.run(leaves.values(2.0))
    done = kit("report", run.id, "--text")
    document = kit("report", run.id, "--text", "--json").json
    report = document["runs"][0]
    for value in (report["score"]["value"], report["summary"]["f1"], report["by_class"][1]["auc"]):
        assert f"{value:.4f}" in done.out
    assert report["top_losses"][0] in done.out
    assert "0.7000 to 0.9000" in done.out
    assert "--serve" in kit("report", run.id, "--text", "--serve", code=2).err
    assert not (run.path / "report.html").exists()


def test_several_runs_are_compared(kit, leaves, tmp_path):
    runs = [leaves.run(leaves.values(noise), seed=number) for number, noise in enumerate((1.0, 3.0))]
    names = [run.id for run in runs]
    document = kit("report", *names, "--out", tmp_path / "both", "--json").json
    assert [report["run"] for report in document["runs"]] == names == document["comparison"]["runs"]
    assert document["comparison"]["config"] == {"seed": [0, 1]}
    assert document["runs"][0]["summary"]["auc"] > document["runs"][1]["summary"]["auc"]
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"report.html", "report.json"}
    assert "seed" in kit("report", *names, "--text").out


def test_a_run_without_networks_says_why_it_has_no_gallery(kit, leaves, monkeypatch):
    run = leaves.run(leaves.values(2.0))
    run.update(planned=[], blend={"method": "mean", "members": [{"name": "one"}, {"name": "two"}]})
    kit("report", run.id)
    gallery = report_of(run)["gallery"]
    assert gallery["images"] == []
    assert "blend of one, two" in gallery["why"]


def test_the_rule_that_has_not_seen_a_fold_decides_it(kit, tmp_path, monkeypatch):
    leaves = Leaves("multilabel", list("abc"), 200, tmp_path, monkeypatch)
    values = leaves.values(3.0)
    run = leaves.run(values)
    kit("thresholds", run.id, "--method", "one")
    report = kit("report", run.id, "--text", "--json").json["runs"][0]
    rules = json.loads((run.path / "thresholds.json").read_text())
    decided = np.zeros(values.shape, bool)
    for fold in range(3):
        own = leaves.fold == fold
        reached = values[own] >= rules["by_fold"][str(fold)]["thresholds"]
        reached[~reached.any(1), :] = np.eye(3, dtype=bool)[values[own].argmax(1)][~reached.any(1)]
        decided[own] = reached
    assert [row["predicted"] for row in report["by_class"]] == decided.sum(0).tolist()
    assert [row["threshold"] for row in report["by_class"]] == rules["rule"]["thresholds"]
    assert report["decision"] == find_run(run.id).decision
    assert report["summary"]["f1"] == pytest.approx(report["decision"]["value"])


@pytest.fixture
def server(tmp_path):
    (tmp_path / "report.html").write_text("<p>the page</p>")
    (tmp_path / "secret.txt").write_text("secret")
    with PageServer(tmp_path / "report.html", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_it_serves_the_page_and_nothing_else(server):
    assert ask(server, "/") == ask(server, "/report.html") == (200, b"<p>the page</p>")
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0] == 200
    for path in ("/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/report.html/"):
        status, content = ask(server, path)
        assert status == 404
        assert b"secret" not in content
    assert ask(server, "/", "POST")[0] == 501


def test_it_serves_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    # A foreign page whose name points here sends its own name.
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1", ""):
        assert ask(server, "/", Host=host)[0] == 403


def test_a_port_in_use_is_a_line(kit, leaves):
    run = leaves.run(leaves.values(2.0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = kit("report", run.id, "--serve", "--port", taken.getsockname()[1], code=2)
    assert "--port" in done.err


def test_ctrl_c_ends_serving(store, tmp_path):
    run = begin(store)
    go(store, run)
    command = [sys.executable, "-m", "kit", "report", "--serve"]

    def heed_ctrl_c() -> None:
        """A shell lets what it runs in the background ignore it, and children inherit that."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=heed_ctrl_c,
    ) as one:
        line = next(line for line in one.stdout if "http://" in line)
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", line)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == (run.path / "report.html").read_bytes()
        connection.close()
        one.send_signal(signal.SIGINT)
        try:
            assert one.communicate(timeout=20)[0].strip() == "stopped"
        finally:
            one.kill()
        assert one.returncode == 0


def test_the_wheel_has_the_parts_of_the_page(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = {name for name in wheel.namelist() if name.startswith("kit/reports/page/parts/")}
    assert inside == {f"kit/reports/page/parts/{part.name}" for part in PARTS.iterdir()}
