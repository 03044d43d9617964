import numpy as np
import pytest

import kilnet
from kilnet.data.decode import decode
from kilnet.data.squares import to_square
from kilnet.metrics.logits import softmax


def expected(predictor, path):
    """Probabilities, class by class, from the parts that training is made of."""
    pixels = to_square(decode(path)[0], predictor.image_shape[1])
    return softmax(predictor.scale(predictor.logits(pixels[None])))[0]


def test_a_file_is_seen_as_training_saw_it(predictor, pictures):
    for name in ("a.jpg", "b.png", "c.webp", "d.gif", "deep/er/f.png"):
        prediction = predictor(pictures / name)
        by_class = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        probabilities = [by_class[name] for name in predictor.classes]
        np.testing.assert_allclose(probabilities, expected(predictor, pictures / name), rtol=1e-9)
        assert prediction.probabilities == tuple(sorted(probabilities, reverse=True))
        assert (prediction.label, prediction.confidence) == (prediction.classes[0], max(probabilities))
        assert sum(probabilities) == pytest.approx(1)
        assert prediction.unsure == (prediction.confidence < predictor.calibration.threshold)


def test_the_training_pictures_are_recognised(predictor, colour_run):
    folder = colour_run.parent / "pictures"
    results = list(kilnet.predict(predictor, [folder]))
    assert [result.name for result in results] == sorted(str(path) for path in folder.rglob("*.png"))
    assert np.mean([f"/{result.label}/" in result.name for result in results]) > 0.9
