"""Maps beside other implementations: captum for Grad-CAM, formulas in float64 for the rest; colours; refusals."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.explained_models import VIT, build, model_of
from kit.errors import KitError
from kit.explain.cam import BY_GRADIENT, METHODS, at_size, cam_layer, raw_maps
from kit.explain.layers import Layer, chosen_layers, find_layers
from kit.explain.picture import heat, overlay
from kit.model.build import Model
from kit.model.losses import WeightedSum
from kit.model.network import Network
from kit.pixels.batches import Batch

SIZE, CLASSES, METADATA = 64, 3, 2
IMAGES = 3


def frozen(model: Model) -> Model:
    for module in (model.network, model.loss):
        module.eval().requires_grad_(False)
    return model


def batch_of(size: int = SIZE, channels: int = 4, metadata: int = METADATA) -> Batch:
    noise = torch.Generator().manual_seed(1)
    images = torch.randn(IMAGES, channels, size, size, generator=noise)
    return Batch(images, torch.zeros(IMAGES), torch.randn(IMAGES, metadata, generator=noise), torch.arange(IMAGES))


def maps_of(model: Model, names: list[str] | None, method: str, batch: Batch, classes: list[int]) -> dict[str, Tensor]:
    channels, size = batch.images.shape[1], batch.images.shape[2]
    found = find_layers(model, channels, batch.metadata.shape[1], size)
    layers = [cam_layer(model, found, names)] if method == "cam" else chosen_layers(found, names)
    return raw_maps(frozen(model), layers, method, batch, lambda shares: np.array(classes))[2]


def by_captum(model: Model, name: str, batch: Batch, classes: list[int], sign: float = 1) -> Tensor:
    from captum.attr import LayerGradCam

    def forward(images: Tensor, metadata: Tensor) -> Tensor:
        return sign * model.logits(model.network(images, metadata))

    model.network.requires_grad_(True)
    layer = LayerGradCam(forward, model.network.get_submodule(name))
    given = layer.attribute(batch.images.clone(), classes, batch.metadata, relu_attributions=True)
    return given[:, 0].detach()


def close(ours: Tensor, theirs: Tensor) -> None:
    """Equal to 1e-5 of the largest value, and not all zero."""
    assert theirs.max() > 0
    torch.testing.assert_close(ours / theirs.max(), theirs / theirs.max(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "names"),
    [
        ("small_cnn", ["body.23", "body.17", "body.12"]),
        ("resnet18", ["body.7", "body.6.1", "body.5"]),
        ("efficientnet_lite0", ["body.blocks.4", "body.conv_head"]),
        ("timm/test_convnext", ["body.stages.1"]),
    ],
)
def test_gradcam_of_several_layers_in_one_pass_is_that_of_captum(network, names):
    model, batch, classes = build(network, 4, CLASSES, METADATA), batch_of(), [0, 2, 1]
    ours = maps_of(model, names, "gradcam", batch, classes)
    assert list(ours) == names
    for name in names:
        close(ours[name], by_captum(model, name, batch, classes))


@pytest.mark.parametrize(("number", "sign"), [(1, 1), (0, -1)])
def test_of_a_binary_task_what_speaks_against_the_one_class_speaks_for_the_other(number, sign):
    model = model_of(build("small_cnn", 4, 1, METADATA).network, "binary")
    batch = batch_of()
    ours = maps_of(model, ["body.23"], "gradcam", batch, [number] * IMAGES)["body.23"]
    close(ours, by_captum(model, "body.23", batch, [0] * IMAGES, sign))


def test_the_probabilities_are_those_of_prediction():
    batch = batch_of()
    for task, outputs in (("binary", 1), ("multiclass", CLASSES), ("multilabel", CLASSES)):
        model = frozen(model_of(build("small_cnn", 4, outputs, METADATA).network, task))
        layers = chosen_layers(find_layers(model, 4, METADATA, SIZE), None)
        shares, classes, _ = raw_maps(model, layers, "gradcam", batch, lambda shares: shares.argmin(1))
        expected = model.probabilities(model.network(batch.images, batch.metadata)).numpy()
        np.testing.assert_allclose(shares[:, -outputs:], expected, atol=1e-6)
        assert (classes == shares.argmin(1)).all()
        if task == "binary":
            np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_with_its_own_classifier_is_what_is_explained(weighted):
    from kit_losses.margins import ArcFace

    torch.manual_seed(0)
    margin = ArcFace(160 + METADATA, CLASSES, 0.5, 30)
    plain = build("small_cnn", 4, CLASSES, METADATA).network
    loss = WeightedSum([nn.Identity(), margin], [0.2, 0.8]) if weighted else margin
    model, batch, classes = model_of(plain, "multiclass", loss), batch_of(), [2, 0, 1]
    ours = maps_of(model, ["body.23"], "gradcam", batch, classes)["body.23"]
    close(ours, by_captum(model, "body.23", batch, classes))
    without = maps_of(model_of(plain), ["body.23"], "gradcam", batch, classes)["body.23"]
    assert not torch.allclose(ours / ours.max(), without / without.max(), atol=1e-2)


def in_float64(name: str, model: Model, batch: Batch, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """A layer's output and the gradient of the classes' logits towards it, by hooks of torch's own, as float64."""
    kept: list[Tensor] = []
    network = model.network.double().requires_grad_(True)
    hook = network.get_submodule(name).register_forward_hook(lambda module, given, output: kept.append(output))
    logits = network(batch.images.double(), batch.metadata.double()).logits
    hook.remove()
    kept[0].retain_grad()
    logits[range(IMAGES), classes].sum().backward()
    network.float()
    return kept[0].detach().numpy(), kept[0].grad.numpy()


@pytest.mark.parametrize("name", ["body.18", "body.16"])
@pytest.mark.parametrize("method", list(BY_GRADIENT))
def test_maps_are_those_of_the_papers_in_float64(method, name):
    """body.18 is a convolution, whose output has both signs; body.16 a batch norm before a ReLU in place."""
    model, batch, classes = build("small_cnn", 4, CLASSES, METADATA), batch_of(), [1, 0, 2]
    ours = maps_of(model, [name], method, batch, classes)[name]
    if name == "body.16":  # a hook of torch's own would see what the ReLU makes of it
        model.network.body[17] = nn.ReLU()
    a, g = in_float64(name, model, batch, classes)
    if method == "gradcam":  # Selvaraju et al. 2017, equations 1 and 2
        expected = np.einsum("bk,bkij->bij", g.mean((2, 3)), a)
    elif method == "gradcam++":  # Chattopadhyay et al. 2018, equations 19 and 5, with Y = exp(S) and its derivatives
        score = 0.3
        first, second, third = (np.exp(score) * g**power for power in (1, 2, 3))
        alpha = np.divide(second, 2 * second + a.sum((2, 3), keepdims=True) * third, where=g != 0, out=np.zeros_like(g))
        expected = np.einsum("bk,bkij->bij", (alpha * np.maximum(first, 0)).sum((2, 3)), a) / np.exp(score)
    else:  # Jiang et al. 2021, equations 6 and 7
        expected = (np.maximum(g, 0) * a).sum(1)
    expected = np.maximum(expected, 0)
    # Each image by itself: in float32 a denominator near 0 is another one.
    for own, theirs in zip(ours.double(), torch.from_numpy(expected), strict=True):
        torch.testing.assert_close(own / theirs.max(), theirs / theirs.max(), rtol=0, atol=1e-4)


def test_maps_of_tokens_are_those_of_their_places():
    """timm's tokens are the class token, then the places row by row."""
    model, batch, classes = build(VIT, 4, CLASSES, METADATA), batch_of(224), [1, 0, 2]
    ours = maps_of(model, ["body.blocks.10"], "gradcam", batch, classes)["body.blocks.10"]
    a, g = (values[:, 1:] for values in in_float64("body.blocks.10", model, batch, classes))
    expected = np.maximum(np.einsum("bk,bnk->bn", g.mean(1), a), 0).reshape(IMAGES, 14, 14)
    close(ours.double(), torch.from_numpy(expected))


def test_cam_is_the_last_map_by_the_weights_of_the_class_and_equals_gradcam():
    model, batch, classes = build("small_cnn", 4, CLASSES, METADATA), batch_of(), [1, 0, 2]
    cam = maps_of(model, None, "cam", batch, classes)["body"]
    with torch.no_grad():
        features = model.network.body.double()(batch.images.double())
    model.network.float()
    # Behind the 160 features stand the metadata.
    weights = model.network.head.classifier.weight[classes, :160].double()
    assert model.network.head.classifier.weight.shape[1] == 160 + METADATA
    close(cam.double(), torch.einsum("bk,bkij->bij", weights, features).relu())
    # The gradient of the mean is the weight over the number of places (Selvaraju et al. 2017, section 3.1).
    gradcam = maps_of(model, ["body"], "gradcam", batch, classes)["body"]
    close(cam, gradcam * gradcam.shape[1] * gradcam.shape[2])


def test_cam_of_the_negative_class_has_the_weights_turned_round():
    model = model_of(build("small_cnn", 4, 1, METADATA).network, "binary")
    batch = batch_of()
    positive, negative = (maps_of(model, None, "cam", batch, [number] * IMAGES)["body"] for number in (1, 0))
    with torch.no_grad():
        features = model.network.body(batch.images)
        signed = torch.einsum("k,bkij->bij", model.network.head.classifier.weight[0, :160], features)
    torch.testing.assert_close(positive, signed.relu())
    torch.testing.assert_close(negative, (-signed).relu())


def test_cam_says_where_it_cannot_be():
    from kit_losses.margins import ArcFace

    model = build("small_cnn")
    found = find_layers(model, 3, 0, SIZE)
    with pytest.raises(KitError, match="only the last map of the network: drop --layers"):
        cam_layer(model, found, ["body.23"])
    with pytest.raises(KitError, match="the loss of this run has its own: drop --method cam"):
        cam_layer(model_of(model.network, "multiclass", ArcFace(160, 3, 0.5, 30)), found, None)
    network = Network(nn.Conv2d(3, 4, 3), 4, 2, "concat_pool", 0)
    with pytest.raises(KitError, match="cam needs a head that weighs the averaged map itself, such as linear"):
        cam_layer(model_of(network), {}, None)
    tokens = build("timm/test_vit")
    with pytest.raises(KitError, match="this network pools by itself"):
        cam_layer(tokens, find_layers(tokens, 3, 0, 160), None)


def test_a_head_with_a_maximum_is_explained_too():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(4, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 6, 3))
    model = model_of(Network(body, 6, CLASSES, "concat_pool", METADATA).eval())
    ours = maps_of(model, ["body.1"], "gradcam", batch_of(), [0, 1, 2])["body.1"]
    close(ours, by_captum(model, "body.1", batch_of(), [0, 1, 2]))


@pytest.mark.parametrize("method", METHODS)
def test_a_pass_leaves_nothing_behind(method):
    model, batch = build("small_cnn", 4, CLASSES, METADATA), batch_of()
    for values in maps_of(model, None, method, batch, [0, 1, 2]).values():
        assert not values.requires_grad
    assert all(parameter.grad is None for parameter in model.network.parameters())
    assert all(not module._forward_hooks for module in model.network.modules())
    assert batch.images.grad is None
    assert not batch.images.requires_grad


def test_what_lies_before_the_first_layer_keeps_no_graph():
    """Memory and time go into what stands behind the layer alone."""
    model, batch = build("small_cnn", 4, CLASSES, METADATA), batch_of()
    kept = []
    model.network.body[12].register_forward_hook(lambda module, given, output: kept.append(output.requires_grad))
    model.network.body[18].register_forward_hook(lambda module, given, output: kept.append(output.requires_grad))
    layer = Layer("body.17", "channels first", 96, 8, 8, 8, True, True)
    raw_maps(frozen(model), [layer], "gradcam", batch, lambda shares: np.zeros(IMAGES, np.int64))
    assert kept == [False, True]


def test_maps_are_enlarged_like_opencv_does_and_end_at_one():
    import cv2

    maps = torch.rand(2, 6, 6)
    maps[1] = 0
    large = at_size(maps, 96)
    expected = cv2.resize(maps[0].numpy(), (96, 96), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(large[0], expected / expected.max(), atol=1e-6)
    assert large[0].max() == 1
    assert (large[1] == 0).all()


def test_red_is_hot_and_blue_is_cold():
    red, blue = heat(np.array([[1.0]]))[0, 0].astype(int), heat(np.array([[0.0]]))[0, 0].astype(int)
    assert red[0] > 100 > 10 > red[2]
    assert blue[2] > 100 > 10 > blue[0]
    middle = heat(np.array([[0.5]]))[0, 0].astype(int)
    assert middle[1] > max(middle[0], middle[2])


def test_an_overlay_is_half_image_half_colours_in_the_order_of_the_image():
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 2] = 200  # a blue image, RGB
    map = np.array([[0, 1], [0.5, 0]])
    both = overlay(image, map)
    assert both.shape == (2, 2, 3)
    assert both.dtype == np.uint8
    np.testing.assert_allclose(both, (image.astype(float) + heat(map)) / 2, atol=1)
    assert both[0, 1, 0] > both[0, 0, 0] + 50
