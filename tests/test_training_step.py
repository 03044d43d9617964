"""Steps that are recorded and played back, on a CPU that does as a CUDA graph does, against the usual steps.

A recording holds what a CUDA graph holds: which operators ran, on which tensors, with which numbers. Recording
changes nothing, and playing runs the same operators on the same memory again.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import kilnet
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.models import FastNet
from kilnet.recipes.reading import load_config
from kilnet.training import step
from kilnet.training.loop import TrainingLoop
from kilnet.training.step import RecordedStep, TrainStep
from small_loops import make_dataset


class Graph(TorchDispatchMode):
    """The operators of a function, and what they wrote over."""

    def __init__(self):
        super().__init__()
        self.calls, self._before = [], {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert func is not torch.ops.aten._local_scalar_dense.default, "a GPU would have to be waited for"
        # Of all: batch norm changes its statistics and does not say so.
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                self._before.setdefault(id(tensor), (tensor, tensor.detach().clone()))
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, result))
        return result

    def undo(self):
        with torch.no_grad():
            for tensor, value in reversed(list(self._before.values())):
                tensor.copy_(value)

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, result in self.calls:
            for old, new in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Recorder:
    """Stands where CudaRecorder stands."""

    def __init__(self):
        self.num_recorded = self.num_played = 0

    def __call__(self, function):
        with Graph() as graph:
            results = function()
        graph.undo()
        self.num_recorded += 1

        def play():
            self.num_played += 1
            graph.replay()
            return results

        return play


class Idle(Recorder):
    """A recorder whose recordings do nothing."""

    def __call__(self, function):
        super().__call__(function)

        def idle():
            self.num_played += 1
            return torch.tensor(1.0), torch.tensor(1)

        return idle


class Failing(Recorder):
    def __call__(self, function):
        self.num_recorded += 1
        raise RuntimeError("operation not permitted when stream is capturing")


class FailingAt(Recorder):
    """A recorder whose recordings fail when played for the n-th time, after they have moved the weights."""

    def __init__(self, number, error):
        super().__init__()
        self.number, self.error = number, error

    def __call__(self, function):
        play = super().__call__(function)

        def playing():
            results = play()
            if self.num_played == self.number:
                raise self.error
            return results

        return playing


class Spoiling(Recorder):
    """A recorder whose recordings give a loss that is not finite, and else what they should."""

    def __call__(self, function):
        play = super().__call__(function)
        return lambda: (play()[0] * float("nan"), torch.tensor(1))


class HalfRecording(Recorder):
    """A recorder that fails when the function has run, as one does that cannot hold it."""

    def __call__(self, function):
        self.num_recorded += 1
        function()
        raise MemoryError


class Dropping(nn.Module):
    """Batch norm and dropout, whose mask depends on the seed of the step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(144, 3),
        )

    def forward(self, x):
        return self.layers(x)


def fast_net():
    torch.manual_seed(1)
    return FastNet([6, 8, 8], image_shape=(3, 16, 16), num_classes=3)


def loop_of(model, side, **settings):
    """A loop over 103 images, in batches of 20 and a last one of 3."""
    options = {"training.batch_size": 20, "training.epochs": 8, "training.averaging_epochs": 0.5}
    options |= {name.replace("__", "."): value for name, value in settings.items()}
    dataset = make_dataset(num_train=103, side=side)
    hardware = Settings("cpu", "fp32", "contiguous", 1)
    return TrainingLoop(model, dataset, load_config(settings=options), Preprocessing.fit(dataset), hardware)


def recorded_loop_of(recorder, model, side, **settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "CudaRecorder", lambda device: recorder)
        patch.setattr(Settings, "records_steps", True)
        loop = loop_of(model, side, **settings)
    assert isinstance(loop._step, RecordedStep)
    return loop


def weights_after(loop):
    """Train to the end, eight epochs; return all weights and statistics, also of the average, in one vector."""
    list(loop)
    assert len(loop.history) == 8
    states = [loop.model.state_dict(), loop.validated_model.state_dict()]
    return torch.cat([tensor.double().flatten() for state in states for tensor in state.values()])


MUON = {"optimizer__name": "muon", "optimizer__lr": 0.1, "optimizer__schedule": "linear"}


@pytest.mark.parametrize(
    ("make", "side", "settings", "num_recorded"),
    [
        (Dropping, 8, {"optimizer__schedule": "linear", "optimizer__clip_norm": 1.0}, 2),
        (Dropping, 8, {"optimizer__name": "sgd", "optimizer__lr": 0.05, "optimizer__momentum": 0.9}, 2),
        # Until 0.375 at half the side with biases that learn, of which the last batch is seen three times; then 2 more.
        (fast_net, 16, MUON | {"training__low_resolution": [[0.375, 0.5]]}, 3),
    ],
)
def test_playing_trains_as_the_usual_steps_do(make, side, settings, num_recorded):
    """Through schedules, resolutions, parameters that stop learning, last batches and drawn masks."""
    recorder = Recorder()
    loop = recorded_loop_of(recorder, make(), side, **settings)
    played, usual = weights_after(loop), weights_after(loop_of(make(), side, **settings))
    torch.testing.assert_close(played, usual, rtol=1e-5, atol=1e-6)
    assert loop._step.is_trusted
    assert loop.notes == []
    assert recorder.num_recorded == num_recorded
    steps_as_usual = 1 + 3 * (num_recorded + (make is fast_net))
    assert recorder.num_played == 8 * 6 - steps_as_usual + 1  # one was played, undone and taken again


@pytest.mark.parametrize(
    ("recorder", "num_played", "reason"),
    [
        (Idle(), 1, "played back, it gave another result than the plain one"),
        (Spoiling(), 1, "played back, it gave another result than the plain one"),
        (Failing(), 0, "RuntimeError: operation not permitted when stream is capturing"),
        (HalfRecording(), 0, "MemoryError: no message"),
        (FailingAt(1, ValueError("first\nsecond")), 1, "ValueError: first"),
        (FailingAt(10, RuntimeError("CUDA error")), 10, "RuntimeError: CUDA error"),
    ],
)
def test_after_any_failure_all_steps_are_plain_and_one_line_says_so(recorder, num_played, reason):
    loop = recorded_loop_of(recorder, Dropping(), 8)
    weights = weights_after(loop)
    torch.testing.assert_close(weights, weights_after(loop_of(Dropping(), 8)), rtol=1e-5, atol=1e-6)
    assert loop._step.is_trusted is False
    assert recorder.num_recorded == 1
    assert recorder.num_played == num_played
    assert loop.notes == [f"training continues with plain steps, since a recorded step failed: {reason}"]


def test_the_user_reads_the_line_once(tmp_path, capsys):
    hardware = {"device": "cpu", "precision": "fp32", "layout": "contiguous", "threads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "CudaRecorder", lambda device: Failing())
        patch.setattr(Settings, "records_steps", True)
        kilnet.train(
            make_dataset(side=16),
            epochs=3,
            settings={"training.batch_size": 20}
            | {f"hardware.{key}": value for key, value in hardware.items()},
            out=tmp_path / "run",
        )
    lines = [line for line in capsys.readouterr().err.splitlines() if "plain steps" in line]
    assert lines == [
        "training continues with plain steps, since a recorded step failed: "
        "RuntimeError: operation not permitted when stream is capturing"
    ]


def test_losses_and_counts_of_a_step_are_not_overwritten_by_the_next():
    recorder = Recorder()
    loop = recorded_loop_of(recorder, Dropping(), 8)
    usual = loop_of(Dropping(), 8)
    for own in (loop, usual):
        weights_after(own)
    losses = [[record.train_loss for record in own.history] for own in (loop, usual)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    accuracies = [[record.train_accuracy for record in own.history] for own in (loop, usual)]
    assert accuracies[0] == accuracies[1]


def test_a_run_that_is_loaded_goes_on_as_one_that_never_stopped():
    whole = recorded_loop_of(Recorder(), fast_net(), 16, **MUON)
    expected = weights_after(whole)
    first = recorded_loop_of(Recorder(), fast_net(), 16, **MUON)
    records = iter(first)
    while len(first.history) < 5:
        next(records)
    state = first.state()
    second = recorded_loop_of(Recorder(), fast_net(), 16, **MUON)
    second.load_state(*state)
    torch.testing.assert_close(weights_after(second), expected, rtol=1e-4, atol=1e-5)


def test_a_network_of_ones_own_is_not_recorded():
    """It may toss a coin in Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "records_steps", True)
        loop = loop_of(Dropping(), 8, model__name="test_recorded_step:Dropping")
    assert isinstance(loop._step, step.TrainStep)
    assert not any(isinstance(group["lr"], torch.Tensor) for group in loop._optimizer.param_groups)


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", False), ("mps", False), ("cuda", True), ("cuda:1", True)]
)
def test_cuda_devices_alone_record(device, expected):
    assert Settings(device, "bf16", "channels_last", 1).records_steps is expected


def test_a_teachers_part_of_the_loss_is_hintons():
    """By hand: (1 - w) cross-entropy with labels + w T^2 Kullback-Leibler divergence at temperature T."""
    settings = {"training.teacher_weight": 0.3, "training.temperature": 4.0, "parent": "teacher"}
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    train = TrainStep(
        model, optimizer, load_config(settings=settings), Settings("cpu", "fp32", "contiguous", 1)
    )
    stream = torch.Generator().manual_seed(0)
    images, answers = torch.randn(5, 3, 2, 2, generator=stream), torch.randn(5, 3, generator=stream)
    labels = torch.tensor([0, 1, 2, 1, 0])
    shares = torch.nn.functional.one_hot(labels, 3).float()
    loss, num_correct = train(images, torch.cat([shares, (answers / 4).softmax(1)], 1), 0)
    logits = model(images).detach().double()
    theirs, ours = (answers.double() / 4).softmax(1), (logits / 4).softmax(1)
    divergence = (theirs * (theirs / ours).log()).sum(1).mean()
    own = -logits.log_softmax(1)[torch.arange(5), labels].mean()
    assert float(loss) == pytest.approx(float(0.7 * own + 0.3 * 16 * divergence), rel=1e-5)
    assert int(num_correct) == int((logits.argmax(1) == labels).sum())
    plain, _ = train(images, labels, 0)
    mixed, _ = train(images, shares, 0)
    assert float(plain) == pytest.approx(float(mixed), rel=1e-6)
