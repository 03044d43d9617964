"""Logits by threads that have images of their own, against one pass over all images."""

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from inspected import Backwards, classifier_of, config_net, res_net
from kilnet.hardware import single_threads
from kilnet.inference import forward

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
