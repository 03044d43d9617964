"""Answers of the server against predict and grad_cam, and its examples."""

import io

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet.data.decode import to_input
from kilnet.data.preprocess import Preprocessing
from kilnet.inspection.attribution import grad_cam

testclient = pytest.importorskip("starlette.testclient", reason="the extra `serve` is not installed")

from kilnet.server import app as serving  # noqa: E402
from kilnet.server.answers import examples_of, is_at_hand  # noqa: E402
from sent_pictures import OCTETS, RANDOM, pixels_of, png  # noqa: E402


@pytest.mark.parametrize("media_type", ["application/octet-stream", "image/png", "IMAGE/JPEG; name=x"])
def test_an_answer_is_that_of_predict_and_of_grad_cam(client, predictor, media_type):
    pixels = RANDOM.integers(0, 256, (20, 31, 3), np.uint8)
    answer = client.post(
        "/api/predict?top=2&explain=true", content=png(pixels), headers={"content-type": media_type}
    ).json()
    expected = predictor(pixels)
    assert [entry["class"] for entry in answer["classes"]] == list(expected.classes[:2])
    np.testing.assert_allclose(
        [entry["probability"] for entry in answer["classes"]], expected.probabilities[:2], rtol=1e-5
    )
    assert answer["unsure"] == expected.unsure
    assert answer["unknown"] is expected.unknown
    assert expected.unknown is not None
    image = to_input(pixels, predictor.image_shape)
    np.testing.assert_array_equal(pixels_of(answer["explanation"]["seen"]), image.transpose(1, 2, 0))
    heat = grad_cam(predictor, image, expected.label)
    np.testing.assert_allclose(pixels_of(answer["explanation"]["heat"]), heat * 255, atol=0.6)


def test_an_explanation_is_given_where_it_is_asked_for(client):
    answer = client.post("/api/predict", content=png(np.zeros((4, 4), np.uint8)), headers=OCTETS).json()
    assert answer["explanation"] is None
    assert len(answer["classes"]) == 3
    assert sum(entry["probability"] for entry in answer["classes"]) == pytest.approx(1)


def test_examples_are_validation_images_of_all_classes():
    labels = np.array([2, 2, 2, 0, 1, 0, 2])
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((7, 3, 2, 2), np.uint8)
    split = kilnet.Split(images, labels, tuple("abcdefg"))
    other = kilnet.Split(images[:1], labels[:1], ("other",))
    chosen = examples_of(kilnet.ImageDataset("mine", ("x", "y", "z"), other, split, None))
    assert [(e.name, e.truth) for e in chosen] == [
        ("d", "x"), ("e", "y"), ("a", "z"), ("f", "x"), ("b", "z"), ("c", "z"), ("g", "z"),
    ]  # fmt: skip
    for example in chosen:
        assert np.all(np.asarray(Image.open(io.BytesIO(example.png))) == "abcdefg".index(example.name))


def test_examples_are_never_fetched(tmp_path, monkeypatch):
    config = kilnet.config.DataConfig(source="cifar10")
    assert not is_at_hand(config)
    monkeypatch.setenv("KILNET_DATA", str(tmp_path))
    assert is_at_hand(config)
    assert is_at_hand(kilnet.config.DataConfig(source="digits"))


def test_a_network_without_convolution_answers_without_a_heat_map(tmp_path):
    import torch

    from kilnet.hardware import Settings
    from kilnet.inference.classifier import Classifier

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    settings = Settings("cpu", "fp32", "contiguous", 1)
    config = kilnet.config.ModelConfig(name="mine:flat")
    plain = Classifier(model, config, ("a", "b"), Preprocessing((0.5,) * 3, (0.2,) * 3, (4, 4)), settings)
    with testclient.TestClient(serving.make_app(plain, "flat", ()), base_url="http://localhost") as client:
        picture = png(RANDOM.integers(0, 256, (4, 4, 3), np.uint8))
        answer = client.post("/api/predict?explain=true", content=picture, headers=OCTETS).json()
        assert client.get("/api/run").json()["calibrated"] is False
    assert answer["unsure"] is None
    assert answer["unknown"] is None
    assert answer["explanation"]["heat"] is None
    assert pixels_of(answer["explanation"]["seen"]).shape == (4, 4, 3)
