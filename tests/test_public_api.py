import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import kilnet
from kilnet.errors import DataError, InputError, RunFolderError

pytestmark = pytest.mark.usefixtures("no_figures")

TINY = {
    "model.c1": 4,
    "model.c2": 8,
    "model.l1": 16,
    "hardware.device": "cpu",
    "hardware.threads": 1,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
}


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def stripes(num_images, size=16, seed=0):
    """Pairs that a network tells apart at once: horizontal stripes are 0, vertical ones 1."""
    random = np.random.default_rng(seed)
    pairs = []
    for index in range(num_images):
        pixels = random.integers(0, 80, (size, size))
        pixels[:: 2 if index % 2 == 0 else 1, :: 1 if index % 2 == 0 else 2] += 150
        pairs.append((Image.fromarray(pixels.astype(np.uint8)), index % 2))
    return pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    threads = torch.get_num_threads()
    yield kilnet.train(
        stripes(200),
        epochs=3,
        out=tmp_path_factory.mktemp("runs") / "stripes",
        settings={**TINY, "training.batch_size": 16},
        progress=False,
    )
    torch.set_num_threads(threads)


def test_public_names():
    assert kilnet.__all__ == [
        "Classifier",
        "ConfigNet",
        "ConvNet",
        "EarlyStopping",
        "Evaluation",
        "FastNet",
        "HyperSearch",
        "ImageDataset",
        "Inspection",
        "Prediction",
        "Predictor",
        "ResNet",
        "Run",
        "RunComparison",
        "Search",
        "Split",
        "adopt_dataset",
        "compare",
        "evaluate",
        "export",
        "finetune",
        "inspect",
        "inspect_data",
        "load",
        "plots",
        "predict",
        "promote",
        "report",
        "serve",
        "show",
        "train",
        "tune",
    ]
    for name in kilnet.__all__:
        assert getattr(kilnet, name).__doc__, name
    assert set(kilnet.__all__) <= set(dir(kilnet))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = kilnet.trian


def test_importing_kilnet_does_not_import_torch():
    assert python("import sys, kilnet; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))") == "[]\n"


def test_pairs_are_trained_evaluated_and_used_in_five_lines(run):
    evaluation = kilnet.evaluate(run, data=stripes(200), progress=False)
    classifier = kilnet.load(run)
    new = np.stack([np.asarray(image)[None] for image, _ in stripes(20, seed=1)])
    assert run.finished
    assert [record.epoch for record in run.history] == [1, 2, 3]
    assert run.best.validation_accuracy > 0.9
    assert (evaluation.split, evaluation.num_images) == ("test", 40)
    assert evaluation.accuracy > 0.9
    assert np.mean([name == str(i % 2) for i, name in enumerate(classifier.predict(new))]) > 0.9


def test_the_numbers_of_an_evaluation_are_those_of_the_loaded_network(run):
    data = kilnet_dataset(stripes(60, seed=2))
    evaluation = kilnet.evaluate(run, "all", data=data, progress=False)
    images = data.split("all")
    predictions = kilnet.load(run).predict(images.images)
    num_correct = sum(int(name) == label for name, label in zip(predictions, images.labels, strict=True))
    assert (evaluation.num_images, evaluation.num_correct) == (60, num_correct)


def kilnet_dataset(pairs, classes=("0", "1")):
    images = np.stack([np.asarray(image)[None] for image, _ in pairs])
    labels = np.array([label for _, label in pairs])
    names = tuple(map(str, range(len(pairs))))
    cuts = (slice(0, -20), slice(-20, -10), slice(-10, None))
    return kilnet.ImageDataset(
        "mine", classes, *(kilnet.Split(images[cut], labels[cut], names[cut]) for cut in cuts)
    )


def test_own_dataset_is_evaluated_on_its_test_split_and_other_data_on_all(tmp_path):
    data = kilnet_dataset(stripes(80))
    run = kilnet.train(data, epochs=1, out=tmp_path / "run", settings=TINY, progress=False)
    assert (run.num_validation, kilnet.load(run).classes) == (10, ("0", "1"))
    evaluation = kilnet.evaluate(run, data=data, progress=False)
    assert (evaluation.split, evaluation.num_images) == ("test", 10)
    other = kilnet_dataset(stripes(60, seed=5))
    evaluation = kilnet.evaluate(str(run.folder), data=other, progress=False)
    assert (evaluation.split, evaluation.num_images) == ("mine all", 60)
    with pytest.raises(InputError, match="does not know cat, dog"):
        kilnet.evaluate(run, data=kilnet_dataset(stripes(60), ("cat", "dog")), progress=False)
    with pytest.raises(DataError, match="16"):
        kilnet.evaluate(run, data=kilnet_dataset(stripes(60, size=20)), progress=False)


def test_classes_of_other_data_are_matched_by_name(run):
    pairs = stripes(60)
    straight = kilnet.evaluate(run, "all", data=kilnet_dataset(pairs), progress=False)
    swapped = [(image, 1 - label) for image, label in pairs]
    turned = kilnet.evaluate(run, "all", data=kilnet_dataset(swapped, ("1", "0")), progress=False)
    assert turned.classes == straight.classes
    np.testing.assert_array_equal(turned.confusion, straight.confusion)


def test_training_never_reads_the_test_split(tmp_path, monkeypatch):
    data = kilnet_dataset(stripes(80))

    def refuse(_):
        pytest.fail("the test split was read")

    monkeypatch.setattr(kilnet.ImageDataset, "test", property(refuse))
    kilnet.train(data, epochs=1, out=tmp_path / "run", settings=TINY, progress=False)


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    def weights(name, seed):
        run = kilnet.train(
            stripes(80),
            epochs=1,
            seed=seed,
            out=tmp_path / name,
            settings={**TINY, "augment": "tutorial"},
            progress=False,
        )
        return (run.folder / "weights.safetensors").read_bytes()

    assert weights("a", 1) == weights("b", 1) != weights("c", 2)


def test_same_call_again_finds_the_finished_run(run):
    before = {path: path.read_bytes() for path in run.folder.glob("*.safetensors")}
    again = kilnet.train(
        stripes(200), epochs=3, out=run.folder, settings={**TINY, "training.batch_size": 16}, progress=False
    )
    assert again.history == run.history
    assert before == {path: path.read_bytes() for path in run.folder.glob("*.safetensors")}
    with pytest.raises(RunFolderError, match="seed: 0 -> 1"):
        kilnet.train(
            stripes(200),
            epochs=3,
            seed=1,
            out=run.folder,
            settings={**TINY, "training.batch_size": 16},
            progress=False,
        )


def test_default_folder_is_a_free_name_or_the_same_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def folder(seed):
        return kilnet.train(stripes(60), epochs=1, seed=seed, settings=TINY, progress=False).folder.as_posix()

    assert [folder(0), folder(1), folder(0)] == [
        "runs/list-ConfigNet",
        "runs/list-ConfigNet-2",
        "runs/list-ConfigNet",
    ]
