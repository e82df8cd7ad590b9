"""Maps of an expected grade and of a number: beside captum, through every link; what a person reads of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, r2_score, root_mean_squared_error
from torch import Tensor, nn

from helpers.explained_models import build, model_of
from helpers.ordered_runs import trained
from helpers.own_folders import own_folders
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.decision.tune import Wish, tune_run
from kit.errors import KitError
from kit.explain import guided
from kit.explain.cam import METHODS, at_size, cam_layer, probabilities_of, raw_maps
from kit.explain.explain import METHODS as ALL
from kit.explain.explain import Explained, explain_run
from kit.explain.layers import chosen_layers, find_layers
from kit.explain.write import write_explained
from kit.inference.evaluate import evaluate
from kit.model.build import Model
from kit.model.targets import ScaledTargets
from kit.pixels.batches import Batch
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.scoring.ranking import ranked, ranked_ids
from kit.task import ORDINAL, REGRESSION
from kit_losses.ordinal import Coral, Corn, GradeError

SIZE, IMAGES, LAYER, QUIET = 64, 3, "body.23", Console(json=True)
COUNTS = torch.tensor([49.0, 10.0, 27.0, 5.0])


def scaled(bounded: bool) -> ScaledTargets:
    return ScaledTargets(nn.MSELoss(), torch.tensor([10.0, -3.0]), torch.tensor([5.0, 200.0]), bounded)


# A loss, how many logits its network has, and how many columns there are to explain.
LINKS = {
    "cross_entropy": (ORDINAL, nn.Module, 4),
    "coral": (ORDINAL, lambda: Coral(COUNTS), 1),
    "corn": (ORDINAL, Corn, 3),
    "squared error": (ORDINAL, lambda: GradeError(4, False), 1),
    "numbers": (REGRESSION, lambda: scaled(False), 2),
    "bounded numbers": (REGRESSION, lambda: scaled(True), 2),
}


def linked(name: str) -> Model:
    task, loss, outputs = LINKS[name]
    network = build("small_cnn", 4, outputs, 2).network
    model = model_of(network, task.name, loss())
    return replace(model, outputs=4 if task is ORDINAL else 2)


def batch_of() -> Batch:
    noise = torch.Generator().manual_seed(1)
    images = torch.randn(IMAGES, 4, SIZE, SIZE, generator=noise)
    return Batch(images, torch.zeros(IMAGES), torch.randn(IMAGES, 2, generator=noise), torch.arange(IMAGES))


def maps_of(model: Model, method: str, column: int) -> Tensor:
    found = find_layers(model, 4, 2, SIZE)
    layers = [cam_layer(model, found, None)] if method == "cam" else chosen_layers(found, [LAYER])
    for module in (model.network, model.loss):
        module.eval().requires_grad_(False)
    return next(iter(raw_maps(model, layers, method, batch_of(), lambda shares: np.full(IMAGES, column))[2].values()))


def close(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.max() > 0
    torch.testing.assert_close(at_size(ours, SIZE), at_size(theirs.clamp(min=0), SIZE), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", LINKS)
def test_gradcam_is_that_of_captum_whatever_the_link(name):
    from captum.attr import LayerGradCam

    model, batch = linked(name), batch_of()
    grades = torch.arange(4.0)
    last = model.task is ORDINAL
    column = 4 if last else 1

    def forward(images: Tensor, metadata: Tensor) -> Tensor:
        output = model.network(images, metadata)
        if not last:
            return model.logits(output)[:, column]
        # Of one score along the grades, any that rises with the expected grade has the same map.
        return output.logits[:, 0] if output.logits.shape[1] == 1 else model.logits(output).softmax(1) @ grades

    ours = maps_of(model, "gradcam", column)
    model.network.requires_grad_(True)
    layer = LayerGradCam(forward, model.network.get_submodule(LAYER))
    theirs = layer.attribute(batch.images.clone(), None, batch.metadata, relu_attributions=True)
    close(ours, theirs[:, 0].detach())


@pytest.mark.parametrize("name", LINKS)
def test_cam_goes_through_the_link(name):
    """The pooling is a mean: the map weighted by the classifier, as far as the link lets it, is Grad-CAM's."""
    for column in {4, 1} if LINKS[name][0] is ORDINAL else {0, 1}:
        cam, by_gradient = (maps_of(linked(name), method, column) for method in ("cam", "gradcam"))
        if by_gradient.max() > 0:
            close(cam, by_gradient)


@pytest.mark.parametrize("name", LINKS)
def test_guided_gradients_go_through_the_link(name):
    model = linked(name)
    column = 4 if model.task is ORDINAL else 1
    shares, columns, gradient = guided.guided_gradient(model, batch_of(), lambda shares: np.full(IMAGES, column))
    assert gradient.shape == (IMAGES, 4, SIZE, SIZE)
    assert gradient.abs().amax((1, 2, 3)).min() > 0
    assert columns.tolist() == [column] * IMAGES
    output = model.network(batch_of().images, batch_of().metadata)
    np.testing.assert_allclose(shares, model.probabilities(output).detach().numpy(), rtol=1e-4)
    np.testing.assert_allclose(probabilities_of(model, output), shares, rtol=1e-4)


def test_a_grade_beyond_the_last_has_a_map_all_the_same():
    model = linked("squared error")
    with torch.no_grad():
        for each in model.network.head.parameters():
            each.copy_(each.abs() * 50)
    assert probabilities_of(model, model.network(batch_of().images, batch_of().metadata))[:, -1].min() > 0.99
    assert maps_of(model, "gradcam", 4).amax((1, 2)).min() > 0


# Whole runs.


@pytest.fixture(scope="module")
def biomass(tmp_path_factory) -> OpenRun:
    return trained(tmp_path_factory.mktemp("biomass"), "biomass")


@pytest.fixture(scope="module")
def retina(tmp_path_factory) -> OpenRun:
    return trained(tmp_path_factory.mktemp("retina"), "retina", "loss=coral")


def explained(opened: OpenRun, **options: object) -> dict[str, Explained]:
    ids = ranked_ids(opened.run, opened.index, "worst", 3)
    return {each.id: each for each in explain_run(opened, ids, console=QUIET, **options)}


def test_a_number_is_explained_by_its_name_and_shown_with_the_truth(biomass, tmp_path):
    oof = Predictions.load(biomass.run.reading("oof.npz"))
    truth = biomass.index.targets_of(oof.ids)
    for of, place in (("predicted", 0), ("clover", 0), ("grass", 1)):
        for id_, each in explained(biomass, of=of).items():
            row = oof.ids.tolist().index(id_)
            assert each.explained == biomass.index.classes[place]
            assert each.probability == pytest.approx(oof.values[row, place], rel=1e-3)
            assert each.shown == f"{each.explained} {each.probability:.4g}"
            assert each.label == f"clover {truth[row, 0]:.4g}, grass {truth[row, 1]:.4g}"
            assert each.predicted == f"clover {oof.values[row, 0]:.4g}, grass {oof.values[row, 1]:.4g}"
    ids = ranked_ids(biomass.run, biomass.index, "worst", 2)
    document = write_explained(explain_run(biomass, ids, console=QUIET), ids, tmp_path / "out", {"run": biomass.run.id})
    assert all("number" in image and "probability" not in image for image in document["images"])
    assert "class" not in json.dumps(document)


@pytest.mark.parametrize("method", ALL)
def test_every_method_explains_numbers_and_grades(biomass, retina, method):
    assert set(METHODS) < set(ALL)
    for opened in (biomass, retina):
        found = explained(opened, method=method)
        assert len(found) == 3
        for each in found.values():
            for map_ in each.maps.values():
                assert map_.shape == (32, 32)
                assert 0 <= map_.min() <= map_.max() <= 1


def test_a_grade_is_explained_by_the_expected_grade_or_by_its_name(retina):
    oof = Predictions.load(retina.run.reading("oof.npz"))
    for id_, each in explained(retina).items():
        expected = ORDINAL.expected(oof.values[oof.ids.tolist().index(id_)][None])[0]
        assert each.shown == f"expected grade {each.probability:.4g}"
        assert each.probability == pytest.approx(expected, abs=1e-3)
    for id_, each in explained(retina, of="severe").items():
        share = oof.values[oof.ids.tolist().index(id_), 3]
        assert each.probability == pytest.approx(share, abs=1e-4)
        assert each.shown == f"severe, probability {each.probability:.2f}"
    assert {each.explained for each in explained(retina, of="true").values()} <= set(retina.index.classes)


@pytest.mark.parametrize("of", ["true", "gras"])
def test_numbers_have_no_true_class(biomass, of):
    with pytest.raises(KitError, match="no target is called that: give predicted or a name"):
        explained(biomass, of=of)


@pytest.mark.parametrize("order", ["uncertain", "per-class"])
def test_numbers_are_not_chosen_by_probabilities(order):
    target, values = np.arange(4.0)[:, None], np.array([[0.0], [5.0], [2.0], [1.0]])
    with pytest.raises(KitError, match=f"--{order} goes by probabilities of classes, which numbers have not"):
        ranked(REGRESSION, target, values, order, 2)
    assert ranked(REGRESSION, target, values, "worst", 2).tolist() == [1, 3]


def test_numbers_are_evaluated_target_by_target(biomass):
    oof = Predictions.load(biomass.run.reading("oof.npz"))
    truth = biomass.index.targets_of(oof.ids)
    document = evaluate(biomass, None, None, 2.0, QUIET, further=["mae"])
    assert document["difference"] < 1e-3
    assert document["threshold"] is None
    assert not {"confusion", "accuracy", "f1"} & set(document)
    for place, (name, row) in enumerate(document["report"].items()):
        assert name == biomass.index.classes[place]
        own = truth[:, place], oof.values[:, place]
        assert row["rmse"] == pytest.approx(root_mean_squared_error(*own), rel=1e-4)
        assert row["r2"] == pytest.approx(r2_score(*own), abs=1e-4)
        assert row["quantiles"]["0.5"] == pytest.approx(np.median(own[1] - own[0]), rel=1e-2)
    assert document["metrics"]["mae"] == pytest.approx(mean_absolute_error(truth, oof.values), rel=1e-4)
    with pytest.raises(KitError, match="biomass predicts numbers, which have no threshold: drop --threshold"):
        evaluate(biomass, None, 0.5, 2.0, QUIET)


def test_grades_are_evaluated_by_their_cuts(retina):
    oof = Predictions.load(retina.run.reading("oof.npz"))
    truth = retina.index.targets_of(oof.ids)
    rounded = np.floor(oof.values.astype(float) @ np.arange(5) + 0.5)
    plain = evaluate(retina, None, None, 2.0, QUIET)
    assert plain["threshold"] == "rounding"
    assert plain["quadratic_kappa"] == pytest.approx(cohen_kappa_score(truth, rounded, weights="quadratic"))
    estimate = tune_run(retina, Wish("spread"), QUIET)["estimate"]["value"]
    with own_folders(retina.run.path.parents[1]):
        decided = evaluate(OpenRun(retina.registry, Run.open(retina.run.path)), None, None, 2.0, QUIET)
    assert decided["threshold"] == "spread"
    assert decided["metrics"]["quadratic_kappa"] == pytest.approx(estimate)
    assert decided["table"]["quadratic_kappa"] == pytest.approx(estimate)
    assert np.sum(decided["confusion"]) == len(truth)
