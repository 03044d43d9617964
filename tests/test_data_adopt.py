import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from kilnet.config import DataConfig
from kilnet.data.adopt import adopt_dataset
from kilnet.data.squares import to_square
from kilnet.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
LABELS = [i % 2 for i in range(30)]


class Pairs(list):
    """A map-style data set."""


def pairs(images, labels=LABELS) -> Pairs:
    return Pairs(zip(images, labels, strict=True))


def every_image(dataset) -> dict[int, tuple[np.ndarray, int]]:
    return {
        int(name.split("/")[1]): (image, int(label))
        for split in (dataset.train, dataset.validation, dataset.test)
        for name, image, label in zip(split.names, split.images, split.labels, strict=True)
    }


FORMS = {
    "Pillow": [Image.fromarray(image) for image in PIXELS],
    "array, channels last": list(PIXELS),
    "array, channels first": list(PIXELS.transpose(0, 3, 1, 2)),
    "tensor, channels first": list(torch.from_numpy(PIXELS).permute(0, 3, 1, 2)),
    "float array": list(PIXELS / 255),
    "float tensor": list(torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels(form):
    dataset = adopt_dataset(pairs(FORMS[form]))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (22, 2, 6)
    adopted = every_image(dataset)
    for i in range(30):
        image, label = adopted[i]
        np.testing.assert_array_equal(image, PIXELS[i].transpose(2, 0, 1))
        assert label == LABELS[i]


@pytest.mark.parametrize("label", [np.int64, np.array, torch.tensor])
def test_labels_of_any_whole_number_type(label):
    dataset = adopt_dataset(pairs(PIXELS, [label(number) for number in LABELS]))
    assert dataset.classes == ("0", "1")
    assert every_image(dataset)[3][1] == 1


def test_torch_dataset_and_given_splits():
    images, labels = torch.from_numpy(PIXELS).permute(0, 3, 1, 2), torch.tensor(LABELS)
    test = TensorDataset(images[:4], labels[:4])
    dataset = adopt_dataset(TensorDataset(images, labels), test=test, config=DataConfig(num_train=5))
    assert dataset.name == "TensorDataset"
    assert dataset.test.names == ("test/00000", "test/00001", "test/00002", "test/00003")
    np.testing.assert_array_equal(dataset.test.images, images[:4].numpy())
    assert len(dataset.train) == 5


def test_classes_of_the_data_set_or_as_given():
    named = pairs(PIXELS)
    named.classes = ["cat", "dog"]
    assert adopt_dataset(named).classes == ("cat", "dog")
    assert adopt_dataset(named, classes=["Katze", "Hund"]).classes == ("Katze", "Hund")


def test_grey_stays_grey_and_beside_colour_becomes_colour():
    grey = [image[:, :, 0] for image in PIXELS]
    assert adopt_dataset(pairs(grey)).image_shape == (1, 8, 8)
    assert adopt_dataset(pairs([Image.fromarray(image) for image in grey])).image_shape == (1, 8, 8)
    mixed = adopt_dataset(pairs([*grey[:15], *PIXELS[15:]]))
    np.testing.assert_array_equal(every_image(mixed)[0][0], np.stack([grey[0]] * 3))


def test_differing_sizes_are_scaled_as_in_folders():
    images = [RNG.integers(0, 256, (10, 20 + i, 3), dtype=np.uint8) for i in range(30)]
    dataset = adopt_dataset(pairs(images))
    assert dataset.image_shape == (3, 34, 34)
    np.testing.assert_array_equal(every_image(dataset)[7][0], to_square(images[7], 34))
    assert adopt_dataset(pairs(images), config=DataConfig(image_size=12)).image_shape == (3, 12, 12)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            pairs(PIXELS / 128 - 1),
            "Pairs train: item 0: pixels from .* not 0 to 1; leave out the normalisation",
        ),
        (pairs(PIXELS * np.float32("nan")), "not 0 to 1"),
        (pairs(PIXELS.astype(np.int32)), "int32 pixels; give uint8"),
        (pairs(np.zeros((30, 8, 8, 5), np.uint8)), r"shape \(8, 8, 5\) is no image of 1 or 3 channels"),
        (pairs(np.zeros((30, 0, 8, 3), np.uint8)), "is no image"),
        (pairs(["a.png"] * 30), "dtype|pixels|no image"),
        (pairs(PIXELS, [0.5] * 30), "label 0.5 is no whole number"),
        (pairs(PIXELS, ["cat"] * 30), "label 'cat' is no whole number"),
        (pairs(PIXELS, [-1] * 30), "label -1 is negative"),
        (pairs(PIXELS, [1 + label for label in LABELS]), "class 0 has no image; labels count from 0"),
        (pairs(PIXELS, [0] * 30), r"one class \(0\)|needs at least two"),
        (pairs(PIXELS[:4], LABELS[:4]), "class 0 has 2 different images, too few"),
        (Pairs(PIXELS), r"item 0 is no \(image, label\) pair"),
        (Pairs(), "train: is empty"),
    ],
)
def test_what_cannot_be_adopted_is_refused(dataset, message):
    with pytest.raises(DataError, match=message) as caught:
        adopt_dataset(dataset)
    assert "\n" not in str(caught.value)


def test_label_beyond_the_classes_is_refused():
    with pytest.raises(DataError, match="Pairs test: label 2, but there are 2 classes"):
        adopt_dataset(pairs(PIXELS), test=pairs(PIXELS[:1], [2]), classes=["cat", "dog"])
