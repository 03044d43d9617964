"""How far a split leaks: images that are equal or alike on both sides, and what that does to an accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.data.near_duplicates import coarse_vectors

_MAX_IMAGES = 5_000  # of a split, whose nearest neighbours are looked up
_MIN_IMAGES = 10  # on either side of the comparison


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Images of one split that belong together with images of train.

    Attributes:
        split: validation or test.
        num_leaking, num_images: in it.
        points: by how many percentage points it makes the accuracy of nearest neighbours (small pixels) better than on
            the other images; an estimate for networks. None where there are too few images to tell.
    """

    split: str
    num_leaking: int
    num_images: int
    points: float | None

    @property
    def told(self) -> str:
        """One line for a person."""
        share = f"{self.num_leaking:,} of {self.num_images:,} {self.split} images are equal, alike or of one group"
        much = (
            ""
            if self.points is None
            else f" by about {self.points:.1f} points, as nearest neighbours have it"
        )
        return f"the split leaks: {share} with some of train; an accuracy on them flatters{much}"


def find_leaks(
    thumbnails: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    splits: Mapping[str, Sequence[int] | npt.NDArray[np.int64]],
) -> tuple[Leak, ...]:
    """Return how far validation and test leak from train.

    Args:
        thumbnails, labels, groups: of all pictures, as in `Pictures` and `Split`.
        splits: the indices of the pictures in each split.
    """
    train = np.asarray(splits["train"], np.int64)
    found = []
    for split in ("validation", "test"):
        held = np.asarray(splits.get(split, ()), np.int64)
        leaking = np.isin(groups[held], groups[train])
        if leaking.any():
            points = _points(thumbnails, labels, train, held, leaking)
            found.append(
                Leak(split=split, num_leaking=int(leaking.sum()), num_images=len(held), points=points)
            )
    return tuple(found)


def _points(
    thumbnails: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    train: npt.NDArray[np.int64],
    held: npt.NDArray[np.int64],
    leaking: npt.NDArray[np.bool_],
) -> float | None:
    if min(leaking.sum(), (~leaking).sum()) < _MIN_IMAGES:
        return None
    held, leaking = held[:_MAX_IMAGES], leaking[:_MAX_IMAGES]
    known, asked = coarse_vectors(thumbnails[train])[0], coarse_vectors(thumbnails[held])[0]
    right = np.empty(len(held), dtype=bool)
    for start in range(0, len(held), 256):
        nearest = (asked[start : start + 256] @ known.T).argmax(1)
        right[start : start + 256] = labels[train][nearest] == labels[held[start : start + 256]]
    return float(100 * (right.mean() - right[~leaking].mean()))
