"""The loop against a plain PyTorch loop, and what its records promise."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kilnet.data.preprocess import Preprocessing
from kilnet.errors import DivergedError
from kilnet.seeding import generator
from kilnet.training.records import EarlyRecord, EpochRecord, StepRecord
from small_loops import epochs_of, make_dataset, make_fastnet, make_loop, make_model


@pytest.mark.parametrize(("label_smoothing", "is_weighted"), [(0.0, False), (0.3, False), (0.3, True)])
def test_trains_like_a_plain_loop(label_smoothing, is_weighted):
    """Losses, accuracies and weights equal those of a loop written with nothing but PyTorch."""
    dataset = make_dataset()
    counts = torch.linspace(0, 3, 101)
    if is_weighted:
        dataset = replace(dataset, train=replace(dataset.train, weights=counts.numpy()))
    loop = make_loop(dataset, optimizer__lr=0.01, training__label_smoothing=label_smoothing)
    records = epochs_of(loop)

    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    mean = dataset.train.images.mean((0, 2, 3), keepdims=True) / 255
    std = dataset.train.images.std((0, 2, 3), keepdims=True) / 255

    def prepared(images):
        return torch.tensor((images / 255 - mean) / std, dtype=torch.float32)

    for epoch in range(2):
        order = generator(0, "shuffle", epoch).permutation(101)
        model.train()
        loss_sum = num_correct = 0
        # 101 images in batches of 25: the last image joins the fourth batch, since batch norm needs two.
        for batch in (order[:25], order[25:50], order[50:75], order[75:]):
            logits = model(prepared(dataset.train.images[batch]))
            labels = torch.from_numpy(dataset.train.labels[batch])
            losses = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
            loss = (losses * counts[batch] / counts.mean() if is_weighted else losses).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(batch)
            num_correct += (logits.argmax(1) == labels).sum().item()
        model.eval()
        with torch.no_grad():
            logits = model(prepared(dataset.validation.images))
        labels = torch.from_numpy(dataset.validation.labels)
        assert records[epoch].train_loss == pytest.approx(loss_sum / 101, rel=1e-4)
        assert records[epoch].train_accuracy == pytest.approx(num_correct / 101)
        assert records[epoch].validation_loss == pytest.approx(
            F.cross_entropy(logits, labels).item(), rel=1e-4
        )
        assert records[epoch].num_validation_correct == (logits.argmax(1) == labels).sum().item()
    for ours, theirs in zip(loop.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_every_image_is_seen_once_an_epoch():
    loop = make_loop(make_dataset(num_train=53), training__batch_size=20, training__epochs=1)
    steps = [record for record in loop if isinstance(record, StepRecord)]
    assert [record.num_images for record in steps] == [20, 20, 13]
    assert [(record.step, record.num_steps) for record in steps] == [(1, 3), (2, 3), (3, 3)]


def test_gradients_are_clipped_to_their_norm():
    model = make_model()
    before = [parameter.clone() for parameter in model.parameters()]
    loop = make_loop(
        model=model,
        optimizer__name="sgd",
        optimizer__momentum=0.0,
        optimizer__lr=1.0,
        optimizer__clip_norm=1e-3,
    )
    next(iter(loop))
    moved = [(a - b).detach().norm().item() for a, b in zip(model.parameters(), before, strict=True)]
    assert math.hypot(*moved) == pytest.approx(1e-3, rel=1e-2)


def test_learning_rate_follows_the_schedule():
    loop = make_loop(optimizer__schedule="linear", optimizer__lr=0.1, training__epochs=2)
    assert [record.lr for record in epochs_of(loop)] == pytest.approx([0.1 * 5 / 8, 0.1 * 1 / 8])


def test_seed_decides_everything():
    first, again, other = (epochs_of(make_loop(seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("num_steps_before", [1, 3, 4, 6])
def test_a_loaded_state_goes_on_to_the_same_bytes(num_steps_before):
    options = {
        "augment__rotation": 10.0,
        "augment__hue": 0.1,
        "model__name": "ResNet",
        "training__epochs": 3,
        "optimizer__schedule": "onecycle",
    }
    whole = make_loop(**options)
    records = epochs_of(whole)
    stopped = make_loop(**options)
    for record in stopped:
        num_steps_before -= isinstance(record, StepRecord)
        if num_steps_before == 0:
            break
    assert_goes_on_to_the_same_bytes(stopped, make_loop(**options), whole, records)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
def test_channels_last_goes_on_to_the_same_bytes(optimizer):
    options = {"layout": "channels_last", "optimizer__name": optimizer, "optimizer__lr": 0.01}

    def begun():
        torch.manual_seed(1)
        convolutions = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU()
        return make_loop(model=nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(80, 3)), **options)

    whole, stopped = begun(), begun()
    records = epochs_of(whole)
    iterator = iter(stopped)
    next(iterator), next(iterator)
    assert_goes_on_to_the_same_bytes(stopped, begun(), whole, records)


def test_a_state_replaces_what_the_same_loop_has_trained_since():
    records = epochs_of(make_loop())
    loop = make_loop()
    steps = iter(loop)
    next(steps)
    tensors, rest = loop.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    next(steps)
    loop.load_state(tensors, rest)
    assert epochs_of(loop) == records


def assert_goes_on_to_the_same_bytes(stopped, resumed, whole, records):
    tensors, rest = stopped.state()
    # As a file gives them back: the order of memory is lost.
    resumed.load_state({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, rest)
    assert epochs_of(resumed)[-1] == records[-1]
    assert resumed.history == records
    for ours, theirs in zip(
        resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_stops_when_patience_is_spent():
    loop = make_loop(training__epochs=20, training__patience=2, optimizer__lr=1e-12, training__min_delta=0.5)
    records = epochs_of(loop)
    assert [record.is_best for record in records] == [True, False, False]
    assert loop.finished
    assert loop.stopped_early


def test_the_last_weights_are_kept_where_that_is_asked_for():
    settings = {"optimizer__lr": 0.5, "training__epochs": 4}  # too long steps: the loss rises again
    best, last = (epochs_of(make_loop(training__keep=keep, **settings)) for keep in ("best", "last"))
    assert [record.is_best for record in last] == [True] * 4
    assert not best[-1].is_best
    assert [record.validation_loss for record in last] == [record.validation_loss for record in best]


def test_a_loss_that_is_not_finite_ends_the_run_with_advice():
    loop = make_loop(optimizer__name="sgd", optimizer__lr=1e30)
    with pytest.raises(DivergedError, match=r"became .* in epoch 1.*lower optimizer\.lr"):
        epochs_of(loop)
    with pytest.raises(DivergedError):
        loop.state()


def test_evaluation_leaves_no_trace_in_training():
    """Dropout is off in validation and on again in the next epoch."""
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 3))
    for record in make_loop(model=model):
        assert model.training == isinstance(record, StepRecord) or isinstance(record, EpochRecord)
    assert model.training


def test_batch_norm_is_measured_as_it_is_used():
    """Behind dropout the statistics of training are wrong; the measured ones make validation see unit variance."""
    dataset = make_dataset(num_train=600)
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(192), nn.Linear(192, 3))
    weights = {}
    for num_images in (0, 600):
        loop = make_loop(
            dataset,
            copy.deepcopy(model),
            training__batch_norm_images=num_images,
            training__epochs=12,
            optimizer__lr=1e-3,
        )
        epochs_of(loop)
        norm = loop.model[3]
        pixels = torch.from_numpy(dataset.train.images)
        reached = Preprocessing.fit(dataset)(pixels).flatten(1).relu()
        if num_images:
            torch.testing.assert_close(norm.running_mean, reached.mean(0), rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(norm.running_var, reached.var(0), rtol=0.02, atol=0.02)
        else:
            assert (norm.running_var > 1.3 * reached.var(0)).float().mean() > 0.9
        assert norm.momentum == 0.1
        weights[num_images] = loop.model[4].weight
    assert torch.equal(weights[0], weights[600])


FAST = {
    "optimizer__name": "muon",
    "optimizer__lr": 0.2,
    "optimizer__momentum": 0.85,
    "optimizer__bias_factor": 10.0,
    "optimizer__schedule": "linear",
    "augment__horizontal_flip": 0.5,
    "augment__alternate_flips": True,
    "augment__shift_px": 1,
    "training__averaging_epochs": 0.7,
    "training__low_resolution": [[0.5, 0.75]],
    "training__batch_norm_images": 50,
    "training__epochs": 3,
}


@pytest.mark.parametrize("num_records", [2, 5, 8])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_all_that_is_fast_goes_on_to_the_same_bytes(num_records, layout):
    def begun():
        return make_loop(make_dataset(side=12), make_fastnet(), layout, **FAST)

    whole, stopped = begun(), begun()
    records = epochs_of(whole)
    for _ in zip(range(num_records), stopped, strict=False):
        pass
    resumed = begun()
    assert_goes_on_to_the_same_bytes(stopped, resumed, whole, records)
    ours, theirs = resumed.validated_model.state_dict(), whole.validated_model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not torch.equal(ours["head.weight"], resumed.model.state_dict()["head.weight"])


def test_the_average_is_that_of_a_plain_loop_and_is_what_is_validated():
    dataset = make_dataset()
    options = {"training__averaging_epochs": 0.75, "optimizer__lr": 0.01, "training__batch_norm_images": 101}
    loop = make_loop(dataset, **options)
    average, num_steps = None, 0
    for record in loop:
        if isinstance(record, EpochRecord):
            continue
        num_steps += 1
        weights = [parameter.detach().double().clone() for parameter in loop.model.parameters()]
        share = max(1 / num_steps, 1 / (0.75 * 101 / 25))
        average = average or weights
        average = [(1 - share) * old + share * new for old, new in zip(average, weights, strict=True)]
    for ours, expected in zip(loop.validated_model.parameters(), average, strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-6)
    # Batch norm is measured for the average, and validation is that of the average.
    mean = dataset.train.images.mean((0, 2, 3), keepdims=True) / 255
    std = dataset.train.images.std((0, 2, 3), keepdims=True) / 255
    train, validation = (
        torch.tensor((split.images / 255 - mean) / std, dtype=torch.float32)
        for split in (dataset.train, dataset.validation)
    )
    model = loop.validated_model.eval()
    torch.testing.assert_close(model[3].running_mean, model[:3](train).mean(0), rtol=1e-3, atol=1e-3)
    loss = F.cross_entropy(model(validation), torch.from_numpy(dataset.validation.labels))
    assert loop.history[-1].validation_loss == pytest.approx(loss.item(), rel=1e-4)
    plain = make_loop(dataset, **options | {"training__averaging_epochs": 0})
    epochs_of(plain)
    assert plain.validated_model is plain.model
    assert all(map(torch.equal, plain.model.parameters(), loop.model.parameters()))
    assert plain.history[-1].validation_loss != loop.history[-1].validation_loss


def test_a_network_is_told_how_much_is_done():
    told = []

    class Told(nn.Sequential):
        def advance(self, done):
            told.append(done)

    loop = make_loop(model=Told(*make_model()), training__batch_size=51)
    list(loop)
    assert told == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("batch_norm_images", [0, 50])
@pytest.mark.parametrize(("part", "step"), [(0.2, 1), (0.5, 3), (0.8, 4)])
def test_validating_within_the_first_epoch_changes_nothing_of_what_follows(part, step, batch_norm_images):
    options = {"training__batch_norm_images": batch_norm_images, "training__batch_size": 20}
    plain, watched = make_loop(**options), make_loop(early=part, **options)
    records = list(watched)
    early = [record for record in records if isinstance(record, EarlyRecord)]
    assert [record.epoch for record in early] == [part]
    assert records[records.index(early[0]) - 1].step == step
    assert early[0].num_validation == 30
    assert early[0].validation_loss != watched.history[0].validation_loss
    assert [record for record in records if not isinstance(record, EarlyRecord)] == list(plain)
    same_tensors = zip(plain.model.state_dict().values(), watched.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same_tensors)


def test_left_there_it_goes_on_as_if_nobody_had_looked():
    whole = make_loop()
    history = epochs_of(whole)
    left = make_loop(early=0.5)
    for record in left:
        if isinstance(record, EarlyRecord):
            break
    for part in (0.5, None):  # asked again for the same moment it says the same
        resumed = make_loop(early=part)
        resumed.load_state(*copy.deepcopy(left.state()))
        records = list(resumed)
        assert [other for other in records if isinstance(other, EarlyRecord)] == ([record] if part else [])
        assert [other for other in records if isinstance(other, EpochRecord)] == history


def test_a_part_that_is_within_the_last_step_is_the_whole_epoch():
    assert not [record for record in make_loop(early=0.99) if isinstance(record, EarlyRecord)]
