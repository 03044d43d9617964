"""Items of a review, made up, for the tests of its page."""

import numpy as np

from kilnet.inspection.review_queue import ReviewItem, Shown

CLASSES = ("cat", "dog <b>", "frog")


def item(
    name, label="cat", suspicion=0.9, split="train", place=0, twin=None, said=("dog <b>", "cat", "frog")
):
    return ReviewItem(
        image=Shown(split=split, place=place, name=name, label=label),
        said=tuple(zip(said, (0.7, 0.2, 0.1), strict=True)),
        suspicion=suspicion,
        reasons=("the label is probably wrong (90%)",),
        twin=twin,
    )


def images(num=4, size=9):
    return np.random.default_rng(0).integers(0, 256, (num, 3, size, size), np.uint8)
