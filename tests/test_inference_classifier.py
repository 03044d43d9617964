import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.special import softmax

from kilnet import models
from kilnet.config import ModelConfig, ViewsConfig
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import DataError, InputError, RunFolderError
from kilnet.hardware import Settings
from kilnet.inference.classifier import Classifier, load_classifier, match_classes, save_classifier

RANDOM = np.random.default_rng(0)

CLASSES = ('a "quoted" name', "two\nlines", "größe 猫 🐈", "it's\\n")
SETTINGS = Settings("cpu", "fp32", "contiguous", 1)
PREPROCESSING = Preprocessing((0.1, 1 / 3, 0.7), (0.2, 0.30000000000000004, 1.0), (10, 12))
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 10, 12), np.uint8)


def make(seed=0):
    torch.set_num_threads(1)  # the last bits of the statistics depend on it
    torch.manual_seed(seed)
    config = models.complete(ModelConfig(c1=3, c2=4, l1=5))
    model = models.build(config, (3, 10, 12), len(CLASSES))
    model(torch.randn(8, 3, 10, 12))  # gives the batch norm statistics of its own
    return Classifier(model.eval(), config, CLASSES, PREPROCESSING, SETTINGS)


@pytest.fixture
def saved(tmp_path):
    save_classifier(tmp_path / "weights.safetensors", make(), {"epoch": 3})
    return tmp_path / "weights.safetensors"


def refusal(path):
    with pytest.raises(RunFolderError) as caught:
        load_classifier(path, SETTINGS)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_loaded_is_what_was_saved(saved):
    loaded, original = load_classifier(saved, SETTINGS), make()
    np.testing.assert_array_equal(loaded.logits(IMAGES), original.logits(IMAGES))
    assert loaded.classes == CLASSES
    assert loaded.preprocessing == PREPROCESSING
    assert loaded.model_config == original.model_config
    assert not loaded.model.training


def test_logits_are_the_networks_on_normalised_images():
    classifier = make()
    mean = np.array(PREPROCESSING.mean)[:, None, None]
    std = np.array(PREPROCESSING.std)[:, None, None]
    images = torch.from_numpy(((IMAGES / 255 - mean) / std).astype(np.float32))
    expected = classifier.model(images).detach().numpy()
    np.testing.assert_allclose(classifier.logits(IMAGES), expected, rtol=1e-4, atol=1e-5)
    exponentials = np.exp(expected - expected.max(1, keepdims=True))
    np.testing.assert_allclose(
        classifier.probabilities(IMAGES),
        exponentials / exponentials.sum(1, keepdims=True),
        rtol=1e-4,
        atol=1e-6,
    )
    assert classifier.predict(IMAGES) == [CLASSES[i] for i in expected.argmax(1)]


def test_views_are_kept_with_the_weights(tmp_path, saved):
    path, views = tmp_path / "views.safetensors", ViewsConfig(mirror=True, shift_px=1, margin=0.3)
    save_classifier(path, replace(make(), views=views), {"epoch": 3})
    loaded = load_classifier(path, SETTINGS)
    assert loaded.views == views
    assert not np.array_equal(loaded.logits(IMAGES), make().logits(IMAGES))
    assert load_classifier(saved, SETTINGS).views == ViewsConfig()
    with safe_open(saved, "pt") as file:
        assert "views" not in json.loads(file.metadata()["kilnet"])


def test_many_images_and_none():
    classifier = make()
    many = np.concatenate([IMAGES] * 120)  # several batches, the last one not full
    np.testing.assert_allclose(
        classifier.logits(many), np.tile(classifier.logits(IMAGES), (120, 1)), atol=1e-5
    )
    assert classifier.logits(IMAGES[:0]).shape == (0, len(CLASSES))
    assert classifier.predict(IMAGES[:0]) == []


def test_images_in_any_order_in_memory_and_read_only():
    classifier = make()
    flipped = IMAGES[:, :, ::-1]
    view = IMAGES.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    view.flags.writeable = False
    np.testing.assert_array_equal(classifier.logits(view), classifier.logits(IMAGES))
    np.testing.assert_array_equal(classifier.logits(flipped), classifier.logits(flipped.copy()))


@pytest.mark.parametrize(
    "images",
    [IMAGES.astype(np.float32), IMAGES[0], IMAGES[:, :1], IMAGES[:, :, :9], IMAGES.transpose(0, 2, 3, 1)],
    ids=["dtype", "one image", "channels", "height", "channels last"],
)
def test_images_that_do_not_fit_are_refused_with_what_does(images):
    with pytest.raises(DataError) as caught:
        make().logits(images)
    assert "uint8 images of shape (n, 3, 10, 12)" in str(caught.value)
    assert str(images.dtype) in str(caught.value)


def test_same_weights_give_the_same_bytes_in_every_process(saved, tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\n"
        "from test_inference_classifier import make, save_classifier\n"
        "save_classifier(Path(sys.argv[2]), make(), {'epoch': 3})\n"
    )
    other = tmp_path / "other.safetensors"
    here = __file__.rpartition("/")[0]
    subprocess.run(
        [sys.executable, "-c", code, here, other], check=True, env={**os.environ, "PYTHONHASHSEED": "7"}
    )
    assert other.read_bytes() == saved.read_bytes()
    save_classifier(other, make(seed=1), {"epoch": 3})
    assert other.read_bytes() != saved.read_bytes()


def test_weights_are_plain_safetensors(saved):
    with safe_open(saved, "pt") as file:
        description = json.loads(file.metadata()["kilnet"])
        assert set(file.keys()) == set(make().model.state_dict())
    assert tuple(description["classes"]) == CLASSES
    assert description["epoch"] == 3


def test_missing_file_says_who_writes_it(tmp_path):
    assert "kilnet train" in refusal(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("num_bytes", [0, 4, 100, -1])
def test_truncated_file(saved, num_bytes):
    saved.write_bytes(saved.read_bytes()[:num_bytes])
    refusal(saved)


def test_folder_in_place_of_the_file(tmp_path):
    refusal(tmp_path)


def test_safetensors_of_somebody_else(tmp_path):
    path = tmp_path / "weights.safetensors"
    for metadata in (None, {"format": "pt"}, {"kilnet": "not json"}, {"kilnet": "[]"}, {"kilnet": "{}"}):
        save_file({"w": torch.zeros(3)}, path, metadata)
        refusal(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", None),
        ("model", {"name": 3}),
        ("model", None),
        ("views", {"mirrored": True}),
        ("preprocessing", {"mean": [0.5], "std": [0.5]}),
        ("preprocessing", {"mean": [0.5], "std": [0.5], "image_size": [8]}),
    ],
)
def test_incomplete_description(saved, key, value):
    with safe_open(saved, "pt") as file:
        description = json.loads(file.metadata()["kilnet"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dictionary
    del description["checksum"]
    save_file(tensors, saved, {"kilnet": json.dumps({**description, key: value})})
    assert "description is incomplete" in refusal(saved)


def test_weights_of_another_network(saved):
    with safe_open(saved, "pt") as file:
        description = json.loads(file.metadata()["kilnet"])
    del description["checksum"]
    save_file({"w": torch.zeros(3)}, saved, {"kilnet": json.dumps(description)})
    assert "do not fit ConfigNet" in refusal(saved)


def test_nothing_in_the_file_is_executed(tmp_path):
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return marker.touch, ()

    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps(Payload()))
    refusal(path)
    torch.save({"w": Payload()}, path)
    refusal(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload()))
    assert marker.exists(), "the payload would have shown"


def test_match_classes_by_name():
    classifier = make()
    assert match_classes(classifier, (CLASSES[2], CLASSES[0])).tolist() == [2, 0]
    with pytest.raises(InputError, match="does not know dog, cow"):
        match_classes(classifier, ("dog", CLASSES[0], "cow"))


def test_classes_match_in_both_of_unicodes_normal_forms():
    classifier = replace(make(), classes=("e\u0301", "b", "c"))
    assert match_classes(classifier, ("b", "\u00e9")).tolist() == [1, 0]


def test_paths_pictures_and_arrays_are_the_same_picture(predictor, pictures):
    path = pictures / "b.png"
    picture = Image.open(path)
    upright = np.asarray(ImageOps.exif_transpose(picture))
    tensor = torch.from_numpy(upright.transpose(2, 0, 1).copy())
    ways = [str(path), picture, upright, tensor, upright.astype(np.float64) / 255]
    first, *others = predictor([path, *ways])
    assert first.name == str(path)
    for other in others:
        np.testing.assert_allclose(other.probabilities, first.probabilities, rtol=1e-5)
    np.testing.assert_allclose(predictor(picture).probabilities, first.probabilities, rtol=1e-5)
    batch = predictor(np.stack([upright, upright]))
    assert [p.label for p in batch] == [first.label] * 2
    assert predictor([]) == []


def test_probabilities_are_calibrated_and_classes_as_before(predictor):
    images = RANDOM.integers(0, 256, (5, *predictor.image_shape), np.uint8)
    for power in (1.0, 0.7):
        calibrated = replace(predictor, calibration=replace(predictor.calibration, power=power))
        logits = predictor.logits(images).astype(float)
        if power != 1:
            logits -= logits.mean(1, keepdims=True)
        scaled = np.sign(logits) * np.abs(logits) ** power / predictor.calibration.temperature
        np.testing.assert_allclose(calibrated.probabilities(images), softmax(scaled, axis=1), rtol=1e-5)
        assert calibrated.predict(images) == [p.label for p in calibrated(list(images))]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        ("gone.png", "gone.png: cannot be read"),
        (np.zeros((4, 4, 7), np.uint8), "picture 0: shape"),
        (np.full((4, 4), 3.0), "picture 0: pixels from 3 to 3"),
        (7, "picture 0"),
    ],
)
def test_what_is_no_picture_is_named(predictor, picture, reason):
    with pytest.raises(DataError, match=reason):
        predictor(picture)


def test_cut_file_opened_by_pillow_is_refused(predictor, pictures):
    with (
        Image.open(pictures / "z.jpg") as picture,
        pytest.raises(DataError, match="picture 1: damaged or cut short"),
    ):
        predictor([pictures / "a.jpg", picture])


@pytest.mark.parametrize("further", [{}, {"mirror": True}, {"mirror": True, "shift_px": 1, "margin": 0.3}])
def test_logits_and_evidence_together_are_those_of_each(further):
    classifier = replace(make(), views=ViewsConfig(**further))
    images = RANDOM.integers(0, 256, (40, *classifier.image_shape), np.uint8)
    logits, evidence = classifier.judged(images)
    np.testing.assert_array_equal(logits, classifier.logits(images))
    np.testing.assert_array_equal(evidence, classifier.evidence(images))
    looks = [images, images[..., ::-1]] if further else [images]
    plain = replace(classifier, views=ViewsConfig())
    of_each = [plain.logits(np.ascontiguousarray(look)) for look in looks]
    np.testing.assert_allclose(evidence[:, :-1], np.mean(of_each, 0), rtol=1e-4, atol=1e-5)
    assert (evidence[:, -1] > 0).all()
