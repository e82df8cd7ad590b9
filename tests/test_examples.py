"""The examples: short, installed into a clean environment, used with every command that applies to them."""

import re

import pytest

from helpers import ROOT
from helpers.distributions import Environment, built, put_on_path
from helpers.example_uses import EXAMPLES, SMALL, TINY, example_names, mlflow_double, module_of, use

NAMES = example_names()
LONGEST, CACTUS = 80, 40  # lines of all files


@pytest.fixture
def mlflow(monkeypatch):
    with mlflow_double() as (address, got):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield got


def files_of(name):
    return [path for path in (EXAMPLES / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name):
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files_of(name))
    assert lines <= (CACTUS if name == "kit-cactus" else LONGEST)


def test_the_docs_show_the_cactus_competition_as_it_is():
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for name in ("pyproject.toml", "kit_cactus.py"):
        own = (EXAMPLES / "kit-cactus" / name).read_text(encoding="utf-8")
        assert f"# kit-cactus/{name}\n{own}```\n" in text
    assert sum(len(path.read_text().splitlines()) for path in files_of("kit-cactus")) == int(
        re.search(r"(\d+) lines in all", text)[1]
    )


def test_the_docs_list_them_all():
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in text] == []


def test_kit_names_none_of_them():
    words = {word for name in NAMES for word in (name, name.replace("-", "_"))}
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(words))) + r")\b")
    sources = [path for path in (ROOT / "kit").rglob("*") if path.suffix in (".py", ".txt")]
    assert [path.name for path in sources if pattern.search(path.read_text(encoding="utf-8"))] == []


def used(name, tmp_path):
    environment = Environment.create(tmp_path / "environment")
    environment.install(EXAMPLES / name)
    (tmp_path / "drawn").mkdir()
    assert environment.kit_json("test-plugin", name)["ok"]
    use(environment.kit_json, module_of(EXAMPLES / name), tmp_path / "drawn")


def test_the_cactus_competition_from_download_to_a_checked_csv(kit, tmp_path, monkeypatch):
    """As a wheel, in this process; the slow test installs all of them."""
    wheel = built(EXAMPLES / "kit-cactus", tmp_path)
    put_on_path(wheel, tmp_path / "site", monkeypatch)
    (tmp_path / "drawn").mkdir()
    use(lambda *words: kit(*words, "--json").json, module_of(EXAMPLES / "kit-cactus"), tmp_path / "drawn")
    (csv,) = (tmp_path / "runs").glob("*/submission.csv")
    rows = csv.read_text().splitlines()
    assert rows[0] == "id,has_cactus"
    assert [row.partition(",")[0] for row in rows[1:]] == [f"{number:032x}.jpg" for number in range(1000, 1012)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_installed_and_used(tmp_path, mlflow, name):
    used(name, tmp_path)


def test_the_tracker_tells_the_server_each_fold(kit, store, monkeypatch, mlflow):
    plugin = ("--plugin", EXAMPLES / "kit-tracker" / "kit_tracker.py")
    train = (*plugin, "train", "histo", *TINY, *SMALL, "--set", "trackers=mlflow")
    kit(*train)
    made = [sent["run_name"] for path, sent in mlflow if path.endswith("runs/create")]
    assert [name.rpartition(" fold ")[2] for name in made] == ["0", "1"]
    rows = [sent for path, sent in mlflow if path.endswith("runs/log-batch")]
    assert [row["run_id"] for row in rows] == ["run1", "run1", "run2", "run2"]
    assert {"valid loss", "lr"} <= {metric["key"] for metric in rows[0]["metrics"]}
    assert [sent["run_id"] for path, sent in mlflow if path.endswith("runs/update")] == ["run1", "run2"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert "no MLflow at http://127.0.0.1:1" in kit(*train, code=4).err


def test_lora_learns_beside_a_body_that_rests(monkeypatch):
    import torch

    from kit.plugin import ModelRequest
    from kit.training.optim import freeze_body

    network = module_of(EXAMPLES / "kit-lora").build(ModelRequest("lora_vit", 4, 3, "linear", 2, False))

    def learning():
        return {name for name, each in network.named_parameters() if each.requires_grad}

    adapters = {name for name in learning() if not name.startswith("head.")}
    assert adapters == {f"body.blocks.{n}.attn.qkv.{part}.weight" for n in range(12) for part in ("down", "up")}
    images, metadata = torch.rand(2, 4, 64, 64), torch.rand(2, 2)
    before = network.eval()(images, metadata).logits
    for block in network.body.blocks:
        block.attn.qkv = block.attn.qkv.layer
    assert torch.equal(network(images, metadata).logits, before), "an adapter begins with no step"
    network = module_of(EXAMPLES / "kit-lora").build(ModelRequest("lora_vit", 3, 1, "linear", 0, False))
    freeze_body(network, True)
    assert not [name for name in learning() if not name.startswith("head.")]
    freeze_body(network, False)
    assert {name for name in learning() if not name.startswith("head.")} == adapters
