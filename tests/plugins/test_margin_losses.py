"""The whole line with losses that carry a classifier of their own: trained, saved, resumed and used for prediction."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.loss_cases import cost, margin_loss
from kit.archives.unpack import from_miniature
from kit.console import Console
from kit.data.images import read_rgb
from kit.data.index import Index, read_table
from kit.data.open_run import OpenRun
from kit.data.store import Store
from kit.errors import KitError
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.inference.evaluate import evaluate
from kit.inference.load import load_fold
from kit.inference.predict import predict_test
from kit.inference.tta import views_of
from kit.model.build import build_model, seed_everything
from kit.model.checkpoint import Checkpoints
from kit.model.network import Output
from kit.plugin import Competition, DatasetSpec, hookimpl
from kit.resolve import resolve
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.training.interrupt import Interrupt
from kit.training.start import start_run
from kit.training.train import train
from kit_losses.margins import ArcFace, CosFace

QUIET = Console(json=True)
TINTS = ("blue", "green", "red")


class Tints:
    """A competition of three classes: which colour is the patch in the middle?"""

    @hookimpl
    def kit_competitions(self):
        defaults = {"loss": "cross_entropy", "model": "small_cnn", "pretrained": False, "size": 32, "folds": 2}
        return [
            Competition(
                "tints",
                "Tints",
                "tints",
                "multiclass",
                "accuracy",
                "tints",
                "histopathology",
                kaggle="none",
                defaults=defaults,
            )
        ]

    @hookimpl
    def kit_datasets(self):
        return [DatasetSpec("tints", 3, self.index, lambda files: read_rgb(files[0]), miniature=self.miniature)]

    def index(self, root):
        train, test = (
            table.assign(files=[(f"{id_}.png",) for id_ in table["id"]], target=table["tint"].map(TINTS.index))
            for table in (read_table(root / f"{part}.csv", ("id", "tint"), "") for part in ("train", "test"))
        )
        return Index(root, "multiclass", TINTS, train, test.drop(columns="target"))

    def miniature(self, root, seed):
        random = np.random.default_rng(seed)
        for part, count in (("train", 96), ("test", 24)):
            rows = ["id,tint"]
            for number in range(count):
                image = random.normal(90, 25, (32, 32, 3))
                image[8:24, 8:24, 2 - number % 3] += 80
                Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(root / f"{part}{number}.png")
                rows.append(f"{part}{number},{TINTS[number % 3]}")
            (root / f"{part}.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def registry() -> Registry:
    plugins = load_plugins()
    plugins.add(Tints(), "tints", "test", "1")
    return Registry(plugins)


@pytest.fixture
def store(registry) -> Store:
    store = Store.of(registry, "tints")
    from_miniature(store, 0, force=False)
    return store


def begin(registry: Registry, store: Store, loss: str) -> Run:
    settings = [f"loss={loss}", "epochs=6", "batch_size=16", "lr=0.01"]
    config, sources = resolve(store.competition, True, settings=settings)
    return start_run(registry, store, config, sources, None, QUIET)


def learned(run: Run) -> dict[str, str]:
    files = [*run.path.glob("fold-*/*.safetensors"), *run.path.glob("**/*.npz")]
    return {str(path.relative_to(run.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("loss", "centres", "predicts"),
    [
        ("arcface", "loss.centres", True),
        ("0.8*cross_entropy+0.2*arcface", "loss.losses.1.centres", False),
        ("0.2*cross_entropy+0.8*cosface", "loss.losses.1.centres", True),
    ],
)
def test_the_classifier_of_a_loss_is_trained_saved_resumed_and_predicts(
    registry, store, monkeypatch, loss, centres, predicts
):
    run = begin(registry, store, loss)
    assert train(OpenRun(registry, run), None, QUIET)["score"]["value"] > 0.9
    assert evaluate(OpenRun(registry, run), None, 0.5, 2.0, QUIET)["difference"] == 0

    # Trained and saved.
    index, config = store.index(), run.config
    seed_everything(config.seed, 0)
    new = build_model(config, registry, store.dataset, index, run.record["normalization"], pretrained=False)
    saved = Checkpoints(run.fold_dir(0)).weights("last")[centres]
    before = new.loss.state_dict()[centres.removeprefix("loss.")]
    assert saved.shape == (3, 160)
    assert (torch.nn.functional.cosine_similarity(saved, before) < 0.999).all()

    # Predicts, or leaves it to the network.
    model = load_fold(OpenRun(registry, run), 0)
    output = Output(torch.randn(4, 3), torch.randn(4, 160))
    cosine = torch.nn.functional.cosine_similarity(output.embedding[:, None], saved[None], dim=2)
    wanted = 30 * cosine if predicts else output.logits
    torch.testing.assert_close(model.probabilities(output), wanted.softmax(1), rtol=1e-4, atol=1e-6)
    predict_test(OpenRun(registry, run), views_of(run.config, 1), QUIET)
    predicted = Predictions.load(run.reading("test.npz"))
    truth = index.test.set_index("id")["tint"][predicted.ids]
    assert (np.array(TINTS)[predicted.values.argmax(1)] == truth).mean() > 0.9

    # Stopped in the middle of the first fold and resumed, all is as if it had not been.
    (run.path / "test.npz").unlink()
    stopped, looks = begin(registry, store, loss), iter(range(100))
    check = Interrupt.check

    def stop_at_the_tenth(self: Interrupt) -> None:
        self.requested = self.requested or next(looks) == 10
        check(self)

    monkeypatch.setattr(Interrupt, "check", stop_at_the_tenth)
    with pytest.raises(KitError, match="--resume"):
        train(OpenRun(registry, stopped), None, QUIET)
    monkeypatch.setattr(Interrupt, "check", check)
    train(OpenRun(registry, Run.open(stopped.path)), None, QUIET)
    assert learned(stopped) == learned(run)


@pytest.mark.parametrize("margin", [0.0, 0.35, 0.5, 1.2])
@pytest.mark.parametrize("kind", [ArcFace, CosFace])
def test_margin_losses_are_their_published_formulas(kind, margin):
    random = np.random.default_rng(0)
    x, w, y = random.normal(size=(400, 2)), random.normal(size=(7, 2)), random.integers(0, 7, 400)
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in w] for a in x])
    total, passed = 0.0, 0
    for row, label in zip(cosine, y, strict=True):
        theta = np.arccos(row[label])
        if kind is CosFace:
            own = np.cos(theta) - margin
        elif theta + margin < np.pi:
            own = np.cos(theta + margin)
        else:
            own, passed = np.cos(theta) - margin * np.sin(np.pi - margin), passed + 1
        others = sum(np.exp(30 * value) for number, value in enumerate(row) if number != label)
        total -= np.log(np.exp(30 * own) / (np.exp(30 * own) + others))
    loss = margin_loss(kind, margin, torch.from_numpy(w))
    assert cost(loss, torch.from_numpy(x), torch.from_numpy(y)).item() == pytest.approx(total / 400, rel=1e-9)
    np.testing.assert_allclose(loss.logits(Output(torch.empty(0), torch.from_numpy(x))).detach(), 30 * cosine)
    assert (passed > 0) == (kind is ArcFace and margin > 0)


def test_the_own_cosine_falls_with_the_angle_all_the_way():
    cosine = torch.linspace(1, -1, 2001, dtype=torch.float64)
    for loss in (ArcFace(2, 2, 0.5, 30), CosFace(2, 2, 0.5, 30)):
        assert (loss.with_margin(cosine).diff() < 0).all()
