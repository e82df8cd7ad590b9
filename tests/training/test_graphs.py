"""Replaying steps as CUDA graphs: which batches, with what around it. The capture itself needs a card (tests/gpu).

Here `make_graphed_callables` is a fake that does on the CPU what the real one does on a card: passes to warm up and to
capture, memory that the next replay writes into, gradients that lie in that memory.
"""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from kit.config import validate
from kit.model import distributed
from kit.model.build import Model
from kit.model.device import Runtime
from kit.model.network import Output
from kit.pixels.batches import Batch, Normalize
from kit.task import MULTICLASS
from kit.training import graphs, stepper
from kit.training.ema import Ema
from kit.training.graphs import Graphs, why_no_graphs
from kit.training.start import idle_settings
from kit.training.stepper import Stepper

CPU = torch.device("cpu")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, images, metadata=None):
        embedding = self.body(images.flatten(1))
        return Output(self.head(embedding), embedding)


class Margin(nn.Module):
    """Like ArcFace: weights of its own, on the embedding alone."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(8, 3))

    def forward(self, output, batch):
        return nn.functional.cross_entropy(output.embedding @ self.centres, batch.target)


class Loss(nn.Module):
    def forward(self, output, batch):
        target = batch.target
        return nn.functional.cross_entropy(output.logits, target)


@dataclass
class Card:
    """A card whose captures are counted, and fail if told so."""

    captures: list[tuple[int, ...]] = field(default_factory=list)
    replays: int = 0
    error: Exception | None = None

    def capture(self, module: nn.Module, given: tuple[Tensor, ...], allow_unused_input: bool = False) -> nn.Module:
        if self.error is not None:
            raise self.error
        assert not torch.is_autocast_cache_enabled()
        assert allow_unused_input
        assert not any(each.requires_grad for each in given)
        self.captures.append(tuple(given[0].shape))
        surface = [p for p in module.parameters() if p.requires_grad]
        memory: list[Tensor | None] = [torch.zeros_like(p) for p in surface]
        plain, card = module.forward, self
        for _ in range(4):  # three to warm up, one to capture
            torch.rand(5)
            outputs = [output for output in plain(*given) if output.requires_grad]
            torch.autograd.grad(outputs, surface, [torch.zeros_like(o) for o in outputs], allow_unused=True)

        class Replayed(torch.autograd.Function):
            @staticmethod
            def forward(ctx, images, metadata, *parameters):
                card.replays += 1
                assert images.shape == given[0].shape
                with torch.enable_grad():
                    ctx.outputs = plain(images, metadata)
                return tuple(output.detach() for output in ctx.outputs)

            @staticmethod
            def backward(ctx, *gradients):
                pairs = [(o, g) for o, g in zip(ctx.outputs, gradients, strict=True) if o.requires_grad]
                found = torch.autograd.grad([o for o, _ in pairs], surface, [g for _, g in pairs], allow_unused=True)
                for place, gradient in zip(memory, found, strict=True):
                    place.copy_(torch.zeros(()) if gradient is None else gradient)
                return None, None, *(place.detach() for place in memory)

        module.forward = lambda images, metadata: Replayed.apply(images, metadata, *surface)
        return module


@pytest.fixture
def card(monkeypatch):
    made = Card()
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", made.capture)
    monkeypatch.setattr(stepper, "why_no_graphs", lambda device: "")
    return made


def model_of(loss: nn.Module | None = None, amp: torch.dtype | None = None) -> Model:
    torch.manual_seed(0)
    return Model(Net(), loss or Loss(), Normalize([0], [1]), Runtime(CPU, amp), MULTICLASS)


def batch_of(rows: int, seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(rows, 3, 2, 2, generator=random)
    return Batch(images, torch.arange(rows) % 3, torch.zeros(rows, 0), torch.arange(rows))


def config_of(**values):
    return validate({"competition": "c", "dataset": "d", "loss": "x", "weight_decay": 0, "lr": 0.01} | values)


def trained(model: Model, sizes: list[list[int]], after=lambda stepper, step: None, **values) -> dict[str, Tensor]:
    """What is learned from steps of batches of these sizes."""
    learner = Stepper(config_of(**values), model, 3)
    if model.runtime.amp is torch.float16:
        learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    ema = Ema(model, 0.9) if values.get("ema") else None
    for number, step in enumerate(sizes):
        torch.manual_seed(number)
        batches = iter([batch_of(rows, 10 * number + place) for place, rows in enumerate(step)])
        learner.step(batches, len(step), sum(step), 0.01)
        if ema:
            ema.update(number + 1)
        after(learner, number)
    states = [model.network, model.loss, *([ema.model.network] if ema else [])]
    return {f"{n}.{key}": value for n, each in enumerate(states) for key, value in each.state_dict().items()}


EPOCHS = [[8], [8], [8], [5], [8], [8], [8], [5]]
RECIPES = {
    "plain": {},
    "clip, average": {"clip": 0.1, "ema": 0.9},
    "mixup": {"mixup": 0.4, "cutmix": 1.0},
    "sgd": {"optimizer": "sgd"},
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("loss", [Loss, Margin])
def test_replayed_steps_are_those_of_the_network(card, recipe, loss):
    if loss is Margin and "mixup" in recipe:
        recipe = {}
    eager = trained(model_of(loss()), EPOCHS, **recipe)
    assert card.captures == []
    found = trained(model_of(loss()), EPOCHS, graphs=True, **recipe)
    assert card.captures == [(8, 3, 2, 2)]
    assert card.replays == 5, "all of that shape but the first"
    torch.testing.assert_close(found, eager)
    assert found["0.body.1.num_batches_tracked"] == len(EPOCHS), "the passes before the capture count for nothing"


def test_accumulated_gradients_add_up(card):
    """A gradient that lies in the graph's memory would be overwritten by the step's next batch."""
    steps = [[8, 8, 8], [8, 8, 8], [8, 5], [5, 8, 8], [8, 8, 8]]
    for values in ({}, {"clip": 0.1}):
        eager, found = (trained(model_of(), steps, graphs=on, **values) for on in (False, True))
        torch.testing.assert_close(found, eager)
    assert card.replays == 2 * 11


@pytest.mark.parametrize("amp", [torch.bfloat16, torch.float16])
def test_precision_and_scaler_are_those_of_the_runtime(card, amp):
    eager, found = (trained(model_of(amp=amp), EPOCHS, graphs=on) for on in (False, True))
    torch.testing.assert_close(found, eager)
    assert card.replays == 5


def test_frozen_weights_are_captured_anew(card):
    def thaw(learner: Stepper, step: int) -> None:
        if step == 3:
            learner.model.network.body.requires_grad_(True)
            learner.prepare()

    results = []
    for on in (False, True):
        model = model_of()
        model.network.body.requires_grad_(False)
        results.append(trained(model, EPOCHS, thaw, graphs=on))
    torch.testing.assert_close(results[1], results[0])
    assert card.captures == [(8, 3, 2, 2)] * 2


@pytest.mark.parametrize(
    ("rows", "captured", "replayed"),
    [
        ([8, 8, 8, 5, 8, 5], [8], 3),
        ([5, 8, 8, 8], [8], 2),  # resumed at an epoch's end
        ([8, 8, 6, 6, 6, 8, 8], [8, 6, 8], 4),  # another size
        ([8, 5, 8, 5], [], 0),
        ([], [], 0),
    ],
)
def test_a_shape_that_comes_twice_in_succession_is_captured(card, rows, captured, replayed):
    network = Graphs(Net(), Runtime(CPU, None))
    for number, count in enumerate(rows):
        batch = batch_of(count, number)
        network(batch.images, batch.metadata)
    assert [shape[0] for shape in card.captures] == captured
    assert card.replays == replayed


def test_what_is_not_a_step_runs_as_ever(card):
    network = Graphs(Net().eval(), Runtime(CPU, None))
    for number in range(3):
        network(batch_of(8, number).images, torch.zeros(8, 0))
    assert not card.captures


def test_a_network_that_cant_be_captured_goes_on_with_one_warning(card, capsys):
    card.error = RuntimeError("operation not permitted when stream is capturing\n\nCompile with TORCH_USE_CUDA_DSA")
    eager = trained(model_of(), EPOCHS)
    found = trained(model_of(), EPOCHS, lambda learner, step: learner.prepare() if step == 3 else None, graphs=True)
    torch.testing.assert_close(found, eager)
    err = " ".join(capsys.readouterr().err.split())
    assert err.count("warning:") == 1
    assert "operation not permitted when stream is capturing): going on without graphs" in err


def test_a_failed_capture_leaves_no_trace(card):
    """Neither in the statistics nor in the random numbers of the step."""
    network = Net()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()

    def fails():
        with graphs._untouched(network, CPU):
            torch.rand(3)
            network(batch_of(8, 0).images)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_it_says_where_graphs_change_nothing(monkeypatch):
    config = config_of(graphs=True)
    assert why_no_graphs(CPU) == "there is no GPU here"
    assert idle_settings(config_of()) == []
    assert idle_settings(config) == ["graphs changes nothing, since there is no GPU here"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert idle_settings(config) == []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    [line] = idle_settings(config)
    assert "several processes" in line


def test_without_a_card_the_key_changes_nothing():
    first, second = (trained(model_of(), EPOCHS[:3], graphs=on) for on in (False, True))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
