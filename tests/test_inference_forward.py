"""Logits by threads that have images of their own, against one pass over all images."""

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from inspected import Backwards, classifier_of, config_net, res_net
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings, single_threads
from kilnet.inference import forward
from kilnet.inference.forward import fused
from kilnet.models import ConfigNet, FastNet, ResNet
from spoiled_fusion import spoiled

NORMED = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))

SETTINGS = Settings("cpu", "fp32", "contiguous", 1)
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (301, 3, 12, 12), np.uint8))


@pytest.fixture
def threads(monkeypatch):
    """Sets how many threads there are, and makes parts small enough for all of them to have several."""
    before = torch.get_num_threads()
    monkeypatch.setattr(forward, "_PART_SIZE", 16)
    yield torch.set_num_threads
    torch.set_num_threads(before)


def shared(classifier):
    return forward.shared_logits(classifier.model, IMAGES, classifier.preprocessing, classifier.settings)


@pytest.mark.parametrize("make", [lambda: config_net((3, 14, 14)), lambda: res_net((3, 12, 12))])
def test_any_number_of_threads_gives_the_same_and_what_one_pass_gives(threads, make):
    classifier = make()
    _, height, width = classifier.image_shape
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (301, 3, height, width), np.uint8))
    arguments = classifier.model.train(), images, classifier.preprocessing, classifier.settings
    results = []
    for number in (1, 2, 5):
        threads(number)
        results.append(forward.shared_logits(*arguments))
        assert torch.get_num_threads() == number
    assert classifier.model.training
    for result in results:
        assert torch.equal(result, results[0])
    with torch.no_grad():
        expected = classifier.model.eval()(classifier.preprocessing(images))
    torch.testing.assert_close(results[0], expected, rtol=1e-4, atol=1e-5)


def test_what_a_network_notes_in_itself_meets_no_other_thread(threads):
    class Noting(Backwards):
        def forward(self, x):
            self.noted = x.mean((1, 2, 3))
            assert float(self.noted[0]) < 100  # so that it cannot be followed and joined
            time.sleep(0.005)  # others come in between
            return super().forward(x) + self.noted[:, None]

    torch.manual_seed(0)
    classifier = classifier_of(Noting(), (3, 12, 12))
    threads(1)
    alone = shared(classifier)
    threads(4)
    assert torch.equal(shared(classifier), alone)


def test_copies_share_the_weights_and_nothing_else():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    first, second = forward.copy_sharing_weights(model), forward.copy_sharing_weights(model)
    assert first[0] is not second[0]
    for one, other in zip(model.state_dict().values(), second.state_dict().values(), strict=True):
        assert one.data_ptr() == other.data_ptr()


def test_single_threads_have_no_helpers_and_leave_all_others_theirs(threads):
    def number_of_a_new_thread():
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    threads(3)
    with single_threads(2) as pool:
        assert list(pool.map(lambda _: torch.get_num_threads(), range(8))) == [1] * 8
        assert torch.get_num_threads() == 3
    assert (torch.get_num_threads(), number_of_a_new_thread()) == (3, 3)


def used(model):
    """A network whose batch norm has seen other images than those of the test, in evaluation mode."""
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 16, 16) * 2 + 1)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def norms(model):
    return [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]


def own():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 6))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ConfigNet(8, 12, 16, image_shape=(3, 16, 16), num_classes=4),
        lambda: ResNet(depth=8, width=4, image_shape=(3, 16, 16), num_classes=4),
        lambda: FastNet([6, 8, 8], image_shape=(3, 16, 16), num_classes=4),
        own,
    ],
)
def test_it_answers_as_before_and_leaves_the_network_as_it_was(make, memory_format):
    model = used(make()).to(memory_format=memory_format)
    images = NORMED.contiguous(memory_format=memory_format)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        expected = model(images)
        joined = fused(model, images[:2])
        torch.testing.assert_close(joined(images), expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(model(images), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "make", [own, lambda: ResNet(depth=8, width=4, image_shape=(3, 16, 16), num_classes=4)]
)
def test_no_batch_norm_behind_a_convolution_is_left(make):
    model = used(make())
    joined = fused(model, NORMED)
    assert joined is not model
    assert not [
        node
        for node in joined.graph.nodes
        if node.op == "call_module" and "Norm" in str(type(joined.get_submodule(node.target)))
    ]
    assert norms(model)


def test_weights_that_do_not_change_are_shared():
    model = used(own())
    assert fused(model, NORMED).get_submodule("4").weight.data_ptr() == model[4].weight.data_ptr()


class Branching(nn.Module):
    """Reads a convolution before and behind its batch norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.conv(x)
        return (x + F.relu(self.norm(x))).mean((2, 3))


class Twice(nn.Module):
    """Uses a convolution once before batch norm and once more."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(F.relu(self.norm(self.conv(x)))).mean((2, 3))


@pytest.mark.parametrize(
    "make",
    [
        Branching,
        Twice,
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU()),
    ],
)
def test_what_cannot_be_joined_stays(make):
    model = used(make())
    assert fused(model, NORMED) is model


class Undecided(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x))) if x.mean() > 0 else self.conv(x)


def test_code_that_goes_by_values_is_left_alone():
    model = used(Undecided())
    assert fused(model, NORMED) is model


@pytest.mark.parametrize("change", [AttributeError("no such function"), 1e-2])
def test_what_fails_or_answers_otherwise_is_not_used(monkeypatch, change):
    monkeypatch.setattr(forward, "fuse_conv_bn_eval", spoiled(change))
    model = used(own())
    assert fused(model, NORMED) is model


def test_large_images_go_through_in_small_parts_with_the_same_answers():
    seen = []

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x):
            seen.append(len(x))
            return self.norm(x).mean((2, 3))

    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (70, 3, 192, 192), np.uint8))
    preprocessing, settings, model = Preprocessing((0.5,) * 3, (0.25,) * 3, (192, 192)), SETTINGS, Mean()
    expected = model.eval()(preprocessing(images))
    for run, most in ((forward.logits, 28), (forward.shared_logits, 14)):
        seen.clear()
        torch.testing.assert_close(run(model, images, preprocessing, settings), expected)
        assert max(seen) <= most
    seen.clear()
    forward.measure_batch_norm(model, images, preprocessing, settings)
    assert max(seen) <= 32
    torch.testing.assert_close(
        model.norm.running_mean, preprocessing(images).mean((0, 2, 3)), atol=1e-3, rtol=0
    )
