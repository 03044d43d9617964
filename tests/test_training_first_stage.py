"""A pretrained network begins with its last layer fitted, which counts as epoch 0."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import kilnet
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import ConfigError
from kilnet.hardware import Settings
from kilnet.inference import feature_pass
from kilnet.models import EfficientNetLite

SETTINGS = {
    "model.name": "EfficientNetLite",
    "augment.horizontal_flip": 0.5,
    "training.epochs": 2,
    "training.batch_size": 20,
    "training.frozen": "statistics",
    "optimizer.lr": 1e-4,
    "hardware.device": "cpu",
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.threads": 1,
}


def make_dataset():
    random = np.random.default_rng(0)

    def split(num_images):
        labels = np.arange(num_images) % 2
        images = random.integers(0, 150, (num_images, 3, 32, 32)) + 90 * labels[:, None, None, None]
        return Split(images.astype(np.uint8), labels.astype(np.int64), tuple(map(str, range(num_images))))

    return ImageDataset("made", ("dark", "light"), split(40), split(20), split(20))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "theirs.safetensors"
    network = EfficientNetLite(image_shape=(3, 32, 32), num_classes=7).train()
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    network(torch.randn(64, 3, 32, 32))  # or its features would hardly differ
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def train(folder, weights, **settings):
    own = {"model.weights": str(weights)}
    return kilnet.train(make_dataset(), settings=SETTINGS | own | settings, out=folder, progress=False)


def test_features_alone_end_the_run_with_epoch_0(tmp_path, weights, cache):
    run = train(tmp_path / "run", weights, **{"training.frozen": "features"})
    assert [record.epoch for record in run.history] == [0]
    assert run.finished
    assert run.history[0].is_best
    assert run.history[0].train_accuracy >= 0.85  # the network is random, dark and light are easy
    kept = run.classifier.model.state_dict()
    network = EfficientNetLite(image_shape=(3, 32, 32), num_classes=2)
    theirs = kilnet.models.pretrained._read_file(weights)
    assert all(
        torch.equal(kept[name], theirs[name]) for name in network.state_dict() if not name.startswith("fc.")
    )
    (features,) = (cache / "features").iterdir()
    before = features.stat().st_mtime_ns
    again = train(tmp_path / "again", weights, **{"training.frozen": "features"})
    assert features.stat().st_mtime_ns == before
    assert again.history == run.history
    assert (tmp_path / "again" / "weights.safetensors").read_bytes() == (
        tmp_path / "run" / "weights.safetensors"
    ).read_bytes()


def first_stage(weights, most=None):
    """Return how many features were computed, and what came of them."""
    from kilnet.training.first_stage import fit_first
    from kilnet.training.initial_model import initial_model, preprocessing_for
    from kilnet.verbs.request import requested

    dataset = make_dataset()
    config = requested("photos", None, None, SETTINGS | {"model.weights": str(weights)}, None, 0, None)
    config = config.model_copy(update={"model": kilnet.models.complete(config.model)})
    preprocessing = preprocessing_for(config, dataset)
    model = initial_model(config, dataset, preprocessing, False, frozenset())
    settings = Settings("cpu", "fp32", "contiguous", 1)
    records = fit_first(
        model, dataset, preprocessing, settings, most=most, validated=None if most else dataset.validation
    )
    num_computed = 0
    while True:
        try:
            num_computed += next(records).num_images
        except StopIteration as end:
            return num_computed, end.value


def newest_in(cache):
    return max((cache / "features").iterdir(), key=lambda path: path.stat().st_mtime_ns).read_bytes()


def test_features_in_parts_are_those_of_all_at_once(weights, cache, monkeypatch):
    some, _ = first_stage(weights, 10)
    assert 10 <= some < 40
    others, _ = first_stage(weights)
    assert some + others == 40
    in_parts = newest_in(cache)
    monkeypatch.setattr(feature_pass, "VERSION", feature_pass.VERSION + 1)  # with other values
    again, _ = first_stage(weights)
    assert again == 40
    assert newest_in(cache) == in_parts


def test_a_first_stage_that_is_there_is_not_repeated_and_changes_no_byte(tmp_path, weights, monkeypatch):
    _, first = first_stage(weights)
    machine = SlowNetwork(monkeypatch, 0.01)
    machine.runs = True
    for name, given in (("whole", None), ("continued", first)):
        monkeypatch.setenv("KILNET_CACHE", str(tmp_path / name / "cache"))
        machine.num_seen = 0
        session = session_by_clock(
            tmp_path / name / "run", weights, machine, "60s", first=given, **{"training.frozen": "features"}
        )
        for _ in session:
            pass
        assert machine.num_seen == (0 if given else 60)
    for file in ("history.csv", "weights.safetensors"):
        whole, continued = ((tmp_path / name / "run" / file).read_bytes() for name in ("whole", "continued"))
        assert whole == continued


def test_a_damaged_file_of_features_is_made_again(tmp_path, weights, cache):
    run = train(tmp_path / "run", weights, **{"training.frozen": "features"})
    (features,) = (cache / "features").iterdir()
    content = bytearray(features.read_bytes())
    content[len(content) // 2] ^= 1
    features.write_bytes(content)
    again = train(tmp_path / "again", weights, **{"training.frozen": "features"})
    assert again.history == run.history
    assert features.read_bytes() != content


def test_fine_tuning_follows_and_leaves_the_statistics(tmp_path, weights):
    run = train(tmp_path / "run", weights, **{"training.keep": "last"})
    assert [record.epoch for record in run.history] == [0, 1, 2]
    kept, theirs = run.classifier.model.state_dict(), kilnet.models.pretrained._read_file(weights)
    assert torch.equal(kept["stem.norm.running_mean"], theirs["stem.norm.running_mean"])
    assert not torch.equal(kept["stem.conv.weight"], theirs["stem.conv.weight"])


@pytest.mark.slow
def test_a_run_that_was_stopped_at_any_record_ends_with_the_same_bytes(tmp_path, weights):
    from kilnet.training.session import TrainingSession

    whole = train(tmp_path / "whole", weights)
    config = whole.config.model_copy(
        update={"training": whole.config.training.model_copy(update={"checkpoint_seconds": 1e-9})}
    )
    compared = []
    for num_records in (1, 3, 4, 6):
        folder = tmp_path / f"stopped-{num_records}"
        records = iter(TrainingSession(make_dataset(), config, folder))
        for _ in range(num_records):
            next(records)
        records.close()
        resumed = TrainingSession(make_dataset(), config, folder)
        for _ in resumed:
            pass
        compared += resumed.loop.notes
        for name in ("history.csv", "weights.safetensors"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), num_records

    assert len(compared) == 4
    assert set(compared) == {compared[0]}
    assert "features alone" in compared[0]


@pytest.mark.slow
def test_what_is_kept_is_compared_with_features_alone_image_by_image(tmp_path, weights):
    from kilnet.training.session import TrainingSession
    from kilnet.verbs.request import requested

    settings = SETTINGS | {"model.weights": str(weights), "training.epochs": 1}

    def told(keep, lr):
        own = settings | {"training.keep": keep, "optimizer.lr": lr}
        config = requested("photos", None, None, own, None, 0, None)
        session = TrainingSession(make_dataset(), config, tmp_path / f"{keep}-{lr}")
        for _ in session:
            pass
        (line,) = session.loop.notes
        return line, [record.is_best for record in session.loop.history]

    assert "0 validation images turned right and 0 wrong; so few cannot tell" in told("last", 1e-9)[0]
    assert "turned right and" in told("last", 0.3)[0]
    line, is_best = told("best", 1e-9)
    assert "no better on validation than features alone, which are kept" in line
    assert is_best == [True, False]


@pytest.mark.slow
def test_a_finetuned_run_begins_with_its_parent_and_fits_nothing(tmp_path, weights):
    parent = train(tmp_path / "run", weights, **{"training.frozen": "features"})
    child = kilnet.finetune(
        parent,
        epochs=1,
        data=make_dataset(),
        out=tmp_path / "child",
        progress=False,
        settings={"training.frozen": "statistics"},
    )
    assert [record.epoch for record in child.history] == [1]
    assert child.config.parent


def test_random_features_are_not_frozen(tmp_path):
    with pytest.raises(ConfigError, match=r"frozen='features'.*ResNet"):
        kilnet.train(
            make_dataset(),
            settings=SETTINGS | {"model.name": "ResNet", "training.frozen": "features"},
            out=tmp_path / "run",
            progress=False,
        )
    assert not (tmp_path / "run").exists()


class SlowNetwork:
    """A clock that runs only while networks compute: seconds for each image, at a load that may change."""

    def __init__(self, monkeypatch, seconds, load=lambda now: 1.0):
        self.now, self.num_seen, self.runs = 0.0, 0, False
        features = EfficientNetLite.features

        def slow(network, images):
            if self.runs and len(images) > 2:  # two alone verify that joined layers see the same
                work = 3.5 if network.training else 1.0
                self.now += seconds * work * load(self.now) * len(images)
                self.num_seen += len(images)
            return features(network, images)

        monkeypatch.setattr(EfficientNetLite, "features", slow)

    def clock(self):
        return self.now


def session_by_clock(folder, weights, machine, budget, first=None, spent=0.0, **settings):
    from kilnet.training.session import TrainingSession
    from kilnet.verbs.request import requested

    own = SETTINGS | {"model.weights": str(weights)} | settings
    del own["training.epochs"]
    config = requested("photos", None, None, own, None, 0, None, budget)
    started = machine.clock() - spent
    return TrainingSession(make_dataset(), config, folder, started, machine.clock, stage=first)


def test_a_first_stage_is_a_result_where_no_time_is_left_to_tune(tmp_path, weights, monkeypatch):
    machine = SlowNetwork(monkeypatch, 0.01)
    with pytest.raises(ConfigError, match="too short"):
        session_by_clock(tmp_path / "run", weights, machine, "20s", spent=100.0)
    _, first = first_stage(weights)
    session = session_by_clock(tmp_path / "run", weights, machine, "20s", first=first, spent=100.0)
    for _ in session:
        pass
    assert [record.epoch for record in session.loop.history] == [0]
    assert session.config.training.frozen == "features"


@pytest.mark.parametrize(
    ("frozen", "seconds"),
    [("features", 0.1), ("features", 0.3), pytest.param("statistics", 0.02, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("load", [lambda _: 1.0, lambda now: 3.0 if now > 8 else 1.0])
def test_a_budget_is_kept_however_slow_the_network_is(tmp_path, weights, monkeypatch, frozen, seconds, load):
    machine = SlowNetwork(monkeypatch, seconds, load)
    session = session_by_clock(tmp_path / "run", weights, machine, "20s", **{"training.frozen": frozen})
    machine.runs = True
    for _ in session:
        pass
    assert machine.now <= 20 * 1.05 + 2
    assert session.loop.history[0].epoch == 0
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def test_what_there_was_no_time_for_is_computed_next_time(tmp_path, weights, monkeypatch):
    machine = SlowNetwork(monkeypatch, 0.5)
    num_computed = []
    for name, budget in (("short", "30s"), ("long", "2m")):
        machine.now, machine.num_seen, machine.runs = 0.0, 0, False
        session = session_by_clock(
            tmp_path / name, weights, machine, budget, **{"training.frozen": "features"}
        )
        machine.runs = True
        for _ in session:
            pass
        num_computed.append(machine.num_seen)
    num_computed[0] -= 20  # to validate, once for both
    assert 16 <= num_computed[0] < 40
    assert sum(num_computed) == 40
