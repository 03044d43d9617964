"""Heat maps: the axioms they must obey, and other implementations."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from inspected import (
    NETWORKS,
    classifier_of,
    config_net,
    pictures,
    res_net,
    without_convolution,
)
from kilnet.errors import DataError, InputError, ModelError
from kilnet.figures import inspection_figures
from kilnet.inspection.attribution import explain, grad_cam, grad_cams, integrated_gradients
from kilnet.inspection.passes import network_input


@pytest.fixture(params=NETWORKS)
def classifier(request):
    return NETWORKS[request.param]()


def logits(classifier, image):
    with torch.no_grad():
        return classifier.model(network_input(classifier, image[None]))[0].numpy()


@pytest.mark.parametrize("target", [0, 2])
def test_integrated_gradients_add_up_to_the_difference_to_black(classifier, target):
    (image,) = pictures(classifier)
    found = integrated_gradients(classifier, image, target, steps=400)
    assert (found.shape, found.dtype) == (image.shape[1:], np.float32)
    difference = (logits(classifier, image) - logits(classifier, np.zeros_like(image)))[target]
    assert found.sum() == pytest.approx(difference, rel=0.02, abs=0.02)


def test_integrated_gradients_of_a_linear_network_are_weights_times_pixels():
    classifier = without_convolution()
    (image,) = pictures(classifier)
    pixels = network_input(classifier, np.stack([image, np.zeros_like(image)])).numpy()
    weights = classifier.model.linear.weight.detach().numpy().reshape(3, *image.shape)
    expected = (weights[1] * (pixels[0] - pixels[1])).sum(0)
    np.testing.assert_allclose(integrated_gradients(classifier, image, "dog", 3), expected, atol=1e-5)


def test_a_black_image_and_what_the_network_does_not_see_get_nothing():
    classifier = config_net()
    assert not integrated_gradients(classifier, np.zeros((3, 16, 16), np.uint8)).any()
    with torch.no_grad():
        classifier.model.conv1.weight[:] = 0
    assert not integrated_gradients(classifier, pictures(classifier)[0]).any()
    assert not grad_cam(classifier, pictures(classifier)[0], layer=1).any()


def by_hand(features, head, target, size):
    """Grad-CAM where the part of the network behind the features is given: equations 1 and 2."""
    features = features.detach().requires_grad_()
    head(features)[0, target].backward()
    weights = features.grad.mean((2, 3), keepdim=True)
    heat = F.relu((weights * features).sum(1, keepdim=True))
    heat = F.interpolate(heat, size, mode="bilinear", align_corners=False)[0, 0].detach().numpy()
    return heat / heat.max() if heat.max() > 0 else heat


@pytest.mark.parametrize("target", [0, 1, 2])
def test_grad_cam_by_hand_behind_the_last_convolution_of_config_net(target):
    classifier = config_net()
    model = classifier.model
    (image,) = pictures(classifier)
    with torch.no_grad():
        features = network_input(classifier, image[None])
        for layer in (model.conv1, model.conv2, model.conv3, model.conv4):
            features = F.relu(layer(features))
    expected = by_hand(
        features,
        lambda x: model.fc2(F.relu(model.fc1(F.relu(model.batch_norm(x.flatten(1)))))),
        target,
        (16, 16),
    )
    np.testing.assert_allclose(grad_cam(classifier, image, target), expected, atol=1e-5)


def test_grad_cam_of_a_residual_network_sees_the_shortcut_too():
    classifier = res_net()
    (image,) = pictures(classifier)
    with torch.no_grad():
        model, x = classifier.model, network_input(classifier, image[None])
        features = model.blocks(F.relu(model.norm(model.conv(x))))
    expected = by_hand(features, lambda x: model.fc(x.mean((2, 3))), 1, (16, 16))
    np.testing.assert_allclose(grad_cam(classifier, image, 1), expected, atol=1e-5)


def test_a_layer_may_be_named_and_an_activation_in_place_changes_nothing():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3)
    plain, in_place = (
        classifier_of(nn.Sequential(conv, nn.ReLU(inplace), nn.Flatten(), nn.Linear(144, 3)), (3, 8, 8))
        for inplace in (False, True)
    )
    in_place.model[3].load_state_dict(plain.model[3].state_dict())
    (image,) = pictures(plain)
    for layer in ("0", "1", 1, None):
        expected = grad_cam(plain, image, 0, layer)
        np.testing.assert_array_equal(grad_cam(in_place, image, 0, layer), expected)
    assert not np.array_equal(grad_cam(plain, image, 0, "0"), grad_cam(plain, image, 0, "1"))


def test_heat_maps_of_many_images_are_those_of_each(classifier):
    images = pictures(classifier, 70)
    together = grad_cams(classifier, images)
    assert (together.shape, together.dtype) == ((70, *images.shape[2:]), np.float32)
    assert together.min() >= 0
    assert set(np.round(together.max((1, 2)), 6)) <= {0.0, 1.0}
    for index in (0, 63, 64, 69):
        np.testing.assert_allclose(grad_cam(classifier, images[index]), together[index], atol=1e-4)
    assert grad_cams(classifier, images[:0]).shape == (0, *images.shape[2:])


def test_without_a_target_the_prediction_is_explained():
    classifier = config_net()
    (image,) = pictures(classifier)
    predicted = int(logits(classifier, image).argmax())
    name = classifier.classes[predicted]
    np.testing.assert_array_equal(grad_cam(classifier, image), grad_cam(classifier, image, name))
    np.testing.assert_array_equal(
        integrated_gradients(classifier, image), integrated_gradients(classifier, image, predicted)
    )
    found = explain(classifier, image)
    assert found.target == name
    assert found.probability == pytest.approx(
        np.exp(logits(classifier, image)).max() / np.exp(logits(classifier, image)).sum()
    )


def test_attribution_leaves_the_network_as_it_was(classifier):
    model = classifier.model.train()
    frozen = next(model.parameters()).requires_grad_(False)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    explain(classifier, pictures(classifier)[0])
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [parameter for parameter in model.parameters() if not parameter.requires_grad] == [frozen]
    assert not any(module._forward_hooks for module in model.modules())


def test_mistakes_are_refused():
    classifier = config_net()
    (image,) = pictures(classifier)
    with pytest.raises(InputError, match="no class 'dgo'; did you mean dog"):
        grad_cam(classifier, image, "dgo")
    with pytest.raises(InputError, match="numbered 0 to 2"):
        integrated_gradients(classifier, image, 3)
    with pytest.raises(
        InputError,
        match="`layer='conv5'`: no such layer whose output is a map of the image; did you mean conv",
    ):
        grad_cam(classifier, image, layer="conv5")
    with pytest.raises(InputError, match="`layer='fc1'`: no such layer"):
        grad_cam(classifier, image, layer="fc1")
    with pytest.raises(InputError, match="`steps=0`: at least 1"):
        integrated_gradients(classifier, image, steps=0)
    with pytest.raises(DataError):
        grad_cam(classifier, image[None])
    with pytest.raises(ModelError, match="no filters, feature maps or heat maps"):
        grad_cam(without_convolution(), pictures(without_convolution())[0])


def test_a_network_without_convolution_is_still_explained_and_drawn():
    classifier = without_convolution()
    (image,) = pictures(classifier)
    found = explain(classifier, image, "frog")
    assert found.grad_cam is None
    assert found.integrated_gradients.shape == (4, 4)
    assert (
        len(inspection_figures.attribution(image, "an image", [found]).axes) == 4
    )  # three panels, one scale


def test_captum_agrees(classifier):
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    images = pictures(classifier)
    pixels = network_input(classifier, images)
    black = network_input(classifier, np.zeros_like(images))
    ours = integrated_gradients(classifier, images[0], 1, steps=64)
    theirs = captum.IntegratedGradients(classifier.model).attribute(
        pixels, black, target=1, n_steps=64, method="riemann_middle"
    )
    np.testing.assert_allclose(ours, theirs[0].sum(0).detach().numpy(), atol=1e-4)
    for layer in ("blocks.2", "dropout2"):
        module = dict(classifier.model.named_modules()).get(layer)
        if module is None:
            continue
        heat = captum.LayerGradCam(classifier.model, module).attribute(
            pixels, target=1, relu_attributions=True
        )
        heat = (
            F.interpolate(heat, images.shape[2:], mode="bilinear", align_corners=False)[0, 0].detach().numpy()
        )
        expected = heat / heat.max() if heat.max() > 0 else heat
        np.testing.assert_allclose(grad_cam(classifier, images[0], 1, layer), expected, atol=1e-4)
