"""Which pictures are shown in a review, in which order, and why."""

import numpy as np

from kilnet.data.dataset import Split
from kilnet.data.near_duplicates import SIDE
from kilnet.inference.unknown import KnownPictures
from kilnet.inspection.review_queue import AT_LEAST, Judged, review_queue, without_labels

CLASSES = ("cat", "dog")
RANDOM = np.random.default_rng(0)


def judged(num=300, wrong=(), strange=(), prefix="v"):
    labels = (np.arange(num) % 2).astype(np.int64)
    logits = RANDOM.normal(0, 0.3, (num, 2)).astype(np.float32)
    margins = RANDOM.uniform(1, 12, num)  # a network that is not equally sure of all
    margins[list(wrong)] = 12
    logits[np.arange(num), labels] += margins
    logits[list(wrong)] = logits[list(wrong)][:, ::-1]
    images = RANDOM.integers(0, 256, (num, 3, 8, 8), np.uint8)
    names = tuple(f"{prefix}{i:03}" for i in range(num))
    evidence = np.column_stack([logits, np.ones(num, np.float32)])
    evidence[list(strange), -1] -= np.float32([20, 30])[: len(strange)]
    return Judged(images=Split(images, labels, names), logits=logits, evidence=evidence)


def thumbnails(num=300):
    return RANDOM.integers(0, 256, (num, SIDE, SIDE, 3), np.uint8)


def queue(parts, small=None, known=None):
    return review_queue(parts, CLASSES, small, known)


def test_wrong_labels_come_first_with_what_the_network_says():
    items = queue(
        {"train": judged(wrong=(3, 8, 80, 81), prefix="t"), "validation": judged(wrong=(5, 90, 91, 92))}
    )
    first = items[:8]
    assert {item.image.name for item in first} == {
        "t003",
        "t008",
        "t080",
        "t081",
        "v005",
        "v090",
        "v091",
        "v092",
    }
    assert all(item.suspicion >= AT_LEAST for item in items)
    assert [item.suspicion for item in items] == sorted((item.suspicion for item in items), reverse=True)
    one = next(item for item in first if item.image.name == "t008")
    assert (one.image.split, one.image.label, one.said[0][0]) == ("train", "cat", "dog")
    assert one.reasons[0].startswith("the label is probably wrong (")


def test_near_duplicates_in_two_classes_are_shown_beside_each_other_over_the_splits():
    parts = {"train": judged(prefix="t"), "validation": judged()}
    small = {name: thumbnails() for name in parts}
    small["validation"][7] = small["train"][10]  # a dog and a cat
    small["validation"][8] = small["train"][12]  # two cats: nothing is wrong
    found = {item.image.name: item for item in queue(parts, small)}
    assert found.keys() >= {"v007", "t010"}
    assert not found.keys() & {"v008", "t012"}
    assert (found["v007"].twin.name, found["t010"].twin.name) == ("t010", "v007")
    assert found["v007"].suspicion >= 0.5
    assert "whose label is cat" in found["v007"].reasons[-1]


def test_strange_pictures_come_last_and_the_strangest_of_them_first():
    part = judged(wrong=(4, 44, 144), strange=(20, 31))
    items = queue({"validation": part}, known=KnownPictures((0.0, 0.0), (10.0, 10.0), 1.0, 1.0, 10.0))
    assert [item.image.name for item in items if "none of the classes" in item.reasons[-1]] == [
        "v031",
        "v020",
    ]
    assert {item.image.name for item in items[:3]} == {"v004", "v044", "v144"}
    assert not [item for item in queue({"validation": part}) if item.image.name in ("v020", "v031")]


def test_pictures_without_labels_keep_their_order():
    part = judged(5)
    items = without_labels(part.images, part.logits, CLASSES, "uncertain")
    assert [item.image.name for item in items] == list(part.images.names)
    assert {item.image.label for item in items} == {""}
    assert items[1].said[0][0] == "dog"


def test_wrong_labels_are_shown_where_the_network_has_learned_their_share():
    """As many labels are wrong as the network says, so that its probabilities explain them all."""
    part = judged(400)
    sure = RANDOM.uniform(0.6, 0.98, 400)
    truth = part.images.labels
    is_wrong = RANDOM.random(400) > sure
    probabilities = np.empty((400, 2))
    probabilities[np.arange(400), truth], probabilities[np.arange(400), 1 - truth] = sure, 1 - sure
    logits = np.log(probabilities).astype(np.float32)
    images = Split(part.images.images, np.where(is_wrong, 1 - truth, truth), part.images.names)
    found = {
        item.image.name for item in queue({"train": Judged(images=images, logits=logits, evidence=logits)})
    }
    wrong = {images.names[place] for place in np.flatnonzero(is_wrong)}
    assert found <= wrong
    assert len(found) >= len(wrong) / 3
