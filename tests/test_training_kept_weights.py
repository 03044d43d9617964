"""What is validated and kept, against weights that were written down step by step."""

import pytest
import torch
from torch.nn import functional as F

from kilnet.training.kept_weights import KeptWeights
from kilnet.training.records import EpochRecord
from small_loops import epochs_of, make_dataset, make_loop, make_model

SHARED = {"training__initial_epochs": 1.0, "optimizer__lr": 0.01}


def logits_of(model, dataset):
    mean = dataset.train.images.mean((0, 2, 3), keepdims=True) / 255
    std = dataset.train.images.std((0, 2, 3), keepdims=True) / 255
    images = torch.tensor((dataset.validation.images / 255 - mean) / std, dtype=torch.float32)
    with torch.no_grad():
        return model.eval()(images)


def test_the_first_weights_count_as_an_epoch_in_what_is_kept_and_validated():
    dataset, model = make_dataset(), make_model()
    before = [parameter.clone() for parameter in model.parameters()]
    loop = make_loop(dataset, model, training__batch_norm_images=0, **SHARED)
    history = epochs_of(loop)
    kept = loop.validated_model.parameters()
    for ours, first, last in zip(kept, before, loop.model.parameters(), strict=True):
        torch.testing.assert_close(ours, (first + 2 * last) / 3)
    labels = torch.from_numpy(dataset.validation.labels)
    loss = F.cross_entropy(logits_of(loop.validated_model, dataset), labels)
    assert history[-1].validation_loss == pytest.approx(loss.item(), rel=1e-4)
    for ours, last in zip(loop.validated_model.buffers(), loop.model.buffers(), strict=True):
        torch.testing.assert_close(ours, last)


def test_training_itself_goes_on_as_without_it():
    pulled = make_loop(make_dataset(), make_model(), **SHARED)
    plain = make_loop(make_dataset(), make_model(), optimizer__lr=0.01)
    epochs_of(pulled), epochs_of(plain)
    assert all(map(torch.equal, plain.model.parameters(), pulled.model.parameters()))
    assert plain.validated_model is plain.model


def test_the_average_gets_its_share_too():
    dataset, model = make_dataset(), make_model()
    before = [parameter.clone() for parameter in model.parameters()]
    options = {"training__averaging_epochs": 0.75, "training__batch_norm_images": 101, "optimizer__lr": 0.01}
    pulled = make_loop(dataset, model, **options, training__initial_epochs=1.0)
    averaged = make_loop(dataset, make_model(), **options)
    epochs_of(pulled), epochs_of(averaged)
    ours, theirs = (loop.validated_model.parameters() for loop in (pulled, averaged))
    for mixed, first, average in zip(ours, before, theirs, strict=True):
        torch.testing.assert_close(mixed, (first + 2 * average) / 3)


@pytest.mark.parametrize("num_records", [2, 4, 7])
def test_a_run_that_was_stopped_keeps_the_same_bytes(num_records):
    whole = make_loop(make_dataset(), make_model(), **SHARED)
    history = epochs_of(whole)
    stopped = make_loop(make_dataset(), make_model(), **SHARED)
    for _ in zip(range(num_records), stopped, strict=False):
        pass
    other = make_model()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()  # a run that is resumed has not the weights that it began with
    resumed = make_loop(make_dataset(), other, **SHARED)
    resumed.load_state(*stopped.state())
    later = [record for record in resumed if isinstance(record, EpochRecord)]
    assert later == history[-len(later) :]
    ours, theirs = resumed.validated_model.state_dict(), whole.validated_model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_weights_count_as_the_first_ones_when_the_run_begins():
    model = make_model()
    kept = KeptWeights(model, num_averaged=0, initial_epochs=1.0)
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # as a fitted last layer is put in
        kept.begin()
        model[0].weight.fill_(5.0)
    kept.settle(num_epochs=0.25)
    assert kept.model[0].weight.allclose(torch.tensor((4 * 1.0 + 5.0) / 5))
